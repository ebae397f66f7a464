"""Logging in: who gets in, how often one may try, what ends a login."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from analyzer.desk import passwords
from analyzer.desk.app import ReviewDesk
from analyzer.desk.passwords import is_right, weakness
from analyzer.serve.app import create_desk_app
from analyzer.settings import Login, Settings
from analyzer.store import tables, users
from analyzer.store.tables import AuditEntry, User
from tests.databases import NewDatabase
from tests.desk_stage import BASE, Stage, open_stage

PASSWORD = "correct-horse-7"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
HASH = CHEAP.hash(PASSWORD)
HTML = {"accept": "text/html,*/*"}


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", CHEAP)


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        stage.add_user("chen", "reviewer", password_hash=HASH, display_name="陈质检")
        yield stage


def _log_in(client: TestClient, name: str = "chen", password: str = PASSWORD, next_: str = "") -> Response:
    return client.post("/login", data={"name": name, "password": password, "next": next_})


def _actions(stage: Stage) -> list[tuple[str, str, str]]:
    with stage.store.reading() as session:
        return [(one.actor, one.action, one.object) for one in session.scalars(select(AuditEntry))]


# ---- in


def test_name_and_password_open_the_desk(stage: Stage) -> None:
    client = stage.client()
    answer = _log_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert client.get("/api/desk/me").json()["display_name"] == "陈质检"
    assert client.get("/").headers["location"] == "/calls"
    number = stage.users["chen"].id
    assert _actions(stage) == [(f"user:{number}", "login", f"user:{number}")]


def test_the_cookie_is_for_https_only_where_there_is_https(stage: Stage) -> None:
    client = TestClient(stage.app, base_url="https://desk.example", follow_redirects=False)
    assert "Secure" in _log_in(client).headers["set-cookie"]


def test_the_database_does_not_hold_what_the_cookie_says(stage: Stage) -> None:
    client = stage.client()
    _log_in(client)
    with stage.store.reading() as session:
        stored = session.scalars(select(tables.Session.digest)).one()
    assert client.cookies["analyzer_session"] not in stored


@pytest.mark.parametrize("name", ["chen", " Chen ", "\uff23\uff28en"])
def test_a_name_is_the_same_however_it_is_typed(stage: Stage, name: str) -> None:
    assert _log_in(stage.client(), name).status_code == 303


@pytest.mark.parametrize(
    ("name", "password"), [("chen", "wrong-horse-7"), ("nobody", PASSWORD), ("", ""), ("agent", ""), ("a\0b", "x")]
)
def test_a_wrong_name_and_a_wrong_password_look_alike(stage: Stage, name: str, password: str) -> None:
    answer = _log_in(stage.client(), name, password)
    assert answer.status_code == 401
    assert "用户名或密码不正确" in answer.text
    assert "set-cookie" not in answer.headers


def test_somebody_who_was_deactivated_is_no_longer_known(stage: Stage) -> None:
    client = stage.client("chen")
    with stage.store.writing() as session:
        session.get_one(User, stage.users["chen"].id).is_active = False
    assert client.get("/api/desk/me").status_code == 401
    assert _log_in(stage.client()).status_code == 401


@pytest.mark.parametrize(
    ("where", "to"),
    [
        ("/calls?agent=3017#f2", "/calls?agent=3017#f2"),
        ("https://evil.example/", "/"),
        ("//evil.example/calls", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/logout", "/"),
        ("calls", "/"),
    ],
)
def test_one_comes_back_to_where_one_was_but_never_to_another_site(stage: Stage, where: str, to: str) -> None:
    assert _log_in(stage.client(), next_=where).headers["location"] == to
    assert stage.client("chen").get("/login", params={"next": where}).headers["location"] == to


def test_a_new_login_takes_the_place_of_the_old_one(stage: Stage) -> None:
    client = stage.client("agent")
    old = client.cookies["analyzer_session"]
    client.cookies.clear()
    before = {"cookie": f"analyzer_session={old}"}
    answer = client.post("/login", data={"name": "chen", "password": PASSWORD}, headers=before)
    assert answer.status_code == 303
    client.cookies.clear()
    assert client.get("/api/desk/me", headers=before).status_code == 401


def test_a_password_hashed_with_old_parameters_is_hashed_anew(stage: Stage) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash(PASSWORD)
    stage.add_user("old", "lead", password_hash=old)
    assert _log_in(stage.client(), "old").status_code == 303
    with stage.store.reading() as session:
        now = session.get_one(User, stage.users["old"].id).password_hash
    assert now != old
    assert is_right(now, PASSWORD)


# ---- out


def test_logging_out_ends_the_login(stage: Stage) -> None:
    client = stage.client("lead")
    cookie = {"cookie": f"analyzer_session={client.cookies['analyzer_session']}"}
    assert client.post("/logout").headers["location"] == "/login"
    assert stage.client().get("/api/desk/me", headers=cookie).status_code == 401


def test_a_page_whose_login_is_over_leads_to_the_login_page(stage: Stage) -> None:
    client = stage.client("lead")
    stage.clock.pass_(minutes=31)
    assert client.get("/calls/7?t=3000", headers=HTML).headers["location"] == "/login?next=/calls/7%3Ft%3D3000"
    assert client.post("/password", data={"password": "x"}, headers=HTML).headers["location"] == "/login"


# ---- other sites


@pytest.mark.parametrize("token", [None, "", "wrong", "口令"])
def test_a_form_needs_the_token_of_its_page(stage: Stage, token: str | None) -> None:
    client = stage.client("lead")
    del client.headers["x-csrf-token"]
    refused = client.post("/logout", data={} if token is None else {"csrf": token})
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    assert client.get("/api/desk/me").status_code == 200


def test_a_form_with_the_token_of_its_page_is_taken(stage: Stage) -> None:
    client = stage.client("lead")
    del client.headers["x-csrf-token"]
    field = re.search(r'name="csrf" value="([^"]+)"', client.get("/password").text)
    assert field is not None
    assert client.post("/logout", data={"csrf": field[1]}).status_code == 303


def test_another_site_cannot_log_anybody_in(stage: Stage) -> None:
    sent = {"name": "chen", "password": PASSWORD}
    answer = stage.client().post("/login", data=sent, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_a_page_lets_browsers_say_where_its_forms_come_from(stage: Stage) -> None:
    headers = stage.client().get("/login").headers
    assert headers["referrer-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["cache-control"] == "no-store"


# ---- too many


def test_after_eight_failures_a_name_has_to_wait_even_with_the_right_password(stage: Stage) -> None:
    for _ in range(8):
        assert _log_in(stage.client(), password="wrong-horse-7").status_code == 401
    answer = _log_in(stage.client())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "900")
    assert "15 分钟后再试" in answer.text
    assert _log_in(_after_a_restart(stage)).status_code == 429
    stage.clock.pass_(minutes=15)
    assert _log_in(stage.client()).status_code == 303


def _after_a_restart(stage: Stage) -> TestClient:
    """A browser before a server that was started anew on the same database."""
    desk = ReviewDesk(stage.store, stage.desk.packs, stage.desk.media, clock=stage.clock)
    return TestClient(create_desk_app(desk, token="another-token"), base_url=BASE, follow_redirects=False)


def test_names_that_do_not_exist_have_to_wait_alike(stage: Stage) -> None:
    answers = [_log_in(stage.client(), "nobody", "x").status_code for _ in range(9)]
    assert answers == [401] * 8 + [429]


def test_an_address_that_tries_many_names_has_to_wait(tmp_path: Path) -> None:
    with open_stage(tmp_path, settings=Settings(login=Login(failures_per_address=3))) as stage:
        answers = [_log_in(stage.client(), f"name{number}", "x").status_code for number in range(4)]
    assert answers == [401, 401, 401, 429]


def test_a_right_password_clears_the_failures_of_its_name_only(stage: Stage) -> None:
    for _ in range(7):
        _log_in(stage.client(), password="wrong-horse-7")
    assert _log_in(stage.client()).status_code == 303
    with stage.store.reading() as session:
        assert len(session.scalars(select(tables.LoginFailure)).all()) == 7  # of the address


# ---- passwords


def _change(client: TestClient, **fields: str) -> Response:
    given = {"present": PASSWORD, "password": "a-new-sentence-9", "again": "a-new-sentence-9", **fields}
    return client.post("/password", data=given)


def test_a_changed_password_ends_the_other_logins(stage: Stage) -> None:
    client, other = stage.client("chen"), stage.client("chen")
    assert _change(client, next="/queue").headers["location"] == "/queue"
    assert client.get("/api/desk/me").status_code == 200
    assert other.get("/api/desk/me").status_code == 401
    assert _log_in(stage.client()).status_code == 401
    assert _log_in(stage.client(), password="a-new-sentence-9").status_code == 303


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"present": "wrong-horse-7"}, "原密码不正确"),
        ({"again": "something else"}, "两次输入的密码不一致"),
        ({"password": PASSWORD, "again": PASSWORD}, "不能与原密码相同"),
        ({"password": "short", "again": "short"}, "10 至 128"),
    ],
)
def test_a_password_that_cannot_be_taken_is_refused_with_its_reason(stage: Stage, fields: Any, why: str) -> None:
    answer = _change(stage.client("chen"), **fields)
    assert answer.status_code == 422
    assert why in answer.text


def test_who_must_change_the_password_can_do_nothing_else_before(stage: Stage) -> None:
    stage.add_user("qian", "admin", password_hash=HASH, must_change=True)
    client = stage.client()
    assert _log_in(client, "qian", next_="/calls").headers["location"] == "/password?next=/calls"
    assert client.get("/", headers=HTML).headers["location"] == "/password"
    assert "初始密码" in client.get("/password").text
    client.headers["x-csrf-token"] = client.get("/api/desk/me").json()["csrf"]
    assert _change(client).status_code == 303
    assert client.get("/", headers=HTML).headers["location"] == "/calls"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("123456789012", "猜到"),
        ("qwertyuiop12", "猜到"),
        ("Password123!", "猜到"),
        ("aaaaaaaaaaaaaaa", "不同的字符"),
        ("短密码不行", "10 至 128"),
        ("x" * 129, "10 至 128"),
        ("i-am-ChenMing-77", "用户名"),
    ],
)
def test_weak_passwords_are_refused(password: str, why: str) -> None:
    assert why in str(weakness(password, "chenming", "陈"))


@pytest.mark.parametrize("password", [PASSWORD, "床前明月光疑是地上霜", "tr0ub4dor&3x", "Sommer-in-Kunming"])
def test_good_passwords_are_taken(password: str) -> None:
    assert weakness(password, "chenming", "陈明") is None


def test_full_width_letters_are_the_same_password() -> None:
    assert is_right(HASH, "\uff43orrect-horse-\uff17")


# ---- the first admin

NEW = {"name": "zhou", "display_name": "周管理", "password": PASSWORD, "again": PASSWORD}


@pytest.fixture
def empty(stage: Stage) -> Stage:
    with stage.store.writing() as session:
        for user in session.scalars(select(User)):
            session.delete(user)
    stage.desk.setup_code = "the-code"
    return stage


def test_the_code_makes_the_first_admin_once(empty: Stage) -> None:
    client = empty.client()
    assert "创建管理员" in client.get("/setup?code=the-code").text
    answer = client.post("/setup", data={**NEW, "code": "the-code"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/api/desk/me").json()["role"] == "admin"
    again = empty.client().post("/setup", data={**NEW, "name": "second", "code": "the-code"})
    assert again.headers["location"] == "/login"
    assert empty.client().get("/setup?code=the-code").headers["location"] == "/login"


def test_who_comes_before_the_first_admin_is_told_where_to_make_one(empty: Stage) -> None:
    assert "/setup?code=" in empty.client().get("/login").text
    empty.client().post("/setup", data={**NEW, "code": "the-code"})
    assert "/setup?code=" not in empty.client().get("/login").text


@pytest.mark.parametrize("code", ["", "wrong", "口令"])
def test_without_the_code_nobody_becomes_admin(empty: Stage, code: str) -> None:
    assert empty.client().get("/setup", params={"code": code}).headers["location"] == "/login"
    assert empty.client().post("/setup", data={**NEW, "code": code}).headers["location"] == "/login"
    with empty.store.reading() as session:
        assert users.count_users(session) == 0


def test_the_code_is_worth_nothing_once_there_is_somebody(stage: Stage) -> None:
    stage.desk.setup_code = "the-code"
    assert stage.client().get("/setup?code=the-code").headers["location"] == "/login"


@pytest.mark.parametrize(
    ("fields", "why"), [({"name": "a b"}, "空格"), ({"name": ""}, "1 至 80"), ({"password": "short"}, "不一致")]
)
def test_a_first_admin_who_cannot_be_is_refused_with_the_reason(empty: Stage, fields: Any, why: str) -> None:
    answer = empty.client().post("/setup", data={**NEW, "code": "the-code", **fields})
    assert answer.status_code == 422
    assert why in answer.text
