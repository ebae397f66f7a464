"""The desk's API against its own document: whatever is sent, no server error, no status the document lacks, and
nothing of others.

A few requests per operation in every run; `make test-system` sends thirty each, as every role.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from starlette.testclient import TestClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its own dependencies warn of when they are imported
    import schemathesis

from analyzer.store.importing import import_run
from analyzer.store.tables import Call
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import AGENT_ID, TOKEN, Stage, open_stage

OTHERS = "call-of-somebody-else"
SLOW = ("format=pdf", "backtest", "/examine", "/api/desk/packs", "rules/try")  # they load packs or draw documents
ALWAYS = {400, 401, 403, 404, 405, 409, 413, 422, 423, 429}  # the gate and the frame, documented once for all


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("fuzz")
    reports = list(many_reports(6))
    for number, report in enumerate(reports):
        report["metadata"]["agent_id"] = AGENT_ID if number < 2 else "9999"
        if number >= 2:
            report["call_id"] = f"{OTHERS}-{number}"
    with open_stage(folder) as stage:
        import_run(stage.store, write_run(folder / "run", reports))
        with stage.store.writing() as session:
            for call in session.query(Call):
                call.shared_at = stage.clock()
        yield stage


def operations(stage: Stage) -> list[Any]:
    document = schemathesis.openapi.from_asgi("/openapi.json", stage.app, headers={"authorization": f"Bearer {TOKEN}"})
    found = [result.ok() for result in document.get_all_operations()]
    return [one for one in found if one.path.startswith("/api/desk") and not any(slow in one.path for slow in SLOW)]


def send(client: TestClient, case: Any) -> Any:
    asked = case.as_transport_kwargs(base_url="http://127.0.0.1:8765")
    headers = {
        name: value
        for name, value in (asked.get("headers") or {}).items()
        if name.lower() not in ("authorization", "cookie", "x-csrf-token")
    }
    if any(slow in str(asked.get("params")) + asked["url"] for slow in ("pdf", "xlsx")):
        return None
    body = {"json": asked["json"]} if "json" in asked else {"content": asked.get("data") or b""}
    return client.request(asked["method"], asked["url"], params=asked.get("params"), headers=headers, **body)


def fuzz(stage: Stage, role: str, examples: int) -> int:
    """returns how many requests were answered"""
    client = stage.client(role, raise_server_exceptions=False)
    return sum(fuzz_operation(client, role, operation, examples) for operation in operations(stage))


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
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        nonlocal answered
        answer = send(client, case)
        if answer is None:
            return
        answered += 1
        assert answer.status_code < 500, f"{operation.label}: {answer.status_code}"
        assert answer.status_code in known, f"{operation.label}: {answer.status_code} is not documented"
        if role == "agent":
            assert OTHERS not in answer.text, f"{operation.label}: shows what is not theirs"

    check()
    return answered


@pytest.mark.parametrize("role", ["lead", "agent"])
def test_nothing_that_fits_the_document_breaks_the_desk(stage: Stage, role: str) -> None:
    assert fuzz(stage, role, 2) > 50


@pytest.mark.system
@pytest.mark.parametrize("role", ["agent", "reviewer", "lead", "admin"])
def test_much_that_fits_the_document_breaks_nothing(stage: Stage, role: str) -> None:
    assert fuzz(stage, role, 30) > 500
