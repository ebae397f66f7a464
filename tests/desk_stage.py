"""A review desk for tests: the real app on a SQLite file of its own, somebody of every role, a browser for each.

@pytest.fixture
def stage(tmp_path): with open_stage(tmp_path) as stage: yield stage

stage.client("lead").get("/api/desk/calls")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from analyzer.desk.app import ReviewDesk
from analyzer.serve.app import create_desk_app
from analyzer.store import Store, audit, open_store, users
from analyzer.store.tables import User
from tests.databases import new_sqlite

BASE = "http://127.0.0.1:8765"
TOKEN = "a-token-of-some-length"
AGENT_ID, OTHER_AGENT_ID = "3017", "4711"  # of the agents `agent` and `other_agent`
TEAM = "一组"
NO_PASSWORD = "!"  # nobody can log in with it; clients get their session without


@dataclass
class Clock:
    """The desk's clock; a test moves it."""

    now: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class Stage:
    """``users``: agent, other_agent, reviewer, other_reviewer, lead, admin (who may unmask); by name."""

    store: Store
    desk: ReviewDesk
    app: FastAPI
    clock: Clock
    users: dict[str, User] = field(default_factory=dict)

    def client(self, name: str | None = None, **options: Any) -> TestClient:
        """A browser; logged in as ``name``, as the server's ``service``, or not at all. Sends the CSRF header."""
        client = TestClient(self.app, base_url=BASE, follow_redirects=False, **options)
        if name == "service":
            client.headers["authorization"] = f"Bearer {TOKEN}"
        elif name is not None:
            with self.store.writing() as session:
                login = users.log_in(session, self.users[name], self.clock(), timedelta(hours=12))
            client.cookies.set("analyzer_session", login.token)
            client.headers["x-csrf-token"] = login.csrf
        return client

    def add_user(self, name: str, role: str, **fields: Any) -> User:
        with self.store.writing() as session:
            given = {"password_hash": NO_PASSWORD, "at": self.clock(), **fields}
            self.users[name] = users.add_user(session, name=name, role=role, **given)
        return self.users[name]


def tamper(store: Store, *statements: str) -> None:
    """Change the audit log as whoever owns the database can."""
    with store.writing() as session:
        audit.unprotect(session.connection())
        for statement in statements:
            session.execute(text(statement))
        audit.protect(session.connection())


@contextmanager
def open_stage(folder: Path, url: str | None = None, **desk: Any) -> Iterator[Stage]:
    """A desk on a new ``folder/desk.db``, or on the database at ``url``, which should be empty."""
    clock = Clock()
    store = open_store(url or new_sqlite(folder))
    at_once: dict[str, Any] = {"apart": lambda work, *given: work(*given)}  # a process takes a second to begin
    review = ReviewDesk(store, folder / "packs", folder / "media", clock=clock, **{**at_once, **desk})
    stage = Stage(store, review, create_desk_app(review, token=TOKEN), clock)
    stage.add_user("agent", "agent", display_name="小陈", agent_id=AGENT_ID, team=TEAM)
    stage.add_user("other_agent", "agent", display_name="小赵", agent_id=OTHER_AGENT_ID, team="二组")
    stage.add_user("reviewer", "reviewer", display_name="王质检")
    stage.add_user("other_reviewer", "reviewer", display_name="刘质检")
    stage.add_user("lead", "lead", display_name="李主管")
    stage.add_user("admin", "admin", display_name="周管理", may_unmask=True)
    try:
        yield stage
    finally:
        store.close()
