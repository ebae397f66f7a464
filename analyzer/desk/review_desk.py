"""What all routes of the desk share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analyzer.desk.access import Principal
from analyzer.desk.jobs import apart
from analyzer.settings import Settings
from analyzer.store import Store, users


@dataclass(frozen=True, slots=True)
class Entry:
    """Of the navigation."""

    title: str
    path: str
    roles: frozenset[str]


@dataclass(slots=True)
class ReviewDesk:
    """What all routes of the desk share. Thread-safe.

    store  the database, open
    packs  folder of published rule packs
    media  folder of peaks, playback copies and clips; may be emptied at any time
    clock  aware UTC
    on_published  told the folder of a rule pack that is in force from now on
    apart  runs what takes long where nobody waits for it
    setup_code  what makes the first admin at /setup, as long as there is nobody
    """

    store: Store
    packs: Path
    media: Path
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    setup_code: str | None = None
    on_published: Callable[[Path], None] = lambda folder: None
    apart: Callable[..., Any] = apart
    navigation: tuple[Entry, ...] = ()
    administration: tuple[Entry, ...] = ()  # what stands under 管理

    def principal(self, token: str) -> Principal | None:
        """Who has this session cookie. Blocks for a moment."""
        at = self.clock()
        with self.store.reading() as session:
            found = users.principal(session, token, at, self.settings.login.idle)
        if found is None:
            return None
        who, is_stale = found
        if is_stale:
            with self.store.writing() as session:
                users.touch(session, token, at)
        return who
