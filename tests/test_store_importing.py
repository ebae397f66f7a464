"""Run folders in the database: nothing lost, nothing twice, nothing that people did overwritten."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from analyzer.errors import StoreError
from analyzer.report import dump
from analyzer.store import Store, open_store
from analyzer.store.calls import SORTS, Filter, find_call, list_calls
from analyzer.store.importing import import_run
from analyzer.store.tables import Call, Comment, Delivery, Finding, Report, RuleResult, Turn, User, Webhook
from tests.desk_calls import many_reports, sample_reports, write_run

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
REVIEWER = SimpleNamespace(user_id=1, role="reviewer", agent_id=None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", sample_reports())


def counts(session: Session) -> dict[str, int | None]:
    tables = (Call, Turn, Finding, RuleResult, Report)
    return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) for table in tables}


def test_every_call_of_a_run_is_imported_with_its_report_byte_for_byte(store: Store, run: Path) -> None:
    result = import_run(store, run)
    assert (result.new, result.faults) == (len(sample_reports()), [])
    with store.reading() as session:
        for report in sample_reports():
            call = session.scalar(select(Call).where(Call.call_id == report["call_id"]))
            assert call is not None
            body = session.scalar(select(Report.body).where(Report.call_pk == call.id))
            assert body is not None
            assert zlib.decompress(body).decode() == dump(report) + "\n"
            assert (call.score, call.verdict) == (report["score"], report["verdict"])


def test_webhooks_are_told_which_findings_a_new_call_has_and_no_words(store: Store, run: Path) -> None:
    with store.writing() as session:
        session.add(User(id=1, name="a", display_name="a", role="admin", password_hash="!", created_at=NOW))
        session.flush()
        session.add(Webhook(url="https://example.org", secret="s", events=["call.imported"], created_by=1,
                            created_at=NOW, is_active=True))  # fmt: skip
    import_run(store, run)
    with store.reading() as session:
        told = [one.payload for one in session.scalars(select(Delivery))]
        assert len(told) == len(sample_reports())
        for payload in told:
            found = session.scalars(select(Finding).where(Finding.call_pk == payload["call"])).all()
            owed = [one.id for one in found if one.status == "stable" and one.outcome in ("violation", "unsure")]
            assert sorted(one["finding"] for one in payload["findings"]) == sorted(owed)
            ranks = [["critical", "major", "minor", "info"].index(one["severity"]) for one in payload["findings"]]
            assert ranks == sorted(ranks)
            assert all(set(one) == {"finding", "rule", "severity", "outcome"} for one in payload["findings"])


def test_importing_twice_changes_nothing(store: Store, run: Path) -> None:
    import_run(store, run)
    with store.reading() as session:
        before = counts(session)
    again = import_run(store, run)
    assert (again.new, again.replaced, again.unchanged) == (0, 0, len(sample_reports()))
    with store.reading() as session:
        assert counts(session) == before


def test_every_finding_of_a_report_can_be_looked_at(store: Store, run: Path) -> None:
    import_run(store, run)
    expected = sum(len(entry["findings"]) for report in sample_reports() for entry in report["rules"])
    nowhere = sum(
        not entry["findings"] and entry["outcome"] in ("violation", "unsure")
        for report in sample_reports()
        for entry in report["rules"]
    )
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Finding)) == expected + nowhere


def changed(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "score": 1.0, "verdict": "fail"}


def test_a_call_scored_again_replaces_the_earlier_score(store: Store, run: Path) -> None:
    import_run(store, run)
    write_run(run, [changed(dict(sample_reports()[0]))])
    result = import_run(store, run)
    assert (result.replaced, result.kept) == (1, 0)
    with store.reading() as session:
        call = session.scalar(select(Call).where(Call.call_id == sample_reports()[0]["call_id"]))
        assert call is not None
        assert call.score == 1.0


def test_a_call_somebody_worked_on_keeps_the_score_they_saw(store: Store, run: Path) -> None:
    import_run(store, run)
    first = sample_reports()[0]
    with store.writing() as session:
        call = session.scalars(select(Call).where(Call.call_id == first["call_id"])).one()
        user = User(name="qa", display_name="质检", role="reviewer", password_hash="x", created_at=NOW)
        session.add(user)
        session.flush()
        session.add(Comment(call_pk=call.id, text="听过", author_id=user.id, at=NOW))
    write_run(run, [changed(dict(first))])
    result = import_run(store, run)
    assert (result.replaced, result.kept) == (0, 1)
    with store.reading() as session:
        assert session.scalars(select(Call.score).where(Call.call_id == first["call_id"])).one() == first["score"]


def test_an_edited_report_is_refused_and_the_others_are_imported(store: Store, run: Path) -> None:
    path = sorted((run / "reports").iterdir())[0]
    path.write_text(json.dumps({**json.loads(path.read_text()), "score": 100}))
    result = import_run(store, run)
    assert result.new == len(sample_reports()) - 1
    assert "edited since it was written" in str(result.faults[0])


def test_a_folder_that_is_no_run_is_refused_with_its_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path.name}: no run folder here; name one that `analyzer score` made"):
        import_run(store, tmp_path)


def test_where_a_recording_lies_comes_from_the_run_or_is_given(store: Store, tmp_path: Path) -> None:
    report = sample_reports()[0]
    sound = tmp_path / "calls" / f"{report['call_id']}.wav"
    sound.parent.mkdir()
    sound.touch()
    write_run(tmp_path / "noted", [report], {report["call_id"]: sound})
    write_run(tmp_path / "bare", [report])
    import_run(store, tmp_path / "noted")
    import_run(store, tmp_path / "bare", recordings=[sound.parent])
    with store.reading() as session:
        recordings = session.scalars(select(Call.recording)).all()
    assert [one and one["paths"] for one in recordings] == [[str(sound)], [str(sound)]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("filled")
    store = open_store(str(folder / "desk.db"))
    reports = list(many_reports(60))
    del reports[7]["metadata"]["started_at"]
    import_run(store, write_run(folder / "run", reports))
    return store


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_pages_hold_every_call_once_whatever_they_are_sorted_by(filled: Store, sort: str) -> None:
    seen: list[int] = []
    cursor = None
    with filled.reading() as session:
        while True:
            page = list_calls(session, REVIEWER, Filter(), sort=sort, cursor=cursor, limit=7, now=NOW)
            seen.extend(call.id for call in page.calls)
            cursor = page.next
            if cursor is None:
                break
    assert len(seen) == len(set(seen)) == page.total == 60


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(agent="3003"), lambda call: call.agent_id == "3003"),
        (Filter(team="2组"), lambda call: call.team == "2组"),
        (Filter(verdict="fail,review"), lambda call: call.verdict != "pass"),
        (Filter(max_score=80), lambda call: call.score <= 80),
        (Filter(severity="critical"), lambda call: any(f.severity == "critical" for f in call.findings)),
    ],
    ids=["agent", "team", "verdict", "score", "severity"],
)
def test_a_filter_gives_exactly_the_calls_that_fit(filled: Store, wanted: Filter, fits: Any) -> None:
    with filled.reading() as session:
        found = {call.id for call in list_calls(session, REVIEWER, wanted, limit=200, now=NOW).calls}
        fitting = {call.id for call in session.scalars(select(Call)) if fits(call)}
    assert found == fitting
    assert 0 < len(found) < 60


@pytest.mark.parametrize("words", ["您好", "好", "您 再见", "的"])
def test_search_finds_what_a_substring_search_finds(filled: Store, words: str) -> None:
    with filled.reading() as session:
        found = {call.id for call in list_calls(session, REVIEWER, Filter(q=words), limit=200, now=NOW).calls}
        texts: dict[int, list[str]] = {}
        for turn in session.scalars(select(Turn)):
            texts.setdefault(turn.call_pk, []).append(turn.text)
    expected = {
        call for call, said in texts.items() if all(any(part in text for text in said) for part in words.split())
    }
    assert found == expected
    assert found


def test_an_agent_sees_only_their_own_calls_that_were_shared(filled: Store) -> None:
    agent = SimpleNamespace(user_id=2, role="agent", agent_id="3003")
    with filled.writing() as session:
        own, other = (
            session.scalars(select(Call).where(Call.agent_id == who).limit(1)).one() for who in ("3003", "3004")
        )
        own.shared_at = other.shared_at = NOW
    with filled.reading() as session:
        assert [call.id for call in list_calls(session, agent, Filter(), now=NOW).calls] == [own.id]
        assert find_call(session, agent, own.id) is not None
        assert find_call(session, agent, other.id) is None


@pytest.mark.parametrize("cursor", ["", "x", "WzEsMl0", "bnVsbA", "WyJhIiwgMV0", "WzEsIDk5OTk5OTk5OTk5OTk5OTldXQ"])
def test_a_cursor_of_somebody_elses_is_refused(filled: Store, cursor: str) -> None:
    with filled.reading() as session, pytest.raises(ValueError, match="cursor"):
        list_calls(session, REVIEWER, Filter(), cursor=cursor, now=NOW)
