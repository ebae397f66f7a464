"""``analyzer report``: how fast, how much memory, how often it cries wolf, and what it finds.

    python -m bench.report [--calls 200000] [--rounds 400] [--part speed,chance]

Speed: generated reports (the samples' rules and metrics without turns, other ids, agents, teams, days and outcomes) are
read from JSON text and added up, one at a time, as the command does; each in a process of its own, because what is
asked is its peak memory. Given are the CPU time of reading alone and of adding up, calls per second, and the peak of a
process that only reads beside one that adds up too. Generating is not timed.

Chance: call centres are drawn in which all agents, teams and days are alike; the share of reports that flag anything at
all has to be about 5 % for what stands out, and again for what moves. Then one agent, one team, the last day is made
worse, or agents differ by nature as they do: how often that is flagged, and how many of the flags are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from analyzer.review.movement import Course, moving
from analyzer.review.outliers import Count, Family, stand_out
from analyzer.review.tally import Tally
from analyzer.review.worth import wilson
from analyzer.summary import summary_of

AGENTS, TEAMS, DAYS = 300, 12, 20
AXES = (("team", "day"),)
_KEPT = ("schema", "direction", "duration_ms", "score", "verdict", "rules", "metrics", "truncated")


# ---- speed


def templates(seed: int = 1) -> list[str]:
    """Slim reports without call id and attributes."""
    from tests.desk_calls import sample_reports  # noqa: PLC0415 (judges the samples, which takes half a GiB)

    rng = random.Random(seed)
    return [_slim(report, rng) for report in sample_reports() for _ in range(8)]


def lines(calls: int, bodies: list[str], seed: int = 2) -> Iterator[str]:
    """Reports as JSON text, one a line."""
    rng = random.Random(seed)
    for number in range(calls):
        agent = rng.randrange(AGENTS)
        metadata = {
            "agent_id": f"{3000 + agent}", "team": f"{agent % TEAMS + 1}组", "customer_id": f"c{rng.randrange(calls)}",
            "started_at": f"2026-11-{1 + rng.randrange(DAYS):02d}T{8 + rng.randrange(12):02d}:00",
            "connected": True, "ring_ms": rng.randrange(20_000), "matter": rng.choice(("inquiry", "complaint")),
        }  # fmt: skip
        head = json.dumps({"call_id": f"call-{number:07d}", "metadata": metadata}, ensure_ascii=False)
        yield f"{head[:-1]}, {rng.choice(bodies)}"


def _slim(report: Any, rng: random.Random) -> str:
    """What a report says of its rules, some outcomes turned; without its braces' beginning."""
    slim = json.loads(json.dumps({key: report[key] for key in _KEPT}))
    for entry in slim["rules"]:
        if entry["outcome"] in ("pass", "violation") and rng.random() < 0.1:
            entry["outcome"] = "violation" if entry["outcome"] == "pass" else "pass"
    slim["score"] = round(rng.uniform(60, 100), 1)
    return json.dumps(slim, ensure_ascii=False)[1:]


def one_process(part: str, calls: int, bodies: list[str]) -> dict[str, float]:
    total = Tally(AXES)
    reading = adding = size = 0
    for line in lines(calls, bodies):
        size += len(line)
        start = time.process_time_ns()
        report = json.loads(line)
        read = time.process_time_ns()
        if part == "add":
            total.add(report)
        adding += time.process_time_ns() - read
        reading += read - start
    start = time.process_time_ns()
    if part == "add":
        summary_of(total, AXES)
    return {
        "reading_s": reading / 1e9,
        "adding_s": adding / 1e9,
        "summing_up_s": (time.process_time_ns() - start) / 1e9,
        "peak_mib": peak_mib(),
        "characters": size / calls,
    }


def peak_mib() -> float:
    """Of this process alone: what getrusage says begins with the peak of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def speed(calls: int, console: Console) -> None:
    results, bodies = {}, json.dumps(templates())
    for part in ("read", "add"):
        command = [sys.executable, "-m", "bench.report", "--process", part, "--calls", str(calls)]
        results[part] = json.loads(
            subprocess.run(command, check=True, input=bodies, stdout=subprocess.PIPE, text=True).stdout
        )
    read, add = results["read"], results["add"]
    whole = add["reading_s"] + add["adding_s"] + add["summing_up_s"]
    table = Table(title=f"{calls:,} reports of {add['characters'] / 1000:.1f} thousand characters")
    for heading in ("", "reading JSON alone", "with adding up"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row(
        "CPU seconds", f"{read['reading_s']:.1f}", f"{whole:.1f} (of which the end {add['summing_up_s']:.2f})"
    )
    table.add_row("calls a CPU second", f"{calls / read['reading_s']:,.0f}", f"{calls / whole:,.0f}")
    table.add_row("ratio, same process", "1", f"{whole / add['reading_s']:.2f}")
    table.add_row("peak memory, MiB", f"{read['peak_mib']:.0f}", f"{add['peak_mib']:.0f}")
    table.add_row("bytes a call", "", f"{(add['peak_mib'] - read['peak_mib']) * 2**20 / calls:.0f}")
    console.print(table)


# ---- chance


@dataclass(frozen=True)
class Centre:
    """calls of an agent a day; rates of the measures; what is planted, as a factor on the odds of the first measure."""

    agents: int = 120
    teams: int = 8
    days: int = 12
    calls: float = 12
    measures: int = 30
    spread: float = 0.0  # standard deviation of the agents' log odds
    agent: float = 1.0
    team: float = 1.0
    last_day: float = 1.0


def drawn(centre: Centre, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Calls (agents, days) and hits (measures, agents, days)."""
    n = rng.poisson(centre.calls, (centre.agents, centre.days))
    base = rng.uniform(0.01, 0.3, centre.measures)
    odds = np.log(base / (1 - base))[:, None, None] + np.zeros((centre.measures, centre.agents, centre.days))
    odds += rng.normal(0, centre.spread, (centre.measures, centre.agents, 1)) if centre.spread else 0.0
    odds[0] = np.log(0.05 / 0.95) + (odds[0] - np.log(base[0] / (1 - base[0])))
    odds[0, 0, :] += np.log(centre.agent)
    odds[0, :: centre.teams, :] += np.log(centre.team)
    odds[0, :, -1] += np.log(centre.last_day)
    return n, rng.binomial(n[None], 1 / (1 + np.exp(-odds)))


def flags(centre: Centre, rng: np.random.Generator) -> tuple[set[tuple[str, int, int]], set[int]]:
    """What stands out (axis, measure, number) and which measures move."""
    n, hits = drawn(centre, rng)
    teams = np.arange(centre.agents) % centre.teams
    families = []
    for measure in range(centre.measures):
        by_agent = zip(n.sum(1), hits[measure].sum(1), strict=True)
        by_day = zip(n.sum(0), hits[measure].sum(0), strict=True)
        by_team = [(n[teams == t].sum(), hits[measure][teams == t].sum()) for t in range(centre.teams)]
        for axis, pairs in (("agent", by_agent), ("day", by_day), ("team", by_team)):
            counts = [Count(at, int(calls), int(found)) for at, (calls, found) in enumerate(pairs)]
            families.append(Family((axis, measure), counts))
    days = [Course(str(f.label[1]), range(centre.days), f.counts) for f in families if f.label[0] == "day"]  # type: ignore[index]
    out = {(*one.label, one.count.key) for one in stand_out(families)}  # type: ignore[misc]
    return out, {int(one.label) for one in moving(days)}


CASES = (  # name, centre, what is planted
    ("all alike", Centre(), None),
    ("all alike, 4 calls a day", Centre(calls=4), None),
    ("all alike, 12 agents, one day", Centre(agents=12, teams=3, days=1, calls=60), None),
    ("an agent: odds x 2", Centre(agent=2), ("agent", 0, 0)),
    ("an agent: odds x 3", Centre(agent=3), ("agent", 0, 0)),
    ("an agent: odds x 5", Centre(agent=5), ("agent", 0, 0)),
    ("a team: odds x 1.6", Centre(team=1.6), ("team", 0, 0)),
    ("a team: odds x 2", Centre(team=2), ("team", 0, 0)),
    ("the last day: odds x 1.6", Centre(last_day=1.6), ("day", 0, 11)),
    ("the last day: odds x 2", Centre(last_day=2), ("day", 0, 11)),
    ("agents differ (sd 0.3)", Centre(spread=0.3), None),
    ("agents differ (sd 0.3), one x 5", Centre(spread=0.3, agent=5), ("agent", 0, 0)),
)  # fmt: skip


def chance(rounds: int, console: Console) -> None:
    table = Table(title=f"{rounds} call centres each; 120 agents, 12 days, 12 calls each, 30 rates of 1 to 30 %")
    for heading in ("", "anything stands out", "anything moves", "planted found", "flags", "wrong"):
        table.add_column(heading, justify="right" if heading else "left")
    for number, (name, centre, planted) in enumerate(CASES):
        rng = np.random.default_rng(1000 + number)
        some = moves = found = all_flags = wrong = 0
        for _ in range(rounds):
            out, moved = flags(centre, rng)
            some, moves = some + bool(out), moves + bool(moved)
            found += planted in out
            all_flags += len(out)
            wrong += sum(not _is_planted(centre, one) for one in out)
        row = [_percent(some, rounds), _percent(moves, rounds), _percent(found, rounds) if planted else ""]
        table.add_row(name, *row, f"{all_flags / rounds:.2f}", f"{wrong / max(1, all_flags):.1%}")
    console.print(table)
    console.print("flags: per centre; wrong: of the flags, those on groups that are like the others", style="dim")


def _is_planted(centre: Centre, one: tuple[str, int, int]) -> bool:
    """Where agents differ by nature no agent is like the others; of a bad agent's team and a bad team's agents
    something is true, too."""
    axis, measure, at = one
    if axis == "agent" and centre.spread:
        return True
    if measure:
        return False
    return (
        (centre.agent > 1 and ((axis == "agent" and at == 0) or (axis == "team" and at == 0)))
        or (centre.team > 1 and ((axis == "team") or (axis == "agent" and at % centre.teams == 0)))
        or (centre.last_day > 1 and axis == "day" and at == centre.days - 1)
    )


def _percent(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits / n:.1%} [{low:.1%}-{high:.1%}]"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=200_000)
    options.add_argument("--rounds", type=int, default=400)
    options.add_argument("--part", default="speed,chance")
    options.add_argument("--process", choices=("read", "add"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.process:
        print(json.dumps(one_process(chosen.process, chosen.calls, json.load(sys.stdin))))
        return
    console = Console(width=120)
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", style="dim")
    if "speed" in chosen.part:
        speed(chosen.calls, console)
    if "chance" in chosen.part:
        chance(chosen.rounds, console)


if __name__ == "__main__":
    main()
