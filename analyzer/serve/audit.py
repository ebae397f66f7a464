"""Who whispered to whom and when, and what became of it: ``<run>/audit.jsonl``. Ids and times, never what was said.

What somebody does is written before it is done, so that nothing happens that the audit does not know of.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

AUDIT = "audit.jsonl"


class Audit:
    """Appends to one file; each entry is durable when ``note`` returns, so call it off the event loop."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / AUDIT
        self._lock = threading.Lock()

    def note(self, event: str, **fields: str) -> None:
        """One entry. raises OSError where the disk refuses"""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "event": event, **fields}, ensure_ascii=False) + "\n"
        with self._lock, self.path.open("ab") as file:
            file.write(line.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
