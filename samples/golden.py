"""Score the samples afresh and compare with each call's expected.json; ``--accept`` rewrites them.

    make golden            says which calls changed, and how; exit 1 if any did
    make golden ACCEPT=1   the present reports become the expected ones; review them as a diff

The snapshot shows what a change does to scores. Whether a score is right, ``truth.json`` says.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m samples.golden", description=__doc__.split("\n")[0])
    parser.add_argument("--accept", action="store_true", help="rewrite expected.json")
    accept = parser.parse_args().accept
    changed = 0
    for report in score_samples():
        expected = HERE / report["call_id"] / "expected.json"
        old = expected.read_text(encoding="utf-8") if expected.exists() else ""
        new = as_text(report)
        if new == old:
            continue
        changed += 1
        print("".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "expected", report["call_id"])))
        if accept:
            expected.write_text(new, encoding="utf-8")
    print(f"{changed} reports {'rewritten' if accept else 'differ from expected.json'}")
    sys.exit(0 if accept or not changed else 1)


def score_samples() -> Iterator[dict[str, Any]]:
    """Reports of all samples, made by the command a user types."""
    with TemporaryDirectory() as folder:
        options = ["--offline", "--run", folder, "--format", "jsonl"]
        command = [sys.executable, "-m", "analyzer", "score", str(HERE), *options]
        scored = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")  # noqa: S603 - ours
        lines = scored.stdout.splitlines()
    yield from map(json.loads, lines)


def as_text(report: dict[str, Any]) -> str:
    """A line per rule and per turn, so that a change is a short diff; rules with nothing to tell share one line each
    outcome."""
    fields = []
    for name, value in brief(report).items():
        if isinstance(value, list) and value:
            body = "[\n" + ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in value) + "\n  ]"
        else:
            body = json.dumps(value, ensure_ascii=False)
        fields.append(f'  "{name}": {body}')
    return "{\n" + ",\n".join(fields) + "\n}\n"


def brief(report: dict[str, Any]) -> dict[str, Any]:
    """The report with the rules that carry neither findings nor measurements listed by outcome."""
    plain: dict[str, list[str]] = {}
    telling = []
    for rule in report["rules"]:
        if rule["findings"] or rule.get("measured") or rule.get("elements") or rule.get("level"):
            telling.append({key: value for key, value in rule.items() if key not in ("title", "clauses")})
        else:
            plain.setdefault(rule["outcome"], []).append(rule["rule"])
    return {**report, "rules": telling, "other_rules": plain}


if __name__ == "__main__":
    main()
