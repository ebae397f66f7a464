"""Versions of rule packs that calls were judged by, with the weights that final scores need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.catalog import load_pack, pack_digest
from analyzer.errors import ConfigError
from analyzer.review.final import manual_items, pack_weights
from analyzer.rules import Pack as LoadedPack
from analyzer.store.tables import Pack


def pack_row(session: Session, named: Mapping[str, Any], profile: str, packs: Path | None = None) -> Pack:
    """The row of a report's ``pack`` in a profile, made if it is new.

    packs  folder of published versions, looked through besides the shipped pack
    """
    row = session.scalar(select(Pack).where(Pack.digest == named["digest"], Pack.profile == profile))
    if row is None:
        row = Pack(digest=named["digest"], profile=profile, name=named["name"], version=named["version"])
        session.add(row)
    if row.weights is None and (found := find_pack(named["digest"], profile, packs)) is not None:
        row.weights, row.manual = pack_weights(found), manual_items(found)
        row.pass_mark = found.profile.pass_mark
    session.flush()
    return row


def find_pack(digest: str, profile: str, packs: Path | None = None) -> LoadedPack | None:
    """The pack of that content, if it is on this machine: the shipped one, or a published version."""
    for place in _places(packs):
        if _digest_of(place) == digest:
            return _loaded(place, profile)
    return None


def _places(packs: Path | None) -> Iterator[str]:
    yield "standard"
    if packs is not None and packs.is_dir():
        yield from sorted(str(one.parent) for one in packs.glob("*/pack.yaml"))


@lru_cache(maxsize=256)
def _digest_of(place: str) -> str:
    """Cached: a shipped pack stays as it is while the process runs, and a published one for ever."""
    return pack_digest(place)


@lru_cache(maxsize=8)
def _loaded(place: str, profile: str) -> LoadedPack | None:
    try:
        return load_pack(place, profile)
    except ConfigError:
        return None
