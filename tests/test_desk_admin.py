"""用户管理 and 审计日志: what admins do, what it ends, and what stays on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from analyzer.desk import passwords
from analyzer.desk.admin_users import new_password
from analyzer.store import audit, users
from analyzer.store.tables import AuditEntry
from tests.databases import NewDatabase
from tests.desk_stage import Stage, open_stage, tamper


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        yield stage


def _entries(stage: Stage) -> list[tuple[str, str, dict[str, Any]]]:
    with stage.store.reading() as session:
        return [(one.action, one.object, one.details) for one in session.scalars(select(AuditEntry))]


# ---- users


def test_a_new_user_gets_an_initial_password_that_has_to_be_changed(stage: Stage) -> None:
    new = {"name": "Qian", "role": "agent", "display_name": "小钱", "agent_id": " 5001 ", "team": ""}
    answer = stage.client("admin").post("/api/desk/users", json=new)
    assert answer.status_code == 201
    user, password = answer.json()["user"], answer.json()["password"]
    assert (user["name"], user["agent_id"], user["team"], user["must_change"]) == ("qian", "5001", None, True)
    entered = stage.client().post("/login", data={"name": "qian", "password": password})
    assert entered.headers["location"] == "/password?next=/"
    assert _entries(stage)[0] == ("user.added", f"user:{user['id']}", {"role": "agent"})


@pytest.mark.parametrize(
    ("new", "status", "why"),
    [
        ({"name": "AGENT", "role": "lead"}, 409, "已经有这个用户名"),
        ({"name": "a b", "role": "lead"}, 422, "空格"),
        ({"name": "qian", "role": "agent"}, 422, "工号"),
        ({"name": "qian", "role": "boss"}, 422, "role"),
        ({"name": "qian", "role": "lead", "password": "x"}, 422, "password"),
    ],
)
def test_a_user_who_cannot_be_is_refused_with_the_reason(
    stage: Stage, new: dict[str, str], status: int, why: str
) -> None:
    answer = stage.client("admin").post("/api/desk/users", json=new)
    assert answer.status_code == status
    assert why in answer.json()["message"]


@pytest.mark.parametrize(
    "changes", [{"role": "lead"}, {"agent_id": "9"}, {"may_unmask": True}, {"is_active": False}], ids=str
)
def test_other_rights_end_the_logins_of_the_user(stage: Stage, changes: dict[str, Any]) -> None:
    theirs, number = stage.client("reviewer"), stage.users["reviewer"].id
    assert stage.client("admin").patch(f"/api/desk/users/{number}", json=changes).status_code == 200
    assert theirs.get("/api/desk/me").status_code == 401
    (name,) = changes
    assert _entries(stage) == [("user.changed", f"user:{number}", {"changed": [name], **changes})]


def test_another_team_or_name_ends_no_login(stage: Stage) -> None:
    theirs, number = stage.client("agent"), stage.users["agent"].id
    changed = stage.client("admin").patch(f"/api/desk/users/{number}", json={"team": "三组", "display_name": "陈晨"})
    assert (changed.json()["team"], changed.json()["display_name"]) == ("三组", "陈晨")
    assert theirs.get("/api/desk/me").json()["display_name"] == "陈晨"
    assert _entries(stage) == [("user.changed", f"user:{number}", {"changed": ["display_name", "team"]})]  # no words


def test_nothing_is_noted_where_nothing_changed(stage: Stage) -> None:
    number = stage.users["lead"].id
    assert stage.client("admin").patch(f"/api/desk/users/{number}", json={"role": "lead"}).status_code == 200
    assert _entries(stage) == []


def test_an_agent_without_a_number_cannot_be(stage: Stage) -> None:
    client, number = stage.client("admin"), stage.users["agent"].id
    assert client.patch(f"/api/desk/users/{number}", json={"agent_id": " "}).status_code == 422
    assert client.patch(f"/api/desk/users/{stage.users['lead'].id}", json={"role": "agent"}).status_code == 422
    assert stage.client("agent").get("/api/desk/me").json()["agent_id"] == "3017"


def test_there_is_always_an_admin(stage: Stage) -> None:
    own = stage.users["admin"].id
    for changes in ({"role": "lead"}, {"is_active": False}):
        assert stage.client("admin").patch(f"/api/desk/users/{own}", json=changes).status_code == 409
    second = stage.add_user("second", "admin").id
    assert stage.client("second").patch(f"/api/desk/users/{own}", json={"role": "lead"}).status_code == 200
    with pytest.raises(users.LastAdminError), stage.store.writing() as session:
        users.change_user(session, second, {"is_active": False})


def test_a_new_password_is_shown_once_and_ends_the_logins(stage: Stage) -> None:
    theirs, number = stage.client("lead"), stage.users["lead"].id
    answer = stage.client("admin").post(f"/api/desk/users/{number}/password")
    assert answer.status_code == 200
    assert theirs.get("/api/desk/me").status_code == 401
    assert (
        stage.client().post("/login", data={"name": "lead", "password": answer.json()["password"]}).status_code == 303
    )
    assert stage.client("admin").post("/api/desk/users/999/password").status_code == 404


def test_initial_passwords_pass_our_own_rules() -> None:
    for _ in range(50):
        assert passwords.weakness(new_password(), "agent") is None


def test_the_list_of_users_is_searched_and_paged(stage: Stage) -> None:
    client = stage.client("lead")
    stage.client("agent")
    first = client.get("/api/desk/users?limit=4").json()
    rest = client.get("/api/desk/users", params={"limit": 4, "cursor": first["next"]}).json()
    names = [user["name"] for user in first["users"] + rest["users"]]
    assert names == ["admin", "agent", "lead", "other_agent", "other_reviewer", "reviewer"]
    assert rest["next"] is None
    found = client.get("/api/desk/users?q=301").json()["users"]
    assert [(user["name"], user["last_seen"] is not None) for user in found] == [("agent", True)]
    assert "password" not in str(first)
    assert client.get("/api/desk/users?q=%25").json()["users"] == []
    assert len(client.get("/api/desk/users?role=reviewer").json()["users"]) == 2


def test_the_page_of_users_escapes_what_people_are_called(stage: Stage) -> None:
    stage.add_user("mallory", "reviewer", display_name='"><script>alert(1)</script>')
    shown = stage.client("admin").get("/admin/users").text
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)" in shown


# ---- audit


@pytest.fixture
def filled(stage: Stage) -> Stage:
    with stage.store.writing() as session:
        for number in range(1, 8):
            audit.append(session, f"user:{stage.users['lead'].id}", "call.viewed", f"call:{number}", at=stage.clock())
            stage.clock.pass_(days=1)
        audit.append(session, "cli", "run.imported", "run:1", {"calls": 7}, at=stage.clock())
    return stage


def _seqs(stage: Stage, **query: Any) -> list[int]:
    answer = stage.client("admin").get("/api/desk/audit", params=query)
    assert answer.status_code == 200
    return [entry["seq"] for entry in answer.json()["entries"]]


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ({}, [8, 7, 6, 5, 4, 3, 2, 1]),
        ({"actor": "cli"}, [8]),
        ({"action": "call.viewed", "object": "call:3"}, [3]),
        ({"action": "call."}, [7, 6, 5, 4, 3, 2, 1]),
        ({"object": "call:"}, [7, 6, 5, 4, 3, 2, 1]),
        ({"action": "call"}, []),
        ({"from": "2026-03-05", "to": "2026-03-06"}, [5, 4]),
        ({"limit": 3, "cursor": 6}, [5, 4, 3]),
    ],
    ids=str,
)
def test_the_log_is_filtered(filled: Stage, query: dict[str, Any], seqs: list[int]) -> None:
    assert _seqs(filled, **query) == seqs


def test_the_log_is_paged_newest_first_and_names_people(filled: Stage) -> None:
    first = filled.client("admin").get("/api/desk/audit?limit=5").json()
    assert [entry["actor_name"] for entry in first["entries"][:2]] == [None, "李主管"]
    assert _seqs(filled, limit=5, cursor=first["next"]) == [3, 2, 1]
    page = filled.client("admin").get("/admin/audit?object=call:&from=nonsense&limit=2").text
    assert 'href="/calls/7"' in page
    assert 'href="/calls/5"' not in page
    assert "/admin/audit?object=call%3A&amp;cursor=6" in page


def test_the_page_of_the_log_says_everything_in_chinese_and_finds_it_by_these_words(filled: Stage) -> None:
    page = filled.client("admin").get("/admin/audit").text
    assert "<span>通话数 7</span>" in page
    assert ">运行 1<" in page
    found = filled.client("admin").get("/admin/audit", params={"object": "通话 7"}).text
    assert 'href="/calls/7"' in found
    assert 'href="/calls/6"' not in found
    assert 'value="通话 7"' in found


def test_the_log_is_verified_from_the_page(filled: Stage) -> None:
    client = filled.client("admin")
    whole = client.get("/api/desk/audit/verify").json()
    assert (whole["entries"], whole["broken"]) == (8, None)
    tamper(filled.store, "UPDATE audit SET object = 'call:99' WHERE seq = 4")
    assert client.get("/api/desk/audit/verify").json()["broken"] == 4


def test_only_admins_read_the_log(filled: Stage) -> None:
    for name in ("agent", "reviewer", "lead", "service"):
        assert filled.client(name).get("/api/desk/audit").status_code == 403
