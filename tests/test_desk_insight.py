"""The pages and addresses of trends and of what rules are worth, and the files made of them."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import Response
from openpyxl import load_workbook
from sqlalchemy import delete, select, update

from analyzer.desk.jobs import apart
from analyzer.errors import ConfigError
from analyzer.store.tables import Assignment, AuditEntry, Call, Finding
from analyzer.web import booklet
from tests.databases import NewDatabase
from tests.desk_stage import AGENT_ID, Stage, open_stage
from tests.many_calls import NOW, add_calls


@pytest.fixture(scope="module")
def stage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    with open_stage(folder, new_database(folder)) as stage:
        stage.clock.now = NOW
        with stage.store.writing() as session:
            add_calls(session, 240, days=24, decided=0.5)
            own = session.scalars(select(Call.id).where(Call.agent_id == AGENT_ID)).all()
            session.execute(update(Call).where(Call.id.in_(own[:2])).values(shared_at=NOW))
        yield stage


@pytest.fixture
def worth_of(stage: Stage) -> dict[str, dict[str, object]]:
    return {rule["rule"]: rule for rule in stage.client("reviewer").get("/api/desk/worth").json()["rules"]}


# ---- addresses


def test_worth_tells_precision_with_its_interval_and_n(worth_of: dict[str, dict[str, object]]) -> None:
    rule = worth_of["opening"]
    share = rule["precision"]
    assert isinstance(share, dict)
    assert share["n"] == rule["confirmed"] + rule["overturned"] > 0  # type: ignore[operator]
    assert share["low"] < share["value"] < share["high"]
    assert rule["recall"] == {"value": None, "low": None, "high": None, "n": 0}


def test_the_floor_is_the_viewer_s_to_choose(stage: Stage) -> None:
    def proposed(**query: float) -> set[str]:
        rules = stage.client("reviewer").get("/api/desk/worth", params=query).json()["rules"]
        return {rule["rule"] for rule in rules if rule["proposal"] == "trial"}

    assert proposed(floor=0.5) == set()
    assert proposed(floor=1, least=1) > {"interruption"}


def test_trends_answer_the_part_that_was_asked_for(stage: Stage) -> None:
    client = stage.client("lead")
    everything = client.get("/api/desk/trends").json()
    assert everything["total"]["calls"] == sum(one["calls"] for one in everything["agents"]) == 240
    teams = client.get("/api/desk/trends", params={"by": "team"}).json()
    assert teams["teams"] == everything["teams"]
    assert teams["agents"] is None


def test_trends_are_of_the_days_and_the_team_that_were_asked_for(stage: Stage) -> None:
    client = stage.client("lead")
    some = client.get("/api/desk/trends", params={"from": "2026-11-10", "to": "2026-11-12", "team": ""}).json()
    assert [one["key"] for one in some["periods"]] == ["2026-11-10", "2026-11-11", "2026-11-12"]
    assert client.get("/api/desk/trends", params={"team": "没有"}).json()["total"]["calls"] == 0


def test_an_agent_sees_the_trends_of_their_own_shared_calls_alone(stage: Stage) -> None:
    client = stage.client("agent")
    assert client.get("/api/desk/trends?all=true").json()["total"]["calls"] == 2
    assert client.get(f"/api/desk/trends?all=true&agent={int(AGENT_ID) + 1}").json()["total"]["calls"] == 0
    assert stage.client("other_agent").get("/trends").status_code == 200
    own = client.get("/api/desk/trends?all=true").json()
    assert (own["teams"], own["agents"]) == ([], [])  # a team's average of one would pass for the team's
    page = client.get("/trends?all=true").text
    assert "坐席得分" not in page
    assert 'name="agent"' not in page
    for path in ("/api/desk/worth", "/worth", "/worth/opening", "/api/desk/exports"):
        assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "query", ["from=gestern", "from=0001-01-01", "to=9999-12-31", "floor=2", "least=0", "by=moon", "unknown=1"]
)
def test_a_query_that_means_nothing_is_refused(stage: Stage, query: str) -> None:
    path = "/api/desk/worth" if "floor" in query or "least" in query else "/api/desk/trends"
    assert stage.client("lead").get(f"{path}?{query}").status_code == 422


# ---- pages


def test_every_chart_has_its_title_its_words_and_its_table(stage: Stage) -> None:
    page = stage.client("lead").get("/trends").text
    charts = re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL)
    assert len(charts) == page.count('<details class="behind">') == 8
    assert all("<title>" in chart and "<desc>" in chart for chart in charts)
    assert "style=" not in page


def test_the_page_of_rules_links_to_as_many_findings_as_it_counts(
    stage: Stage, worth_of: dict[str, dict[str, object]]
) -> None:
    client = stage.client("reviewer")
    assert "/worth/opening?" in client.get("/worth").text
    listed = client.get("/worth/opening?all=true&decision=overturned").text
    assert listed.count("?finding=") == worth_of["opening"]["overturned"]


def test_quotes_are_masked_unless_the_viewer_may_read_them(stage: Stage) -> None:
    assert "13800138000" not in stage.client("reviewer").get("/worth/opening?all=true").text
    assert "13800138000" in stage.client("admin").get("/worth/opening?all=true").text


def test_the_list_of_findings_goes_on(stage: Stage, worth_of: dict[str, dict[str, object]]) -> None:
    client = stage.client("reviewer")
    seen: list[str] = []
    path: str | None = "/worth/speech_rate?all=true"
    while path:
        page = client.get(path).text
        seen += re.findall(r"\?finding=(\d+)", page)
        further = re.search(r'class="more"><a href="([^"]+)"', page)
        path = f"/worth/speech_rate{further[1].replace('&amp;', '&')}" if further else None
    assert len(seen) == len(set(seen)) == worth_of["speech_rate"]["flagged"]


def test_findings_of_a_call_in_blind_review_are_not_given_away(stage: Stage) -> None:
    with stage.store.writing() as session:
        finding = session.scalars(select(Finding).where(Finding.decision == "confirmed")).first()
        assert finding is not None
        session.add_all(
            Assignment(call_pk=finding.call_pk, reviewer_id=number, round=round_, created_at=NOW)
            for number, round_ in ((3, "first"), (4, "second"))
        )
        path, link = f"/worth/{finding.rule}?all=true&decision=confirmed", f'?finding={finding.id}"'
    assert link not in stage.client("other_reviewer").get(path).text
    assert link in stage.client("lead").get(path).text
    with stage.store.writing() as session:
        session.execute(delete(Assignment))


def test_what_breaks_in_the_server_is_told_in_chinese(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("analyzer.desk.insight.collect", fail)
    client = stage.client("lead", raise_server_exceptions=False)
    page = client.get("/trends", headers={"accept": "text/html"})
    assert (page.status_code, "服务器出错了" in page.text, "李主管" in page.text) == (500, True, True)
    answer = client.get("/api/desk/trends")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


def test_pages_without_calls_say_what_to_do(stage: Stage) -> None:
    client = stage.client("lead")
    assert "analyzer db import" in client.get("/trends?from=2020-01-01&to=2020-01-02").text
    assert "还没有发现" in client.get("/worth?from=2020-01-01&to=2020-01-02").text
    assert "没有这样的发现" in client.get("/worth/no-such-rule").text


# ---- files


def begun(stage: Stage, name: str, format_: str, **asked: object) -> int:
    answer = stage.client(name).post("/api/desk/exports", json={"format": format_, **asked})
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def ended(stage: Stage, name: str, number: int) -> dict[str, Any]:
    client, until = stage.client(name), time.monotonic() + 60
    while (view := client.get(f"/api/desk/exports/{number}").json())["state"] in ("waiting", "running"):
        assert time.monotonic() < until
        time.sleep(0.02)
    return dict(view)


def exported(stage: Stage, format_: str, **asked: object) -> Response:
    number = begun(stage, "lead", format_, **asked)
    view = ended(stage, "lead", number)
    assert view["state"] == "done", view
    answer = stage.client("lead").get(f"/api/desk/exports/{number}/file")
    assert len(answer.content) == view["bytes"]
    return answer


def test_an_export_and_its_download_are_noted_in_the_audit_log_without_a_word(stage: Stage) -> None:
    exported(stage, "csv", all=True)
    with stage.store.reading() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(2)).all()
        number = entries[0].details["export"]
        assert [(one.action, one.details) for one in entries] == [
            ("figures.downloaded", {"format": "csv", "export": number}),
            ("figures.exported", {"format": "csv", "calls": 240, "export": number}),
        ]


def test_only_leads_and_admins_export_and_each_has_their_own(stage: Stage) -> None:
    assert stage.client("reviewer").post("/api/desk/exports", json={"format": "csv"}).status_code == 403
    number = begun(stage, "lead", "csv")
    ended(stage, "lead", number)
    for path in ("", "/file"):
        assert stage.client("admin").get(f"/api/desk/exports/{number}{path}").status_code == 404
    assert stage.client("admin").get("/api/desk/exports").json()["exports"] == []


def test_a_request_does_not_wait_for_its_file_and_asked_again_it_is_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()
    monkeypatch.setattr(stage.desk, "apart", lambda work, *given: (going.wait(30), work(*given)))
    first = begun(stage, "lead", "html")
    assert begun(stage, "lead", "html") == first
    other = begun(stage, "lead", "html", team="一组")
    client = stage.client("lead")
    assert client.get(f"/api/desk/exports/{first}/file").status_code == 409
    assert client.get(f"/api/desk/exports/{other}").json()["state"] == "waiting"
    going.set()
    assert [ended(stage, "lead", number)["state"] for number in (first, other)] == ["done", "done"]
    assert begun(stage, "lead", "html") not in (first, other)


def test_a_file_that_cannot_be_made_says_so_and_the_next_one_is_made(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise ConfigError("PDF needs WeasyPrint (no libpango)")

    with monkeypatch.context() as patched:
        patched.setattr(stage.desk, "apart", fail)
        view = ended(stage, "lead", begun(stage, "lead", "html", team="二组"))
    assert (view["state"], view["error"]) == ("failed", "PDF needs WeasyPrint (no libpango)")
    assert stage.client("lead").get(f"/api/desk/exports/{view['id']}/file").status_code == 409
    assert exported(stage, "csv").status_code == 200


def test_files_are_kept_for_a_day(stage: Stage) -> None:
    exported(stage, "csv")
    folder = stage.desk.media / "exports"
    left = folder / "1-1.csv"  # of a process that is gone
    left.write_bytes(b"old")
    os.utime(left, (0, 0))
    assert len(list(folder.glob("*.csv"))) > 1
    stage.clock.pass_(hours=25)
    try:
        assert stage.client("lead").get("/api/desk/exports").json()["exports"] == []
        assert list(folder.iterdir()) == []
    finally:
        stage.clock.pass_(hours=-25)


def test_csv_opens_in_excel_and_holds_every_table(stage: Stage) -> None:
    answer = exported(stage, "csv")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff"))))
    titles = {row[0] for row in rows if len(row) == 1}
    assert {"得分走势", "违规帕累托", "坐席得分", "语速分布", "时段热力图", "规则效果"} <= titles


def test_the_workbook_has_a_sheet_and_a_chart_per_section(stage: Stage) -> None:
    answer = exported(stage, "xlsx")
    book = load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames[:3] == ["概览", "得分走势", "结论占比"]
    assert "规则效果" in book.sheetnames
    assert [cell.value for cell in book["班组得分"][3]][:3] == ["班组", "通话", "平均分"]
    assert b"xl/charts/chart" in answer.content


def test_text_in_a_workbook_is_never_a_formula(stage: Stage) -> None:
    with stage.store.writing() as session:
        call = session.scalars(select(Call).limit(1)).one()
        before, call.team = call.team, "=HYPERLINK(1)"
        session.flush()
        call_pk = call.id
    book = load_workbook(io.BytesIO(exported(stage, "xlsx").content))
    found = [cell for row in book["班组得分"] for cell in row if cell.value == "=HYPERLINK(1)"]
    assert [cell.data_type for cell in found] == ["s"]
    assert "'=HYPERLINK(1)" in exported(stage, "csv").text
    with stage.store.writing() as session:
        session.get_one(Call, call_pk).team = before


def test_the_html_file_needs_nothing_beside_it(stage: Stage) -> None:
    answer = exported(stage, "html")
    assert re.search(r'attachment; filename="analyzer-20261120-\d{4}.html"', answer.headers["content-disposition"])
    assert not re.search(r'(src|href)="', answer.text)
    assert "规则效果" in answer.text
    assert answer.text.count('<svg class="chart"') == 8


def test_a_server_without_the_pdf_extra_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    answer = stage.client("lead").post("/api/desk/exports", json={"format": "pdf"})
    assert answer.status_code == 422
    assert ".[pdf]" in answer.json()["message"]


@pytest.mark.system
def test_the_pdf_embeds_a_chinese_font_and_every_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("weasyprint")
    monkeypatch.setattr(stage.desk, "apart", apart)
    answer = exported(stage, "pdf", **{"from": "2026-11-17"})
    assert answer.content.startswith(b"%PDF-")
    assert re.search(rb"/FontFile[23] ", answer.content) or b"ObjStm" in answer.content
    assert len(answer.content) > 100_000  # with the glyphs it uses; 20 kB without


def test_what_is_read_from_outside_by_a_pdf_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is loaded"):
        booklet._refused("https://example.org/x.css")


def test_a_month_of_days_is_drawn_by_day_and_a_year_by_week(stage: Stage) -> None:
    with stage.store.writing() as session:
        call = session.scalars(select(Call).limit(1)).one()
        at, call.started_at, call_pk = call.started_at, NOW - timedelta(days=300), call.id
    assert stage.client("lead").get("/api/desk/trends?all=true").json()["unit"] == "week"
    assert stage.client("lead").get("/api/desk/trends").json()["unit"] == "day"
    with stage.store.writing() as session:
        session.get_one(Call, call_pk).started_at = at
