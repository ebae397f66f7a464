"""Memory of the live server over a long time: calls without a pause, resident memory every ten seconds.

    python -m bench.live_soak [--calls 4] [--minutes 60]

``analyzer serve`` with the demo model in a process of its own; ``--calls`` callers over WebSocket play the samples at
real speed, one after another, each time as a new call; they begin at different samples, so that all have been heard
after some five minutes. What grows in the first ten minutes is warm-up: caches, the first report, the phrases of every
sample. Drift is the median of the last tenth of the rest over that of the first tenth, and the slope of a line through
all of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from analyzer.audio import Recording, find_recordings
from bench.live_server import Server, client_of, pacer
from tests.live_client import play

WARM_UP_S = 600
EVERY_S = 10


class Caller(threading.Thread):
    """Calls and calls again until told to stop."""

    def __init__(
        self, number: int, first: int, server: Server, recordings: tuple[Recording, ...], stop: threading.Event
    ) -> None:
        super().__init__(name=f"caller-{number}")
        self.ended, self.failures = 0, 0
        self._first = first
        self._number, self._server, self._recordings, self._stop_event = number, server, recordings, stop

    def run(self) -> None:
        self._stop_event.wait(self._number * 3.1)  # not in step
        turn = self._first
        while not self._stop_event.is_set():
            recording = self._recordings[turn % len(self._recordings)]
            try:
                self._call(f"soak-{self._number}-{turn}", recording)
            except Exception as error:  # counted and told; the soak goes on
                self.failures += 1
                print(f"caller {self._number}: {type(error).__name__}: {error}", flush=True)
                self._stop_event.wait(5)
            turn += 1

    def _call(self, call_id: str, recording: Recording) -> None:
        line = self._server.line(call_id)
        pace = pacer()

        def keep(at_ms: int) -> None:
            if self._stop_event.is_set():
                raise ConnectionAbortedError("the soak is over")
            pace(at_ms)

        try:
            play(client_of(recording), line, pace=keep)
            self.ended += any(event["type"] == "scorecard" for event in self._server.events(call_id))
        except ConnectionAbortedError:
            pass
        finally:
            line.close()


def drift_of(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Last tenth over first tenth less one, and MiB per hour of a line through all. ``samples``: seconds, MiB."""
    tenth = max(1, len(samples) // 10)
    first = statistics.median(mib for _, mib in samples[:tenth])
    last = statistics.median(mib for _, mib in samples[-tenth:])
    slope = np.polyfit([s for s, _ in samples], [mib for _, mib in samples], 1)[0] * 3600 if len(samples) > 1 else 0.0
    return last / first - 1, float(slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help="seconds")
    parser.add_argument("--samples", type=Path, default=Path(__file__).parent.parent / "samples")
    given = parser.parse_args()
    recordings = find_recordings([given.samples]).recordings
    stop = threading.Event()
    samples: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "run")
        server.start()
        firsts = [number * len(recordings) // given.calls for number in range(given.calls)]
        callers = [Caller(number, first, server, recordings, stop) for number, first in enumerate(firsts)]
        began = time.monotonic()
        try:
            for caller in callers:
                caller.start()
            while (at := time.monotonic() - began) < given.warm_up + given.minutes * 60:
                rss = server.rss_mib
                if at >= given.warm_up:
                    samples.append((at, rss))
                if int(at / EVERY_S) % 30 == 0:
                    print(f"{at / 60:5.1f} min  {rss:7.1f} MiB  load {os.getloadavg()[0]:.1f}", flush=True)
                time.sleep(EVERY_S)
        finally:
            stop.set()
            for caller in callers:
                caller.join()
            server.stop()
    drift, slope = drift_of(samples)
    ended, failures = sum(caller.ended for caller in callers), sum(caller.failures for caller in callers)
    low, high = min(mib for _, mib in samples), max(mib for _, mib in samples)
    print(
        f"{given.calls} calls at once for {given.minutes:.0f} min after {given.warm_up:.0f} s of warm-up: "
        f"{ended} calls ended with a report, {failures} failed"
    )
    print(f"resident memory {low:.1f} to {high:.1f} MiB; drift {drift:+.2%}, slope {slope:+.2f} MiB per hour")


if __name__ == "__main__":
    main()
