"""whisper-streaming 0.1.0, a released LocalAgreement-2, behind the door of our scheduler.

It lives in a throw-away environment (``environment``) and in a process of its own (``live_released_worker``), whose
CPU time is counted with ours. Like our re-implementation it gets the speech detector's stretches as they grow, one
second at a time, in turn, has all cores, and need not hear silence. The binding to ALSA, which it wants for microphones
only and which has no wheel, is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Hashable
from importlib.metadata import version
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np

from analyzer.asr import Recogniser, WhisperRecogniser, Window
from analyzer.live.agenda import Kind
from analyzer.types import Role, Span, Utterance
from analyzer.vad import Segment
from bench.live_rivals import LocalAgreement, Padded

PACKAGE = "whisper-streaming==0.1.0"
# the newest engine instead of the one it names, and the same as ours, so that only the policy differs
BESIDE = ("faster-whisper", "ctranslate2")
WORKER = Path(__file__).parent / "live_released_worker.py"
STARTS_WITHIN_S = 60


def environment(folder: Path) -> Path:
    """Python of an environment with the package, made there if it is not yet. Needs a package index."""
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        engines = [f"{name}=={version(name)}" for name in BESIDE]
        subprocess.run([*install, *engines, "librosa", "websockets", "opus-fast-mosestokenizer"], check=True)
        subprocess.run([*install, "--no-deps", PACKAGE], check=True)
        (folder / "complete").touch()
    return python


class Released(LocalAgreement):
    """The worker decides what is decoded; this only carries the sound to it."""

    def __init__(self, recogniser: Recogniser, python: Path, model: Path, compute_type: str, threads: int) -> None:
        self._sent: dict[tuple[Hashable, Role], tuple[int, int]] = {}  # where the stretch began, and samples of it
        self._line, theirs = Pipe()
        command = [str(python), str(WORKER), str(theirs.fileno()), str(model), compute_type, str(threads)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        if not self._line.poll(STARTS_WITHIN_S) or self._line.recv() != "ready":
            raise SystemExit(f"{PACKAGE} did not start")
        self.pids = (self._process.pid,)
        super().__init__(recogniser)

    def close(self) -> None:
        super().close()
        self._line.send(None)
        self._line.close()
        self._process.wait()

    def _decode(self, key: tuple[Hashable, Role], work: Segment | Window) -> None:
        listener = self._listeners.get(key[0])
        if listener is None:
            return
        if isinstance(work, Segment):
            self.counts["partials"] += 1
            listener.glimpsed(Kind.PARTIAL, work, self._ask(key, work, ends=False))
        else:
            self.counts["finals"] += 1
            (segment,) = work.segments
            listener.recognised(work, [self._ask(key, segment, ends=True)], None)

    def _ask(self, key: tuple[Hashable, Role], segment: Segment, *, ends: bool) -> Utterance | None:
        """What the package committed of the stretch just now; with ``ends``, of what is left of it."""
        began, count = self._sent.get(key, (-1, 0))
        new = segment.samples[count if began == segment.span.start_ms else 0 :]
        self._sent[key] = segment.span.start_ms, len(segment.samples)
        name = (str(key[0]), str(key[1].value), segment.span.start_ms)  # there is no analyzer in its environment
        self._line.send((name, new.astype(np.float32) / 32768, ends))
        said = self._line.recv()
        span = Span(segment.speech[0].start_ms, segment.speech[-1].end_ms)
        return Utterance(segment.role, span, said, confidence=1.0) if said else None


def policy_of(python: Path, of: WhisperRecogniser, folder: Path, cores: int) -> tuple[Recogniser, Any]:
    """Its recogniser, which only says how speech is cut, and what makes its scheduler."""
    compute_type = str(of.info["compute_type"])
    return Padded(of), lambda watched: Released(watched, python, folder, compute_type, cores)


def version_of(python: Path) -> str:
    """What runs there, in a line."""
    names = [PACKAGE.partition("==")[0], *BESIDE]
    code = f"import importlib.metadata as m, json; print(json.dumps([n + ' ' + m.version(n) for n in {names!r}]))"
    said = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    return f"{', '.join(json.loads(said))}, Python {sys.version.split()[0]}"
