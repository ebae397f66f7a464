"""Live calls: how late text is and where the time goes; how many calls a machine carries, against other policies.

    python -m bench.live --released                       # all parts, about three quarters of an hour
    python -m bench.live --part latency [--model demo]    # the sample calls, all at once, at real speed
    python -m bench.live --part policies [--models demo,tiny,demo-safe,tiny-safe] [--policies ours,la2,pad30,endpoint]
                                         [--calls 1,2,4,8,16,32,64] [--seconds 20] [--released [FOLDER]]
    python -m bench.live --part neighbours                # what one bad call does to four others

Latency. Every sample call from its beginning to its end through ``LiveCall`` with the shipped rules, 20 ms packets at
real speed, no network. Per final: from the last voice to the moment its event is written, split into stages without a
gap. In running speech: each character with more speech after it stands for a phrase that ends there; its text counts as
known once two interim passes agree on it, or its final is there: that is what a provisional finding waits for.

Policies. Callers play the samples round and round, each from another place, for ``--seconds`` of call time (one or two
of them longer, so that all together play 45 s); 1, 2, 4, … of them, until the p95 from the last voice to the text
exceeds 1.5 s. The last number that kept within it is the capacity; ours is then run with twice as many. Rivals are
``bench.live_rivals``: own re-implementations behind the door of our scheduler, with the same detector, decoding loop,
model and audio. With ``--released`` a released LocalAgreement-2 runs beside them (``bench.live_released``) in an
environment that is made in FOLDER, or for this run only. All but "ours + rules" only transcribe. Models: ``demo``,
trained, beam 5, or ``tiny``, random weights in whisper-tiny's geometry which decode 4.5 tokens per second of audio,
greedily, LocalAgreement with beam 5; ``-safe``: weights that stand nothing but 30 s windows; there ours packs
neighbouring segments into one and shows each by itself meanwhile.

CPU is process time per second of speech: all of it, and what decoding takes of it (without packets, speech detection
and rules, which cost each policy the same). A final that has not come 15 s after the last packet is lost. Ratios are
taken from this run only. Load of others: CPU that other processes used meanwhile, in cores.

Neighbours. The same four calls alone, beside a fifth like them, and beside one that is bad: never silent, noise,
sending eight times too fast, or stuck in the middle of a word. By turns, twice each; the ratio is of the four calls'
own delays.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analyzer.asr import Recogniser, WhisperRecogniser
from analyzer.catalog import load_pack
from analyzer.live.agreement import Agreement
from analyzer.live.judge import Judge
from analyzer.live.scheduler import Scheduler
from analyzer.live.warming import call_cost
from analyzer.models import open_folder, resolve
from analyzer.rules import Pack
from bench.batch import build_random
from bench.live_callers import Caller, Material, Play, Run, TextOnly, percentile, run_callers, shed_share
from bench.live_neighbours import BADLY, four_calls
from bench.live_released import PACKAGE, environment, policy_of, version_of
from bench.live_rivals import LA2_BEAM, FirstInFirstOut, FixedLength, LocalAgreement, Padded

IN_TIME_MS = 1_500  # p95 beyond which no more calls are tried
IN_ALL_S = 45  # fewer calls play longer: a p95 of five sentences is none
CPU_AIM, CALLS_AIM, OVERLOAD_AIM = 8.0, 10.0, 2.2  # of LocalAgreement-2; of its calls; of the single call's p95
PATIENCE_S = 15.0
RUNNING_MS = 600  # a phrase ends in running speech if so much more follows
JOIN_WITHIN_S = 10.0  # callers come in over this time
NEIGHBOURS_ROUNDS = 2
MODELS = ("demo", "tiny", "demo-safe", "tiny-safe")
POLICIES = {
    "ours": "ours",
    "ours+rules": "ours + rules",
    "la2": "LocalAgreement-2 (own re-implementation)",
    "released": f"LocalAgreement-2 ({PACKAGE.replace('==', ' ')})",
    "pad30": "pad to 30 s, FIFO (own)",
    "endpoint": "endpoint only, FIFO (own)",
}
console = Console(width=120)


# ---- latency


def show_latency(material: Material, pack: Pack, recogniser: Recogniser, cores: int, scratch: Path) -> None:
    plays = material.whole()
    run = run_callers(
        plays, pack, lambda watched: Scheduler(watched, workers=cores), recogniser, scratch,
        apart_s=0.37, patience_s=60,
    )  # fmt: skip
    console.print(_load_line(run, f"{len(plays)} sample calls at once, {run.speech_s:.0f} s of speech"))
    table = Table(title="voice ends → final event, per stage")
    for heading in ("stage", "p50 ms", "p95 ms", "max ms"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    stages = run.stages_ms()
    delays = run.delays_ms
    beyond = [delay - endpoint for delay, endpoint in zip(delays, stages["endpoint"], strict=False)]
    for name, values in {**stages, "all": delays, "all but the endpoint": beyond}.items():
        table.add_row(name, *(f"{value:.0f}" for value in _three(values)))
    console.print(table)
    known, found = _phrase_delays(run.callers), _finding_delays(run.callers)
    for name, values in (("phrase ends in running speech → its text", known), ("quote ends → finding event", found)):
        low, high, most = _three(values)
        console.print(f"{name}: p50 {low:.0f} ms, p95 {high:.0f} ms, max {most:.0f} ms ({len(values)})")
    utterances = sum(fate.text is not None for caller in run.callers for fate in caller.fates.values())
    silent = sum(fate.text is None and fate.final is not None for c in run.callers for fate in c.fates.values())
    console.print(
        f"segments {len(delays)} = utterances {utterances} + without text {silent} + lost {run.lost}; "
        f"finals foreseen {run.stats['foreseen']}; interim passes {run.stats['partials']}, "
        f"{run.stats['ahead']} over what may be a final, shed {run.stats['shed']}; batches {run.stats['batches']}"
    )
    console.print("CPU s by thread: " + ", ".join(f"{name} {s:.1f}" for name, s in sorted(run.load.threads.items())))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1.0)


def _phrase_delays(callers: Sequence[Caller]) -> list[float]:
    """For each character of a final that is followed by more speech: its end to its text."""
    delays = []
    for caller in callers:
        for place, fate in caller.fates.items():
            if fate.text is None or fate.text.characters is None or fate.out is None:
                continue
            last_ms = caller.play.segments[place].voice_end_ms - RUNNING_MS
            reached = _agreed_until(fate.passes)
            for end_ms in (span.end_ms for span in fate.text.characters if span.end_ms <= last_ms):
                at = next((at for at, until_ms in reached if until_ms >= end_ms), fate.out)
                delays.append((min(at, fate.out) - caller.began) * 1000 - end_ms)
    return delays


def _agreed_until(passes: Sequence[tuple[float, Any, bool]]) -> list[tuple[float, int]]:
    """When interim text was agreed up to which moment of the call."""
    agreement, reached = Agreement(), []
    for at, now, is_whole in passes:
        agreement.hear(now, is_whole=is_whole)
        reached.append((at, agreement.until_ms))
    return reached


def _finding_delays(callers: Sequence[Caller]) -> list[float]:
    """End of a finding's quote to the first event that shows it."""
    delays = []
    for caller in callers:
        seen = set()
        for at, line in caller.events_seen:
            event = json.loads(line)
            if event["type"] == "finding" and event["quote"] and event["id"] not in seen:
                seen.add(event["id"])
                delays.append((at - caller.began) * 1000 - event["end_ms"])
    return delays


# ---- policies


@dataclass(frozen=True, slots=True)
class Policy:
    """How to serve: the recogniser to use, and a scheduler around its stopwatch."""

    recogniser: Recogniser
    make: Callable[[Recogniser], Any]


@dataclass(frozen=True, slots=True)
class Point:
    """What one number of calls brought under one policy."""

    calls: int
    p50_ms: float
    p95_ms: float
    cpu: float  # per second of speech
    decoding: float  # of it
    shed: float  # share of the interim work asked for
    passes: int  # of interim text
    lost: int
    refused: int
    others: float  # cores

    @property
    def is_in_time(self) -> bool:
        return self.p95_ms <= IN_TIME_MS and not self.lost

    @classmethod
    def of(cls, run: Run) -> Point:
        spared = sum(run.load.threads.get(name, 0.0) for name in ("MainThread", "ear", "judge"))
        return cls(
            calls=len(run.callers),
            p50_ms=percentile(run.delays_ms, 0.5),
            p95_ms=percentile(run.delays_ms, 0.95),
            cpu=run.load.own_s / run.speech_s,
            decoding=(run.load.own_s - spared) / run.speech_s,
            shed=shed_share(run.stats),
            passes=run.stats["partials"] + run.stats["early"],
            lost=run.lost,
            refused=run.refused,
            others=run.load.others_s / run.load.wall_s,
        )


Ladder = list[Point]


class Models:
    """Recognisers by name, loaded once."""

    def __init__(self, scratch: Path, cores: int, released: Path | None) -> None:
        self._folder, self._cores, self._released = scratch / "tiny", cores, released
        self.loaded = cache(self._load)

    def _load(self, weights: str, workers: int, threads: int) -> WhisperRecogniser:
        if weights == "tiny" and not self._folder.is_dir():
            build_random(self._folder)
        folder = open_folder(self._folder) if weights == "tiny" else resolve(weights, offline=True)
        return WhisperRecogniser(folder, device="cpu", workers=workers, threads=threads)

    def _released_of(self, weights: str, locked: WhisperRecogniser) -> Policy | None:
        if self._released is None:
            return None
        return Policy(*policy_of(self._released, locked, resolve(weights, offline=True).path, self._cores))

    def policy(self, model: str, policy: str) -> Policy | None:
        """None where the model cannot be served so."""
        weights, _, safe = model.partition("-")
        many, locked = self.loaded(weights, self._cores, 1), self.loaded(weights, 1, self._cores)
        is_random = weights == "tiny"
        if policy == "released":
            return None if is_random else self._released_of(weights, locked)
        if policy == "la2":
            padded = FixedLength(locked, None, final_beam=LA2_BEAM, glance_beam=LA2_BEAM) if is_random else None
            return Policy(padded or Padded(locked, LA2_BEAM), LocalAgreement)
        if policy == "pad30":
            alone = FixedLength(many, None) if is_random else Padded(many)
            return Policy(alone, lambda watched: FirstInFirstOut(watched, workers=self._cores))
        if policy == "endpoint" and safe:
            return None
        tail_ms = None if safe else 500
        own = FixedLength(many, tail_ms, packs=bool(safe)) if is_random else many.with_window(tail_ms or "safe")
        if policy == "endpoint":
            return Policy(own, lambda watched: FirstInFirstOut(watched, workers=self._cores))
        cost = call_cost(own)
        return Policy(own, lambda watched: Scheduler(watched, workers=self._cores, call_cost=cost))


@dataclass(frozen=True, slots=True)
class Bench:
    """What all points have in common."""

    material: Material
    pack: Pack
    scratch: Path
    seconds: int

    def point(self, policy: Policy, calls: int, *, rules: bool, admits: bool = False) -> Point:
        seconds = max(self.seconds, -(-IN_ALL_S // calls))
        plays: list[Play] = [self.material.caller(number, seconds) for number in range(calls)]
        folder = self.scratch / f"{time.monotonic_ns()}"
        run = run_callers(
            plays, self.pack, policy.make, policy.recogniser, folder,
            apart_s=min(0.5, JOIN_WITHIN_S / calls), patience_s=PATIENCE_S, admits=admits,
            make_judge=Judge if rules else TextOnly,
        )  # fmt: skip
        return Point.of(run)

    def ladder(self, policy: Policy, steps: Sequence[int], name: str, *, rules: bool) -> Ladder:
        points: Ladder = []
        for calls in steps:
            points.append(self.point(policy, calls, rules=rules))
            console.print(_say(name, points[-1]))
            if not points[-1].is_in_time:
                break
        return points


def compare(bench: Bench, models: Models, chosen: Sequence[str], policies: Sequence[str], steps: Sequence[int]) -> None:
    known: dict[tuple[str, str], Ladder] = {}  # rivals in 30 s windows are the same with and without -safe
    for model in chosen:
        ladders: dict[str, Ladder] = {}
        for name in policies:
            key = (model.partition("-")[0] if name in ("la2", "released", "pad30") else model), name
            policy = models.policy(model, name)
            if policy is None or (name == "ours+rules" and model != "demo"):  # else there is nothing to judge, or new
                continue
            if key not in known:
                known[key] = bench.ladder(policy, steps, f"{model}, {POLICIES[name]}", rules=name == "ours+rules")
            ladders[name] = known[key]
        _show_ladders(model, ladders)
        _show_ratios(ladders)
        if ladders.get("ours"):
            _show_overload(bench, models, model, ladders["ours"])


def _say(name: str, point: Point) -> str:
    return (
        f"{name}, {point.calls} calls: p95 {point.p95_ms:.0f} ms, CPU {point.cpu:.3f}, "
        f"shed {point.shed:.0%}, lost {point.lost}"
    )


def _show_ladders(model: str, ladders: Mapping[str, Ladder]) -> None:
    table = Table(title=f"{model}: the last voice → its text")
    headings = ("policy", "calls", "p50 ms", "p95 ms", "CPU/s", "decoding", "interim", "shed", "lost", "others")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "policy" else "right")
    for name, ladder in ladders.items():
        for number, point in enumerate(ladder):
            table.add_row(
                POLICIES[name] if number == 0 else "", str(point.calls), f"{point.p50_ms:.0f}", f"{point.p95_ms:.0f}",
                f"{point.cpu:.3f}", f"{point.decoding:.3f}", str(point.passes), f"{point.shed:.0%}", str(point.lost),
                f"{point.others:.1f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)


def capacity(ladder: Ladder) -> int:
    """The most calls up to which every p95 was in time; 0 if none."""
    fit = 0
    for point in ladder:
        if not point.is_in_time:
            break
        fit = point.calls
    return fit


def _show_ratios(ladders: Mapping[str, Ladder]) -> None:
    ours = ladders.get("ours")
    if not ours:
        return
    rivals = {name: ladder for name, ladder in ladders.items() if not name.startswith("ours")}
    for name, ladder in rivals.items():
        for one, other in zip(ours, ladder, strict=False):
            more = f"{other.cpu / one.cpu:.1f}x, decoding alone {other.decoding / one.decoding:.1f}x"
            aim = f" (aimed at {CPU_AIM:g}x)" if name == "la2" else ""
            aim += f", having shed {other.shed:.0%} of its interim text" if other.shed else ""
            console.print(f"CPU at {one.calls} calls, {POLICIES[name]} over ours: {more}{aim}")
    reached = {name: capacity(ladder) for name, ladder in ladders.items()}
    said = ", ".join(f"{POLICIES[name]} {_calls(calls, ladders[name])}" for name, calls in reached.items())
    console.print(f"calls at p95 ≤ {IN_TIME_MS / 1000} s: {said}")
    for name in rivals:
        more = f"{reached['ours'] / reached[name]:.0f}x" if reached[name] else f"{reached['ours']} against 0"
        aim = f" (aimed at {CALLS_AIM:g}x)" if name == "la2" else ""
        console.print(f"  ours over {POLICIES[name]}: {more}{aim}")


def _calls(fit: int, ladder: Ladder) -> str:
    """Capacity; that more were not tried is said."""
    return f"{fit} or more" if ladder[-1].is_in_time else f"{fit}"


def _show_overload(bench: Bench, models: Models, model: str, ladder: Ladder) -> None:
    """Twice the calls that are served in time, as they come and with the door that refuses."""
    fit = capacity(ladder)
    policy = models.policy(model, "ours")
    if not fit or policy is None:
        return
    single = ladder[0].p95_ms
    for admits in (False, True):
        point = next((one for one in ladder if one.calls == 2 * fit and not admits), None)
        point = point or bench.point(policy, 2 * fit, rules=False, admits=admits)
        console.print(
            f"{model}: {2 * fit} calls want in, twice the capacity, {'door on' if admits else 'door off'}: "
            f"{point.refused} refused, p95 {point.p95_ms:.0f} ms = {point.p95_ms / single:.2f}x of one call's "
            f"(aimed at {OVERLOAD_AIM:g}x), shed {point.shed:.0%} of interim text, {point.lost} finals lost"
        )


# ---- neighbours


def show_neighbours(bench: Bench, models: Models) -> None:
    policy = models.policy("demo", "ours")
    assert policy is not None
    delays: dict[str, list[float]] = {name: [] for name in BADLY}
    for number in range(NEIGHBOURS_ROUNDS):
        for name in BADLY if number % 2 == 0 else reversed(list(BADLY)):
            plays, disturbers = four_calls(bench.material, name, bench.seconds)
            run = run_callers(
                plays, bench.pack, policy.make, policy.recogniser, bench.scratch / f"{time.monotonic_ns()}",
                apart_s=0.5, patience_s=PATIENCE_S, disturbers=disturbers,
            )  # fmt: skip
            delays[name] += run.delays_ms
    table = Table(title="four calls beside another: the last voice → its text")
    for heading in ("beside them", "p50 ms", "p95 ms", "p50 over alone", "p95 over alone", "p50 over ordinary"):
        table.add_column(heading, justify="left" if heading == "beside them" else "right")
    alone, ordinary = (_three(values) for values in list(delays.values())[:2])
    for name, values in delays.items():
        low, high, _ = _three(values)
        ratios = f"{low / alone[0]:.2f}", f"{high / alone[1]:.2f}", f"{low / ordinary[0]:.2f}"
        table.add_row(BADLY[name], f"{low:.0f}", f"{high:.0f}", *ratios)
    console.print(table)


# ---- the command


def _load_line(run: Run, what: str) -> str:
    load = run.load
    return (
        f"{what}; {load.wall_s:.0f} s, own CPU {load.own_s:.1f} s, others {load.others_s / load.wall_s:.1f} cores, "
        f"load average {load.average:.1f}"
    )


def hardware() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores, {names[0] if names else platform.processor()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("latency", "policies", "neighbours"))
    parser.add_argument("--model", default="demo", help="of the latency part")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--calls", default="1,2,4,8,16,32,64")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--released", nargs="?", const="", metavar="FOLDER", help="run the released package too")
    parser.add_argument("--samples", type=Path, default=Path(__file__).parent.parent / "samples")
    given = parser.parse_args()
    parts = [given.part] if given.part else ["latency", "neighbours", "policies"]
    cores = len(os.sched_getaffinity(0))
    console.print(f"{hardware()}; load average {os.getloadavg()[0]:.1f} at the start")
    material, pack = Material(given.samples), load_pack("standard", "standard")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        python = None if given.released is None else environment(Path(given.released or scratch / "released").resolve())
        if python is not None:
            console.print(version_of(python))
        models = Models(scratch, cores, python)
        bench = Bench(material, pack, scratch, given.seconds)
        policy = models.policy("demo", "ours")
        assert policy is not None
        Bench(material, pack, scratch, 6).point(policy, 2, rules=True)  # caches, lazy imports
        if "latency" in parts:
            show_latency(material, pack, models.loaded(given.model, cores, 1), cores, scratch / "latency")
        if "neighbours" in parts:
            show_neighbours(bench, models)
        if "policies" in parts:
            steps = sorted(int(step) for step in given.calls.split(","))
            compare(bench, models, given.models.split(","), given.policies.split(","), steps)


if __name__ == "__main__":
    main()
