"""Work that takes longer than a request may: one after another, in a thread or a process that gives way to reviewers.

What runs here ends with the server; nobody waits for it when the server stops.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from analyzer.errors import AnalyzerError, StoreError

log = logging.getLogger(__name__)

NICENESS = 5


class Line:
    """Jobs in the order in which they were added, one at a time, in a thread of their own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, job: Callable[[], None]) -> None:
        """``job`` keeps its failures to itself; what it raises is logged."""
        self._jobs.put(job)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception:
                log.exception("%s: a job failed", self._name)


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Run a function of a module in a process of its own, at low priority: it takes no time from the server's threads.

    raises  the AnalyzerError that it raised; StoreError where the process ended without an answer
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sending, function, given), daemon=True)
    process.start()
    sending.close()
    try:
        is_good, answer = receiving.recv()
    except EOFError:
        process.join()
        raise StoreError(f"{function.__name__}: its process ended ({process.exitcode}); is memory short?") from None
    finally:
        receiving.close()
    process.join()
    if not is_good:
        raise answer
    return answer


def _answer(sending: Connection, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it ends its processes
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        sending.send((True, function(*given)))
    except AnalyzerError as error:
        sending.send((False, error))
