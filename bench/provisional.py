"""Provisional findings while a call goes on: how many come up, and how many are withdrawn again, rule by rule.

    python -m bench.provisional [--part tuning|closing]

The calls of ``bench/data/rules`` are fed turn by turn as they end, each side settled up to that moment, as a recogniser
does that gives whole turns.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from analyzer.catalog import load_pack
from analyzer.engine import CallAnalyzer, FindingEvent, FindingStatus
from analyzer.rules import Pack
from analyzer.transcripts import read_call
from analyzer.types import Role, Transcript

DATA = Path(__file__).parent / "data" / "rules"


def events_of(call: Transcript, pack: Pack) -> list[FindingEvent]:
    """All findings of one call with what became of them, in order."""
    roles = {Role.AGENT, Role.CUSTOMER, *(utterance.role for utterance in call.utterances)}
    analyzer = CallAnalyzer(pack, direction=call.direction, metadata=call.metadata, roles=roles)
    events: list[FindingEvent] = []
    waiting = sorted(call.utterances, key=lambda utterance: utterance.span.end_ms)
    for number, utterance in enumerate(waiting):
        events += analyzer.feed(utterance)
        for role in roles:
            open_ms = (later.span.start_ms for later in waiting[number + 1 :] if later.role is role)
            events += analyzer.settled(role, min([utterance.span.end_ms, *open_ms]))
    result = analyzer.finish(call.duration_ms, truncated=call.truncated)
    return [*events, *result.events]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("tuning", "closing"), default="tuning")
    part = parser.parse_args().part
    pack = load_pack("standard")
    counts: dict[str, Counter[FindingStatus]] = {}
    calls = [json.loads(line) for line in (DATA / f"calls_{part}.jsonl").read_text(encoding="utf-8").splitlines()]
    for fields in calls:
        for event in events_of(read_call(fields, fields["call_id"]), pack):
            counts.setdefault(event.finding.rule, Counter())[event.status] += 1
    total: Counter[FindingStatus] = sum(counts.values(), Counter())
    print(f"{'rule':28} {'provisional':>11} {'confirmed':>9} {'withdrawn':>9}")
    for rule, count in [*sorted(counts.items()), ("all", total)]:
        print(f"{rule:28} " + " ".join(f"{count[status]:>{9 + 2 * (not i)}}" for i, status in enumerate(FindingStatus)))
    print(f"withdrawn per call: {total[FindingStatus.WITHDRAWN] / len(calls):.3f} ({len(calls)} calls)")


if __name__ == "__main__":
    main()
