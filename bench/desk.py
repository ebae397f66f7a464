"""The review desk under load, and killed: reviewers at work over many calls, on SQLite and on PostgreSQL.

    python -m bench.desk [--calls 20000] [--people 50] [--seconds 60] [--pause 2] [--databases sqlite,postgresql]
                         [--keep FOLDER]

The store is made of the sample calls under other ids, days, agents and teams, imported from a run folder. With --keep a
back-up of it stays in FOLDER, and the next run begins with that instead of importing anew. The server is
``analyzer serve --no-live`` in a process of its own; reviewers are clients over HTTP in this one, each over and over:
list, filter, search, open a call, take it, decide each finding, comment, ask for what is next; between two actions each
waits ``--pause`` seconds on average. Times are from the request to the last byte of the answer, and errors all that is
not 2xx.

Then the server is killed (-9) twice while reviewers do not pause at all, and on PostgreSQL so is the database. They go
on when it is back. In the end every decision that was answered 2xx has to be in the store, by whoever made it, and the
chain of the audit log has to be whole.

Clients and server share the cores. PostgreSQL is one of our own, with fsync as it comes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from analyzer.store import Store, audit, open_store, users
from analyzer.store.backup import back_up
from analyzer.store.importing import import_run
from analyzer.store.tables import Review, User
from bench.live_callers import process_s
from tests.desk_calls import many_reports, write_run
from tests.desk_process import DeskProcess
from tests.postgres import PostgresServer, pg_program

ACTIONS = ("list", "filter", "search", "open", "take", "decide", "comment", "next")
SEARCHES = ("要投诉就投诉吧", "手续费", "请您稍等", "办理", "不知道", "发票")
KILLS = 2
BETWEEN_KILLS_S = 15.0  # of work, counted from when it is back
AGAIN_AFTER_S = 0.3
IN_MEMORY = "/dev/shm"  # run folders sync every report; here that is not what is measured


@dataclass
class Seen:
    """What the clients saw."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds, by action
    errors: list[str] = field(default_factory=list)
    unanswered: int = 0
    decided: set[tuple[int, int, str]] = field(default_factory=set)  # finding, reviewer, decision


@dataclass(frozen=True, slots=True)
class Person:
    number: int
    token: str
    csrf: str
    calls: list[int]  # nobody else's, so that nobody has to be told that somebody was quicker


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    console = Console(width=110)
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in asked.databases.split(","):
            with _database(kind, folder) as (url, postgres):
                _measure(console, kind, url, postgres, folder, asked)


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[str, PostgresServer | None]]:
    if kind == "sqlite":
        yield str(folder / "desk.db"), None
        return
    server = PostgresServer(is_safe=True)
    try:
        server.start()
        yield server.database("desk"), server
    finally:
        server.remove()


def _measure(  # noqa: PLR0917
    console: Console, kind: str, url: str, postgres: PostgresServer | None, folder: Path, asked: argparse.Namespace
) -> None:
    console.rule(kind)
    store = _filled(console, kind, url, asked)
    people = _hire(store, asked.people, asked.calls)
    desk = DeskProcess(url, folder / f"data-{kind}")
    desk.start()
    try:
        seen = Seen()
        before, spent_s = os.getloadavg()[0], process_s(desk.pid)
        asyncio.run(_work_for(desk.origin, people, seen, asked.seconds, asked.pause))
        each_ms = 1000 * (process_s(desk.pid) - spent_s) / sum(map(len, seen.times.values()))
        _print(console, seen, f"{asked.people} reviewers, load {before:.1f} before and {os.getloadavg()[0]:.1f} after")
        console.print(f"CPU of the server: {each_ms:.0f} ms an action on average")
        for what in ("server", "database"):
            if what == "server" or postgres is not None:
                seen = Seen()
                asyncio.run(_work_and_kill(desk, postgres if what == "database" else None, people, seen))
                _print_kept(console, store, seen, what)
    finally:
        desk.stop()
        store.close()


def _filled(console: Console, kind: str, url: str, asked: argparse.Namespace) -> Store:
    """The store with its calls: from the back-up of an earlier run, or imported."""
    kept = asked.keep / f"desk-{asked.calls}.{kind}" if asked.keep else None
    began = time.monotonic()
    if kept is not None and kept.exists():
        _restore(kept, kind, url)
        console.print(f"restored {kept} in {time.monotonic() - began:.0f} s")
        return open_store(url)
    store = open_store(url)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if Path(IN_MEMORY).is_dir() else None) as name:
        run = write_run(Path(name) / "run", many_reports(asked.calls))
        console.print(f"{asked.calls:,} reports written in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        import_run(store, run)
        took = time.monotonic() - began
    console.print(f"imported {asked.calls:,} calls in {took:.0f} s: {asked.calls / took:.0f}/s")
    if kept is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
        back_up(store, kept, actor="cli")
    return store


def _restore(kept: Path, kind: str, url: str) -> None:
    if kind == "sqlite":
        shutil.copy(kept, url)
    else:
        subprocess.run([pg_program("pg_restore"), "--exit-on-error", f"--dbname={url}", kept], check=True)


def _hire(store: Store, count: int, calls: int) -> list[Person]:
    """Reviewers, logged in, each with calls of their own."""
    at, made = datetime.now(UTC), []
    with store.writing() as session:
        for index in range(count):
            user = users.add_user(session, name=f"reviewer-{index}", role="reviewer", password_hash="!", at=at)
            login = users.log_in(session, user, at, timedelta(hours=12))
            own = list(range(1 + index, calls + 1, count))
            random.Random(index).shuffle(own)
            made.append(Person(user.id, login.token, login.csrf, own))
    return made


# ---- reviewers


async def _work(origin: str, people: list[Person], seen: Seen, over: asyncio.Event, pause_s: float) -> None:
    await asyncio.gather(*(_Reviewer(origin, person, seen, pause_s).work(over) for person in people))


async def _work_for(origin: str, people: list[Person], seen: Seen, seconds: float, pause_s: float) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await _work(origin, people, seen, over, pause_s)


class _Reviewer:
    def __init__(self, origin: str, person: Person, seen: Seen, pause_s: float) -> None:
        self._person, self._seen, self._pause_s = person, seen, pause_s
        self._random = random.Random(person.number)
        self._client = httpx.AsyncClient(
            base_url=origin, cookies={"analyzer_session": person.token}, headers={"x-csrf-token": person.csrf},
            timeout=60, trust_env=False,
        )  # fmt: skip

    async def work(self, over: asyncio.Event) -> None:
        async with self._client:
            await asyncio.sleep(self._random.uniform(0, self._pause_s))
            while not over.is_set() and self._person.calls:
                try:
                    await self._review(self._person.calls.pop())
                except httpx.TransportError:
                    self._seen.unanswered += 1
                    await asyncio.sleep(AGAIN_AFTER_S)
                except httpx.HTTPStatusError as error:
                    self._seen.errors.append(f"{error.request.url.path}: {error.response.status_code}")
                    await asyncio.sleep(AGAIN_AFTER_S)

    async def _review(self, number: int) -> None:
        wide = {"verdict": "fail", "team": f"{self._random.randint(1, 4)}组", "sort": "score"}
        await self._do("list", "GET", "/calls")
        await self._do("filter", "GET", "/calls/rows", params=wide)
        await self._do("search", "GET", "/calls/rows", params={"q": self._random.choice(SEARCHES)})
        call = (await self._do("open", "GET", f"/api/desk/calls/{number}")).json()
        taken = {"action": "assign", "reviewer_id": self._person.number, "version": call["version"]}
        call = (await self._do("take", "POST", f"/api/desk/calls/{number}/actions", json=taken)).json()
        version = call["version"]
        for finding in call["findings"]:
            if "confirm" in finding["actions"]:
                version = await self._decide(finding["id"], version)
        remark = {"text": "请注意语气，下次先致歉再解释"}
        await self._do("comment", "POST", f"/api/desk/calls/{number}/comments", json=remark)
        await self._do("next", "GET", "/api/desk/queue/next", params={"after_call": number})

    async def _decide(self, finding: int, version: int) -> int:
        decision = self._random.choice(("confirmed", "confirmed", "overturned"))
        said = {"decision": decision, "reason": "转述客户原话", "version": version}
        answer = await self._do("decide", "POST", f"/api/desk/findings/{finding}/decision", json=said)
        self._seen.decided.add((finding, self._person.number, decision))
        return int(answer.json()["version"])

    async def _do(self, action: str, method: str, path: str, **given: Any) -> httpx.Response:
        """raises HTTPStatusError, TransportError"""
        await asyncio.sleep(self._random.expovariate(1 / self._pause_s) if self._pause_s else 0)
        began = time.monotonic()
        answer = await self._client.request(method, path, **given)
        self._seen.times[action].append(time.monotonic() - began)
        answer.raise_for_status()
        return answer


def _print(console: Console, seen: Seen, title: str) -> None:
    table = Table("action", "n", "p50 ms", "p95 ms", "most ms", title=f"{title}; errors {len(seen.errors)}")
    for action in ACTIONS:
        times = sorted(1000 * seconds for seconds in seen.times[action])
        if times:
            most = times[-1]
            p95 = times[int(0.95 * (len(times) - 1))]
            table.add_row(action, str(len(times)), f"{statistics.median(times):.0f}", f"{p95:.0f}", f"{most:.0f}")
    console.print(table)
    for error in sorted(set(seen.errors))[:10]:
        console.print(f"  {error} ({seen.errors.count(error)} times)")
    if seen.unanswered:
        console.print(f"  {seen.unanswered} without an answer")


# ---- killed


async def _work_and_kill(desk: DeskProcess, postgres: PostgresServer | None, people: list[Person], seen: Seen) -> None:
    """Kill the server, or the database where one is given, and start it again, twice."""
    over = asyncio.Event()
    working = asyncio.create_task(_work(desk.origin, people, seen, over, 0))
    await asyncio.sleep(BETWEEN_KILLS_S)
    for _ in range(KILLS):
        await asyncio.to_thread(_kill, desk, postgres)
        await asyncio.sleep(BETWEEN_KILLS_S)
    over.set()
    await working


def _kill(desk: DeskProcess, postgres: PostgresServer | None) -> None:
    if postgres is None:
        port = int(desk.origin.rpartition(":")[2])
        desk.kill()
        desk.start(port)
        return
    postgres.kill()
    time.sleep(1)
    postgres.start()


def _print_kept(console: Console, store: Store, seen: Seen, what: str) -> None:
    with store.reading() as session:
        session.scalars(select(User.id)).all()  # a connection that died with the database is found here, and replaced
        kept = {tuple(row) for row in session.execute(select(Review.finding_id, Review.reviewer_id, Review.decision))}
        verified = audit.verify(session)
    lost = seen.decided - kept
    chain = "whole" if verified.broken is None else f"broken at {verified.broken}: {verified.why}"
    console.print(
        f"{what} killed {KILLS} times: {len(seen.decided)} decisions answered 2xx, {len(lost)} of them lost; "
        f"{len(seen.errors)} answers not 2xx, {seen.unanswered} none; audit log {chain} ({verified.entries} entries)"
    )
    for error in sorted({one.rpartition(" ")[2] for one in seen.errors}):
        console.print(f"  {error}: {sum(one.endswith(error) for one in seen.errors)} times")


if __name__ == "__main__":
    main()
