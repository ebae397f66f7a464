"""One call's files and who speaks on which channel of them: what is decoded, and what a call is named after."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzer.errors import ConfigError, InputError
from analyzer.remote import is_url
from analyzer.types import Direction, Role

STEREO = (Role.AGENT, Role.CUSTOMER)
_MONO = {"agent": Role.AGENT, "customer": Role.CUSTOMER, "mixed": Role.UNKNOWN, "unknown": Role.UNKNOWN}
_MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Track:
    """One file of a call, and who is on each of its channels, in channel order.

    url  where it lies if that is not on this machine (``s3://…``); ``path`` is then its name in messages only, until
         ``at_hand`` has fetched it
    """

    path: Path
    roles: tuple[Role, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """One call to score: one stereo file, one mono file, or one file per speaker.

    metadata  typed call attributes, docs/metadata.md
    warnings  what a person should know of how it was described (unknown manifest columns)
    mixed     both speakers share its one channel, and are to be told apart
    """

    call_id: str
    tracks: tuple[Track, ...]
    direction: Direction = Direction.UNKNOWN
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    mixed: bool = False

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(role for track in self.tracks for role in track.roles)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the recordings of a run are laid out.

    roles  who is on each channel of one file
    pair   endings of the two files' names if each speaker has a file of their own: agent's, customer's
    mixed  the one channel is of both speakers, who are to be told apart
    """

    roles: tuple[Role, ...] = STEREO
    pair: tuple[str, str] | None = None
    mixed: bool = False


def parse_layout(channels: str | None = None, mono: str | None = None, pair: str | None = None) -> Layout:
    """The options ``--channels``, ``--mono`` and ``--pair``, at most one of them given.

    >>> parse_layout(channels="customer,agent").roles
    (<Role.CUSTOMER: 'customer'>, <Role.AGENT: 'agent'>)

    raises ConfigError
    """
    if sum(option is not None for option in (channels, mono, pair)) > 1:
        raise ConfigError("--channels, --mono and --pair exclude each other; give one of them")
    if channels is not None:
        return Layout(_parse_channels(channels))
    if mono is not None:
        return _parse_mono(mono)
    if pair is not None:
        return Layout(pair=_parse_pair(pair))
    return Layout()


def _parse_channels(text: str) -> tuple[Role, ...]:
    names = [name.strip().lower() for name in text.split(",")]
    if sorted(names) != sorted(STEREO):
        raise ConfigError(f"--channels {text!r}: name both sides once: agent,customer or customer,agent")
    return tuple(Role(name) for name in names)


def _parse_mono(text: str) -> Layout:
    name = text.strip().lower()
    if name not in _MONO:
        raise ConfigError(f"--mono {text!r}: choose agent, customer or mixed (unknown: mixed, and not told apart)")
    return Layout((_MONO[name],), mixed=name == _MIXED)


def _parse_pair(text: str) -> tuple[str, str]:
    endings = [ending.strip() for ending in text.split(",")]
    if len(endings) != 2 or not all(endings) or endings[0] == endings[1]:
        raise ConfigError(f"--pair {text!r}: give how the agent's and the customer's file names end: _agent,_customer")
    return endings[0], endings[1]


def recording_digest(recording: Recording) -> str:
    """``sha256:`` over all of a recording that can change its report: bytes, who is on which channel, attributes.

    raises InputError for a file that cannot be read
    """
    tracks = [{"sha256": _sha256(track.path), "roles": track.roles} for track in recording.tracks]
    described: dict[str, Any] = {
        "tracks": tracks,
        "direction": recording.direction,
        "metadata": dict(recording.metadata),
    }
    if recording.mixed:
        described["mixed"] = True
    return "sha256:" + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({why}); check the path") from None


def missing_files(recording: Recording) -> list[InputError]:
    """A fault per file that is not there: a slip of the pen should not wait for a model to load."""
    paths = [track.path for track in recording.tracks if not track.url]  # elsewhere, fetching it tells
    return [InputError(f"{path}: no such file; check the path") for path in paths if not os.path.lexists(path)]


def track_at(place: str, roles: tuple[Role, ...], folder: str) -> Track:
    """The track that ``place`` names: a path or a URL, or a path relative to a folder, which may be a URL itself."""
    if is_url(place):
        return Track(Path(place), roles, place)
    if not is_url(folder) or os.path.isabs(place):
        return Track(Path(folder, place), roles)
    kind, _, rest = folder.partition("://")
    url = f"{kind}://{posixpath.normpath(posixpath.join(rest, place))}"
    return Track(Path(url), roles, url)


def common_root(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all the paths."""
    return Path(os.path.commonpath([os.path.abspath(path.parent) for path in paths]))


def name_below(path: Path, root: Path) -> str:
    """A path as a call id: relative to the root, without extension, slashes forward, in readable characters."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(root))
    return _readable(Path(relative).with_suffix("").as_posix())


def _readable(name: str) -> str:
    """File names made on Chinese Windows and unpacked elsewhere are GBK bytes, not text."""
    raw = os.fsencode(name)
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "backslashreplace")
