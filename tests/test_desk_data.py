"""数据管理: admins see what is kept, try a purge out, delete, and back up; nobody else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from analyzer.store.importing import import_run
from analyzer.store.tables import Call
from tests.databases import NewDatabase
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import Stage, open_stage


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    """Four calls of October 2026; it is 7 November."""
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        import_run(stage.store, write_run(tmp_path / "run", many_reports(4)))
        stage.clock.pass_(days=250)
        yield stage


def count_calls(stage: Stage) -> int:
    with stage.store.reading() as session:
        return session.scalar(select(func.count(Call.id))) or 0


def test_an_admin_sees_how_much_is_kept(stage: Stage) -> None:
    body = stage.client("admin").get("/api/desk/data").json()
    assert (body["calls"], body["oldest"], body["media_files"], body["backups"]) == (4, "2026-10-01", 0, [])
    assert body["database_bytes"] > 100_000
    assert body["free_bytes"] > 0


def test_a_purge_is_tried_out_first_and_then_deletes_just_that(stage: Stage) -> None:
    client = stage.client("admin")
    order = {"older_than_days": 36}
    tried = client.post("/api/desk/data/purge", json=order).json()
    assert (tried["dry_run"], tried["calls"], tried["rows"]["calls"], count_calls(stage)) == (True, 2, 2, 4)
    done = client.post("/api/desk/data/purge", json={**order, "dry_run": False, "calls": 2}).json()
    assert (done["dry_run"], done["calls"], count_calls(stage)) == (False, 2, 2)


@pytest.mark.parametrize("seen", [None, 3])
def test_nothing_is_deleted_that_was_not_seen_in_a_dry_run(stage: Stage, seen: int | None) -> None:
    order = {"older_than_days": 36, "dry_run": False, "calls": seen}
    answer = stage.client("admin").post("/api/desk/data/purge", json=order)
    assert (answer.status_code, answer.json()["code"], count_calls(stage)) == (409, "conflict", 4)


@pytest.mark.parametrize("days", [0, -1, 100_000, "x"])
def test_a_purge_of_no_sensible_age_is_refused(stage: Stage, days: object) -> None:
    answer = stage.client("admin").post("/api/desk/data/purge", json={"older_than_days": days})
    assert (answer.status_code, count_calls(stage)) == (422, 4)


def test_a_backup_lies_beside_the_media_folder(stage: Stage, tmp_path: Path) -> None:
    client = stage.client("admin")
    answer = client.post("/api/desk/data/backup")
    assert answer.status_code == 201
    assert client.get("/api/desk/data").json()["backups"] == [answer.json()]
    assert (tmp_path / "backups" / answer.json()["name"]).stat().st_size == answer.json()["bytes"] > 0


@pytest.mark.parametrize("name", ["agent", "reviewer", "lead", "service"])
def test_nobody_but_admins_manages_data(stage: Stage, name: str) -> None:
    client = stage.client(name)
    order = {"older_than_days": 1, "dry_run": False, "calls": 4}
    answers = [
        client.get("/api/desk/data"),
        client.get("/admin/data"),
        client.post("/api/desk/data/purge", json=order),
        client.post("/api/desk/data/backup"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert count_calls(stage) == 4


def test_the_page_is_there_for_admins(stage: Stage) -> None:
    page = stage.client("admin").get("/admin/data", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "数据管理" in page.text
