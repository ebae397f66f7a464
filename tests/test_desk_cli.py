"""``analyzer user``, ``audit`` and ``serve``: the desk from the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select
from typer.testing import CliRunner

from analyzer.cli import app
from analyzer.desk import passwords
from analyzer.desk.passwords import is_right
from analyzer.errors import AnalyzerError
from analyzer.store import open_store, users
from analyzer.store.tables import AuditEntry, User
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import tamper
from tests.sounds import chirps, write_sound

PASSWORD = "correct-horse-7"


class Ran:
    def __init__(self, code: int, out: str) -> None:
        self.code, self.out = code, out


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    monkeypatch.setenv("ANALYZER_STORE", str(tmp_path / "desk.db"))
    monkeypatch.setenv("ANALYZER_LANG", "en")

    def running(*arguments: str, typed: str = "") -> Ran:
        result = CliRunner().invoke(app, arguments, input=typed)
        if isinstance(result.exception, AnalyzerError):  # what ``main`` makes a message and an exit code of
            return Ran(result.exception.exit_code, str(result.exception))
        return Ran(result.exit_code, result.output)

    return running


def _stored(folder: Path) -> tuple[list[User], list[AuditEntry]]:
    store = open_store(str(folder / "desk.db"))
    with store.reading() as session:
        found = list(session.scalars(select(User))), list(session.scalars(select(AuditEntry)))
        session.expunge_all()
    store.close()
    return found


def test_a_user_is_added_with_a_password_from_standard_input(run: Callable[..., Ran], tmp_path: Path) -> None:
    about = ["--role", "agent", "--agent-id", "3017", "--team", "一组", "--display-name", "小陈"]
    ran = run("user", "add", "Chen", *about, typed=f"{PASSWORD}\n")
    assert (ran.code, ran.out) == (0, "added chen (agent)\n")
    (user,), (entry,) = _stored(tmp_path)
    assert (user.name, user.role, user.agent_id, user.team, user.display_name) == (
        "chen",
        "agent",
        "3017",
        "一组",
        "小陈",
    )
    assert is_right(user.password_hash, PASSWORD)
    assert (entry.actor, entry.action, entry.object) == ("cli", "user.added", f"user:{user.id}")


@pytest.mark.parametrize(
    ("arguments", "typed", "why"),
    [
        (["chen", "--role", "agent"], PASSWORD, "--agent-id"),
        (["a b", "--role", "lead"], PASSWORD, "空格"),
        (["chen", "--role", "lead"], "short", "10"),
        (["chen", "--role", "lead"], "", "10"),
    ],
)
def test_a_user_who_cannot_be_is_a_configuration_error(
    run: Callable[..., Ran], tmp_path: Path, arguments: list[str], typed: str, why: str
) -> None:
    ran = run("user", "add", *arguments, typed=typed)
    assert ran.code == 2
    assert why in ran.out
    assert _stored(tmp_path) == ([], [])


def test_a_name_is_given_once(run: Callable[..., Ran]) -> None:
    assert run("user", "add", "chen", "--role", "lead", typed=PASSWORD).code == 0
    ran = run("user", "add", "CHEN", "--role", "lead", typed=PASSWORD)
    assert ran.code == 2
    assert "there is such a user already" in ran.out


def test_a_password_is_never_an_argument(run: Callable[..., Ran]) -> None:
    assert run("user", "add", "chen", "--role", "lead", "--password", PASSWORD).code == 2
    assert run("user", "passwd", "chen", PASSWORD).code == 2


def test_a_new_password_ends_the_logins(run: Callable[..., Ran], tmp_path: Path) -> None:
    run("user", "add", "chen", "--role", "lead", typed=PASSWORD)
    assert run("user", "passwd", "chen", typed="a-new-sentence-9").code == 0
    (user,), entries = _stored(tmp_path)
    assert is_right(user.password_hash, "a-new-sentence-9")
    assert entries[-1].action == "password.reset"
    assert run("user", "passwd", "nobody", typed=PASSWORD).code == 2


def test_the_audit_log_is_verified_and_the_first_broken_entry_named(run: Callable[..., Ran], tmp_path: Path) -> None:
    for name in ("chen", "wang", "li"):
        run("user", "add", name, "--role", "lead", typed=PASSWORD)
    ran = run("audit", "verify")
    assert ran.code == 0
    count, head = ran.out.splitlines()
    assert count == "3 entries, all in order"
    assert re.fullmatch("3:[0-9a-f]{64}", head)
    assert run("audit", "verify", "--known", head).code == 0

    store = open_store(str(tmp_path / "desk.db"))
    tamper(store, "DELETE FROM audit WHERE seq = 3")
    assert run("audit", "verify").code == 0  # nothing in it shows that its end is cut off
    cut = run("audit", "verify", "--known", head)
    assert (cut.code, "entry 3" in cut.out) == (5, True)
    tamper(store, "UPDATE audit SET actor = 'user:9' WHERE seq = 2")
    store.close()
    broken = run("audit", "verify")
    assert (broken.code, broken.out) == (5, "audit log: entry 2: it was changed after it was written")
    assert run("audit", "verify", "--known", "3").code == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "analyzer",
        "serve",
        "--no-live",
        "--port",
        "0",
        "--store",
        str(tmp_path / "desk.db"),
    ]
    environment = {**os.environ, "ANALYZER_LANG": "zh", "ANALYZER_DATA": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        yield process
        process.terminate()


@pytest.mark.system
def test_the_first_start_leads_to_the_first_admin(server: subprocess.Popen[str], tmp_path: Path) -> None:
    assert server.stdout is not None
    address = re.search(r"请打开 (http://\S+)", server.stdout.readline())
    setup = re.search(r"首次使用：请在 (http://\S+) 创建管理员", server.stdout.readline())
    assert address is not None
    assert setup is not None
    with httpx.Client(follow_redirects=True) as browser:
        code = re.search(r'name="code" value="([^"]+)"', browser.get(setup[1]).text)
        assert code is not None
        browser.post(setup[1], data={"code": code[1], "name": "zhou", "password": PASSWORD, "again": PASSWORD})
        assert browser.get(f"{address[1]}api/desk/me").json()["role"] == "admin"
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    store = open_store(str(tmp_path / "desk.db"))
    with store.reading() as session:
        assert users.count_users(session) == 1
    store.close()


# ---- db purge, db backup


def test_a_purge_says_what_would_go_and_then_deletes_it(run: Callable[..., Ran], tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", many_reports(2))
    assert "2 new" in run("db", "import", str(folder)).out
    tried = run("db", "purge", "--older-than", "1", "--dry-run")
    assert (tried.code, "calls\t" in tried.out, "would go" in tried.out) == (0, True, True)
    assert run("db", "purge", "--older-than", "0").code == 2


def test_a_backup_is_a_file_that_serves_as_a_store(run: Callable[..., Ran], tmp_path: Path) -> None:
    run("db", "import", str(write_run(tmp_path / "run", many_reports(2))))
    assert "checked" in run("db", "backup", str(tmp_path / "copy.db")).out
    assert run("db", "backup", str(tmp_path / "copy.db")).code == 2
    assert run("audit", "verify", "--store", str(tmp_path / "copy.db")).code == 0


def test_recordings_are_copied_where_asked(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYZER_MEDIA", str(tmp_path / "media"))
    sound = write_sound(tmp_path / "call.wav", chirps(1, []), chirps(1, [0.5]))
    names = [report["call_id"] for report in many_reports(2)]
    folder = write_run(tmp_path / "run", many_reports(2), {names[0]: sound, names[1]: tmp_path / "gone.wav"})
    ran = run("db", "import", str(folder), "--copy-recordings")
    assert "1 recordings copied" in ran.out
    assert ran.code == 3
    assert len(list((tmp_path / "media").rglob("original-0.wav"))) == 1
