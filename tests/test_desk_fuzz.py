"""The desk's API against its own document: whatever is sent, no server error, no status the document lacks, and
nothing of others.

Requests are made as the document says; of these some are aimed at what exists, and in some a value is replaced by one
that programs and databases stumble over. A few per operation in every run; `make test-system` sends thirty each, as
every role, on both databases.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its own dependencies warn of when they are imported
    import schemathesis

from analyzer.store.importing import import_run
from analyzer.store.tables import Call, User
from tests.databases import NewDatabase
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import AGENT_ID, TOKEN, Stage, open_stage

OTHERS = "call-of-somebody-else"
SLOW = ("format=pdf", "backtest", "/examine", "/api/desk/packs", "rules/try")  # they load packs or draw documents
ALWAYS = {400, 401, 403, 404, 405, 409, 413, 422, 423, 429}  # the gate and the frame, documented once for all
HOSTILE: tuple[Any, ...] = (
    "\0", "话\0", "\ud800", "\ud83d", "9" * 30, "٣", "-0", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-03-02T09:00:00", "NaN", "%", "'", "\\", "_", "*\"", "𠮷" * 3000,
    "x" * 3000, "", 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308, math.nan, math.inf, None,
    True, [], {}, [[]], {"": 0},
)  # fmt: skip
MOST = 12  # of ids that are aimed at


@pytest.fixture(scope="module")
def stage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("fuzz")
    reports = list(many_reports(6))
    for number, report in enumerate(reports):
        report["metadata"]["agent_id"] = AGENT_ID if number < 2 else "9999"
        if number >= 2:
            report["call_id"] = f"{OTHERS}-{number}"
    with open_stage(folder, new_database(folder)) as stage:
        import_run(stage.store, write_run(folder / "run", reports))
        with stage.store.writing() as session:
            for call in session.query(Call):
                call.shared_at = stage.clock()
        yield stage


def operations(stage: Stage) -> list[Any]:
    document = schemathesis.openapi.from_asgi("/openapi.json", stage.app, headers={"authorization": f"Bearer {TOKEN}"})
    found = [result.ok() for result in document.get_all_operations()]
    return [one for one in found if one.path.startswith("/api/desk") and not any(slow in one.path for slow in SLOW)]


# ---- requests


def aim(case: Any, draw: Any) -> None:
    """Change a request: towards what exists, or one value of it to something hostile."""
    way = draw(st.sampled_from(("as it is", "at what exists", "hostile")))
    if way == "as it is":
        return
    number = st.integers(1, MOST)
    places = [part for part in (case.path_parameters, case.query, case.body) if isinstance(part, dict) and part]
    for name, value in (case.path_parameters or {}).items():
        if isinstance(value, int):
            case.path_parameters[name] = draw(number)
    if isinstance(case.body, dict):
        case.body.pop("version", None)
        for name in ("reviewer_id", "call_id", "finding_id"):
            if name in case.body:
                case.body[name] = draw(number)
    if way == "hostile" and places:
        replace_one(draw(st.sampled_from(places)), draw)


def replace_one(part: dict[str, Any] | list[Any], draw: Any) -> None:
    """A value in it, however deep, becomes hostile."""
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    key = draw(st.sampled_from(keys))
    if isinstance(part[key], dict | list) and part[key] and draw(st.booleans()):
        replace_one(part[key], draw)
    else:
        part[key] = draw(st.sampled_from(HOSTILE))


def send(client: TestClient, case: Any) -> Any:
    """returns None for what takes seconds"""
    path = case.operation.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="surrogatepass"))
    query = urlencode(case.query or {}, doseq=True, errors="surrogatepass")
    if "pdf" in query or "xlsx" in query:
        return None
    body = None if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body).encode()
    headers = {"content-type": "application/json"} if body is not None else {}
    return client.request(case.method, f"{path}?{query}", headers=headers, content=body)


def fuzz(stage: Stage, role: str, examples: int) -> int:
    """returns how many requests were answered to somebody who was logged in"""
    return sum(fuzz_operation(back_at_work(stage, role), role, one, examples) for one in operations(stage))


def back_at_work(stage: Stage, role: str) -> TestClient:
    """Logged in anew, whatever admins did to their account in a test before."""
    with stage.store.writing() as session:
        user = session.get_one(User, stage.users[role].id)
        user.role, user.is_active, user.must_change = role, True, False
        user.agent_id = AGENT_ID if role == "agent" else None
    return stage.client(role, raise_server_exceptions=False)


def fuzz_operation(client: TestClient, role: str, operation: Any, examples: int) -> int:
    known = {int(status) for status in operation.definition.raw["responses"] if str(status).isdigit()} | ALWAYS
    answered = 0

    @seed(5)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), data=st.data())
    def check(case: Any, data: Any) -> None:
        nonlocal answered
        aim(case, data.draw)
        answer = send(client, case)
        if answer is None:
            return
        answered += answer.status_code != 401
        what = f"{operation.label} {case.path_parameters} {case.query} {case.body}"[:600]
        assert answer.status_code < 500, f"{what}: {answer.status_code}"
        assert answer.status_code in known, f"{what}: {answer.status_code} is not documented"
        if role == "agent":
            assert OTHERS not in answer.text, f"{what}: shows what is not theirs"

    check()
    return answered


@pytest.mark.parametrize("role", ["lead", "agent"])
def test_nothing_that_fits_the_document_breaks_the_desk(stage: Stage, role: str) -> None:
    assert fuzz(stage, role, 2) > 50


@pytest.mark.system
@pytest.mark.parametrize("role", ["agent", "reviewer", "lead", "admin"])
def test_much_that_fits_the_document_breaks_nothing(stage: Stage, role: str) -> None:
    assert fuzz(stage, role, 30) > 500


# ---- what was found this way


def remark(stage: Stage, body: bytes) -> tuple[int, str]:
    headers = {"content-type": "application/json"}
    answer = back_at_work(stage, "reviewer").post("/api/desk/calls/1/comments", content=body, headers=headers)
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize("text", ["\0", "请核对\0", "\ud800", "\udfff\ud83d"], ids=ascii)
def test_text_that_one_database_keeps_and_another_refuses_is_refused_by_both(stage: Stage, text: str) -> None:
    assert remark(stage, json.dumps({"text": text}).encode()) == (422, "invalid")
    assert remark(stage, json.dumps({"text": "请核对", text: 1}).encode()) == (422, "invalid")


@pytest.mark.parametrize("depth", [200, 900, 200_000])
def test_a_body_nested_deeper_than_programs_recurse_is_no_server_error(stage: Stage, depth: int) -> None:
    assert remark(stage, b'{"text": ' + b"[" * depth + b"]" * depth + b"}")[0] in (400, 422)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("path", ["calls", "audit", "trends", "worth"])
def test_a_day_next_to_which_there_is_none_is_refused(stage: Stage, path: str, day: str) -> None:
    for end in ("from", "to"):
        answer = back_at_work(stage, "admin").get(f"/api/desk/{path}", params={end: day})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-02T09:00:00"])
def test_a_moment_without_a_zone_or_out_of_every_calendar_is_refused(stage: Stage, moment: str) -> None:
    lead, reviewer = back_at_work(stage, "lead"), stage.users["reviewer"].id
    sent = {"action": "assign", "reviewer_id": reviewer, "due_at": moment}
    assert lead.post("/api/desk/calls/1/actions", json=sent).json()["code"] == "invalid"
    assert lead.post("/api/desk/rules/backtest", json={"drafts": [1], "since": moment}).json()["code"] == "invalid"


def test_two_backups_in_one_second_are_two_files(stage: Stage) -> None:
    admin = back_at_work(stage, "admin")
    made = [admin.post("/api/desk/data/backup") for _ in range(2)]
    assert [one.status_code for one in made] == [201, 201]
    assert len({one.json()["name"] for one in made}) == 2
