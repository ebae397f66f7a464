"""Live calls into the review desk: when one is over, its report goes from the run folder into the store."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from analyzer.desk.review_desk import ReviewDesk
from analyzer.runs import describe
from analyzer.store.importing import import_run

log = logging.getLogger(__name__)

GATHER_S = 1.0  # calls often end together
AGAIN_S = 60.0  # after a failure, without another call ending


class Importer:
    """A thread that imports the run folder whenever ``wake`` was called, and once at its start: an earlier process may
    have left calls. What fails is logged and tried again; calls go on meanwhile."""

    def __init__(self, review: ReviewDesk, run: Path) -> None:
        self._review, self._run = review, run
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="importer", daemon=True)
        self._woken.set()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something new. Returns at once."""
        self._woken.set()

    def stop(self, patience_s: float) -> None:
        """Import what there is and end."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def _work(self) -> None:
        is_done = True
        while True:
            is_last = self._stopping.is_set()  # before importing: what came until then is in it
            if not is_last:
                self._woken.wait(None if is_done else AGAIN_S)
                self._stopping.wait(GATHER_S)
            self._woken.clear()
            is_done = self._import()
            if is_last:
                return

    def _import(self) -> bool:
        try:
            result = import_run(
                self._review.store, self._run, packs=self._review.packs, actor="system", now=self._review.clock
            )
        except Exception as error:  # the database may be away; the run folder has everything
            log.error("%s: not imported into the review desk: %s", self._run, describe(error))
            return False
        for fault in result.faults:
            log.error("%s", fault)
        return not result.faults
