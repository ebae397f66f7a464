"""How fast the reviewers' pages are in a browser, with a store of many calls and one call of two hours.

    python -m bench.desk_pages [--calls 10000]

The store is made of the sample calls, copied under other ids, days, agents and teams. Chromium opens each page five
times on this machine; the median is printed. First paint is the browser's own first contentful paint, counted from the
navigation; a filter counts from the choice to the drawn rows; of the call page, ``ready`` is when everything is there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from analyzer.store import users
from analyzer.store.importing import import_run
from analyzer.store.search import add_to_index
from analyzer.store.tables import Call, Finding, Report, RuleResult, Turn
from tests.desk_calls import many_reports, sample_reports, write_run
from tests.desk_stage import Stage, open_stage
from tests.test_desk_browser import running

CHROMIUM = "/usr/bin/chromium"
TWO_HOURS_MS = 7_200_000
LONG_TURNS = 5_000
ROUNDS = 5
BATCH = 500
PARTS = (Report, RuleResult, Finding, Turn)
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000)
    wanted = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as name, open_stage(Path(name)) as stage:
        began = time.monotonic()
        longest = fill(stage, Path(name), wanted)
        print(f"store of {wanted:,} calls made in {time.monotonic() - began:.0f} s")
        with running(stage) as origin, sync_playwright() as playwright:
            measure(playwright, stage, origin, longest)


# ---- the store


def fill(stage: Stage, folder: Path, wanted: int) -> int:
    """Many calls; returns the number of the long one."""
    import_run(stage.store, write_run(folder / "run", [*many_reports(13), long_report()]))
    with stage.store.writing() as session:
        patterns = [read_pattern(session, call) for call in session.scalars(select(Call).order_by(Call.id))]
        longest = next(pattern.call["id"] for pattern in patterns if pattern.call["call_id"] == "two-hours")
        short = [pattern for pattern in patterns if pattern.call["id"] != longest]
        for first in range(0, wanted, BATCH):
            numbers = range(first, min(wanted, first + BATCH))
            add_copies(session, [(number, short[number % len(short)]) for number in numbers], 1_000 + first)
    return int(longest)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The rows of a call: its own, and those of its parts by table."""

    call: dict[str, Any]
    parts: dict[Any, list[dict[str, Any]]]


def read_pattern(session: Session, call: Call) -> Pattern:
    parts = {table: session.scalars(select(table).where(table.call_pk == call.id)).all() for table in PARTS}
    return Pattern(columns(call), {table: [columns(row) for row in rows] for table, rows in parts.items()})


def columns(row: Any) -> dict[str, Any]:
    return {attribute.key: getattr(row, attribute.key) for attribute in row.__mapper__.column_attrs}


def add_copies(session: Session, copies: list[tuple[int, Pattern]], first_id: int) -> None:
    rows: dict[Any, list[dict[str, Any]]] = {Call: [], **{table: [] for table in PARTS}}
    for place, (number, pattern) in enumerate(copies):
        fresh = first_id + place
        started = datetime(2026, 1, 1, 8, tzinfo=UTC) + timedelta(minutes=17 * number)
        about = {"id": fresh, "call_id": f"{pattern.call['call_id']}/{number}", "started_at": started}
        about["origin"] = str(fresh)
        rows[Call].append({**pattern.call, **about, "agent_id": f"30{number % 97:02d}", "team": f"{number % 9 + 1}组"})
        for table in PARTS:
            rows[table] += [{**row, "call_pk": fresh} for row in pattern.parts[table]]
    last = session.scalar(select(func.max(Turn.id))) or 0
    for place, turn in enumerate(rows[Turn], start=1):
        turn["id"] = last + place
    for finding in rows[Finding]:
        del finding["id"]
    for table, made in rows.items():
        session.execute(insert(table), made)
    add_to_index(session, [(turn["id"], turn["text"]) for turn in rows[Turn]])


def long_report() -> dict[str, Any]:
    """A sample's turns over and over, for two hours, with a forbidden phrase a minute."""
    report = {**next(one for one in sample_reports() if "unknown-fee" in one["call_id"]), "call_id": "two-hours"}
    turns = list(long_turns(report["turns"]))
    hits = [place for place, turn in enumerate(turns) if "不是跟您讲清楚了" in turn["text"]][:120]
    report |= {"turns": turns, "duration_ms": TWO_HOURS_MS}
    report.pop("activity", None)
    banned = next(rule for rule in report["rules"] if rule["rule"] == "banned_phrase")
    many = {**banned, "findings": [long_hit(banned["findings"][0], place, turns[place]) for place in hits]}
    return {**report, "rules": [many if rule is banned else rule for rule in report["rules"]]}


def long_turns(pattern: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    each = TWO_HOURS_MS // LONG_TURNS
    for number in range(LONG_TURNS):
        turn, start, length = pattern[number % len(pattern)], number * each, each - 60
        count = max(1, len(turn["text"]))
        chars = [[start + length * at // count, start + length * (at + 1) // count] for at in range(count)]
        yield {**turn, "start_ms": start, "end_ms": start + length, "chars": chars}


def long_hit(pattern: dict[str, Any], place: int, turn: dict[str, Any]) -> dict[str, Any]:
    spans = [{**span, "turn": place} for span in pattern["spans"]]
    return {**pattern, "turn": place, "spans": spans, "start_ms": turn["start_ms"], "end_ms": turn["end_ms"]}


# ---- the browser


def measure(playwright: Any, stage: Stage, origin: str, longest: int) -> None:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    with stage.store.writing() as session:
        login = users.log_in(session, stage.users["reviewer"], stage.clock(), timedelta(hours=12))
    context.add_cookies([{"name": "analyzer_session", "value": login.token, "url": origin}])
    page = context.new_page()
    show("list: first paint", [opened(page, f"{origin}/calls")[0] for _ in range(ROUNDS)])
    show("list: ready", [opened(page, f"{origin}/calls")[1] for _ in range(ROUNDS)])
    filters = {"verdict": "fail", "team": "3组", "rule": "banned_phrase", "severity": "critical", "state": "auto"}
    for field, value in filters.items():
        show(f"filter: {field}", [filtered(page, field, value) for _ in range(ROUNDS)])
    show("filter: words", [filtered(page, "q", "投诉") for _ in range(ROUNDS)])
    show("sort: criticals", [filtered(page, "sort", "-criticals") for _ in range(ROUNDS)])
    show("two hours: first paint", [opened(page, f"{origin}/calls/{longest}")[0] for _ in range(ROUNDS)])
    show("two hours: ready", [opened(page, f"{origin}/calls/{longest}")[1] for _ in range(ROUNDS)])
    show("two hours: next finding", [stepped(page) for _ in range(ROUNDS)])
    show("two hours: a frame while it plays", frames(page))
    browser.close()


def opened(page: Page, url: str) -> tuple[float, float]:
    """First contentful paint and everything there, in ms."""
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    ready = page.evaluate("performance.now()")
    page.wait_for_function(FIRST_PAINT)
    return page.evaluate(FIRST_PAINT), ready


def filtered(page: Page, field: str, value: str) -> float:
    """From the choice to the drawn rows, in ms; what the fingers wait before a word is searched is counted too."""
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search && document.getElementById('calls').dataset.busy !== 'true'")
    return page.evaluate(
        """([field, value]) => new Promise((resolve) => {
          const start = performance.now();
          const body = document.getElementById("rows");
          new MutationObserver((_, watch) => {
            if (document.getElementById("rows") === body) return;
            watch.disconnect();
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
          }).observe(document.getElementById("calls"), { childList: true });
          const one = document.getElementById("filter").elements[field];
          one.value = value;
          one.dispatchEvent(new Event("input", { bubbles: true }));
        })""",
        [field, value],
    )


def stepped(page: Page) -> float:
    """From the key to the drawn frame."""
    return page.evaluate(
        """() => new Promise((resolve) => {
          const start = performance.now();
          dispatchEvent(new KeyboardEvent("keydown", { code: "KeyN", key: "n" }));
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
        })"""
    )


def frames(page: Page) -> list[float]:
    """The moment moved on 60 times: each with all that follows it."""
    return page.evaluate(
        """async () => {
          const took = [];
          const times = document.querySelectorAll(".turn-time");
          for (let at = 0; at < 60; at += 1) {
            const start = performance.now();
            times[at * 40].click();
            await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
            took.push(performance.now() - start);
          }
          return took;
        }"""
    )


def show(what: str, took: list[float]) -> None:
    print(f"{what:38} median {statistics.median(took):6.0f} ms   worst {max(took):6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
