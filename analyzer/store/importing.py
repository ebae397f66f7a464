"""Run folders into the database. The run folder stays the truth: importing it again changes nothing.

A call whose report changed (it was scored again) replaces what was imported of it, as long as nobody has worked on it;
once somebody has, the score they saw stays, with its pack, and the newer one is counted as ``kept``.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import case, delete, exists, insert, select, text
from sqlalchemy.orm import Session

from analyzer.audio import Layout, find_recordings
from analyzer.errors import AnalyzerError, InputError, StoreError
from analyzer.report import SCHEMA
from analyzer.runs import JOURNAL, RUN, Finished, digest, finished_calls
from analyzer.store import audit, webhooks
from analyzer.store.database import Store
from analyzer.store.judgements import note_siblings, set_aside
from analyzer.store.packs import pack_row
from analyzer.store.search import add_to_index
from analyzer.store.tables import (
    Assignment,
    Call,
    Comment,
    Finding,
    ManualScore,
    PurgedReport,
    Report,
    Review,
    RuleResult,
    Run,
    Turn,
    User,
)

MOST_TOLD = 100  # findings of a call, to webhooks
_LOCK = 0x696D7074  # PostgreSQL's advisory lock of imports: "impt"
MANY = 1000  # calls in an import that change what the database should know of its tables
BATCH = 40  # calls per transaction: others get the write lock in between
_SEVERITIES = {"critical": "criticals", "major": "majors", "minor": "minors"}
_SHOWN = ("violation", "unsure")
_OF_RULE = ("rule", "title", "outcome", "severity", "points", "max_points", "clauses")
_OF_FINDING = (
    *("category", "severity", "role", "turn", "start_ms", "end_ms", "quote", "char_start", "char_end", "spans"),
    *("match", "confidence", "message", "suggestion"),
)


@dataclass(slots=True)
class Imported:
    """What an import did. ``kept``: scored again, but somebody worked on the earlier score."""

    new: int = 0
    replaced: int = 0
    unchanged: int = 0
    kept: int = 0
    faults: list[InputError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    finished: Finished
    report: Mapping[str, Any]
    body: bytes


def import_run(
    store: Store,
    path: Path,
    *,
    recordings: Sequence[str | Path] = (),
    layout: Layout | None = None,
    packs: Path | None = None,
    actor: str = "cli",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_calls: Callable[[int], None] = lambda count: None,
) -> Imported:
    """Bring a run folder's finished calls into the store; safe while the run is still being written.

    recordings  where recordings are that the run does not know of, as ``analyzer score`` takes them
    packs       folder of published pack versions, for final scores
    on_calls    told how many calls were done, now and then
    raises      StoreError if it is no run folder
    """
    if not (path / JOURNAL).is_file():
        raise StoreError(
            f"{path}: no run folder here; name one that `analyzer score` made (`make run` makes one in runs/)"
        )
    finished = list(finished_calls(path))
    where = _found_elsewhere(recordings, layout)
    result = Imported()
    with store.writing() as session:
        run_id = _run_row(session, path, now()).id
        known = dict(session.execute(select(Call.call_id, Call.report_digest).where(Call.run_id == run_id)).all())
        purged = set(session.scalars(select(PurgedReport.digest)))
    finished = [one for one in finished if one.report_digest not in purged]
    changed = [one for one in finished if known.get(one.call_id) != one.report_digest]
    result.unchanged = len(finished) - len(changed)
    for chunk in (changed[start : start + BATCH] for start in range(0, len(changed), BATCH)):
        read = list(_read_all(chunk, result.faults))
        with store.writing() as session:
            _wait_for_other_imports(session)
            for one in read:
                recording = _recording(one.finished, where)
                _import_call(session, run_id, one, recording=recording, packs=packs, now=now(), result=result)
            if read:
                audit.append(session, actor, "run.imported", f"run:{run_id}", {"calls": len(read)})
        on_calls(len(chunk))
    if len(changed) > MANY and not store.is_sqlite:  # else PostgreSQL plans by what it knew before
        with store.writing() as session:
            session.execute(text("ANALYZE"))
    return result


def finding_key(rule: str, finding: Mapping[str, Any], ordinal: int) -> str:
    """The same for the same finding of the same call, however often it is imported."""
    place = [rule, finding.get("category"), finding.get("turn"), finding.get("char_start"), finding.get("char_end")]
    text = json.dumps([*place, finding.get("start_ms"), ordinal], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


# ---- reading


def _read_all(chunk: Iterable[Finished], faults: list[InputError]) -> Iterator[_Read]:
    for finished in chunk:
        try:
            yield _read(finished)
        except InputError as fault:
            faults.append(fault)


def _read(finished: Finished) -> _Read:
    path = finished.path
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the same `analyzer score` again to restore it") from None
    if digest(body) != finished.report_digest:
        raise InputError(f"{path}: edited since it was written; run the same `analyzer score` again to restore it")
    report = json.loads(body)
    if report.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema {report.get('schema')!r} is not {SCHEMA}")
    return _Read(finished, report, body)


def _found_elsewhere(inputs: Sequence[str | Path], layout: Layout | None) -> dict[str, list[dict[str, Any]]]:
    if not inputs:
        return {}
    return {
        recording.call_id: [
            {"path": str(track.path.absolute()), "channels": [role.value for role in track.roles]}
            for track in recording.tracks
        ]
        for recording in find_recordings(inputs, layout).recordings
    }


def _recording(finished: Finished, elsewhere: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    tracks = elsewhere.get(finished.call_id) or [dict(track) for track in finished.recording]
    if not tracks:
        return None
    channels = [role for track in tracks for role in track["channels"]]
    return {"paths": [track["path"] for track in tracks], "channels": channels, "tracks": tracks}


# ---- writing


def _wait_for_other_imports(session: Session) -> None:
    """SQLite's write transactions exclude each other already (Store.writing)."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _run_row(session: Session, path: Path, now: datetime) -> Run:
    place = str(path.absolute())
    row = session.scalar(select(Run).where(Run.path == place))
    if row is None:
        row = Run(path=place, kind=_kind(path), imported_at=now)
        session.add(row)
    row.imported_at = now
    session.flush()
    return row


def _kind(path: Path) -> str:
    try:
        inputs = json.loads((path / RUN).read_text(encoding="utf-8")).get("inputs")
    except (OSError, ValueError):
        return "score"
    return "live" if inputs in (["serve"], ["live"]) else "score"


def _import_call(
    session: Session,
    run_id: int,
    read: _Read,
    *,
    recording: dict[str, Any] | None,
    packs: Path | None,
    now: datetime,
    result: Imported,
) -> None:
    report = read.report
    call = session.scalar(select(Call).where(Call.run_id == run_id, Call.call_id == report["call_id"]))
    if call is None:
        call = Call(run_id=run_id, call_id=report["call_id"])
        result.new += 1
    elif is_worked_on(session, call):
        result.kept += 1
        return
    else:
        for table in (Finding, RuleResult, Turn, Report):
            session.execute(delete(table).where(table.call_pk == call.id))
        result.replaced += 1
    _fill(session, call, read, recording=recording, packs=packs, now=now)
    session.add(call)
    session.flush()
    _add_parts(session, call, report, read.body)
    told = {"call": call.id, "score": call.score, "verdict": call.verdict, "criticals": call.criticals}
    others = note_siblings(session, call)
    again = {"counts": not (others and set_aside(session, [call.id])), "other_judgements": others}
    webhooks.emit(session, "call.imported", {**told, **again, "findings": _told(session, call)}, at=now)


def _told(session: Session, call: Call) -> list[dict[str, Any]]:
    """The violations and doubts that were found, gravest first, as webhooks hear of them."""
    gravest = case({"critical": 0, "major": 1, "minor": 2}, value=Finding.severity, else_=3)
    rows = session.execute(
        select(Finding.id.label("finding"), Finding.rule, Finding.severity, Finding.outcome)
        .where(Finding.call_pk == call.id, Finding.status == "stable", Finding.outcome.in_(_SHOWN))
        .order_by(gravest, Finding.start_ms, Finding.id)
        .limit(MOST_TOLD)
    )
    return [dict(row._mapping) for row in rows]


def is_worked_on(session: Session, call: Call) -> bool:
    """Whether somebody decided, was assigned, scored by hand or remarked anything on this call."""
    if call.state != "auto":
        return True
    return any(
        session.scalar(select(exists().where(table.call_pk == call.id)))
        for table in (Review, Assignment, ManualScore, Comment)
    )


def _fill(
    session: Session,
    call: Call,
    read: _Read,
    *,
    recording: dict[str, Any] | None,
    packs: Path | None,
    now: datetime,
) -> None:
    report, attributes = read.report, read.report["metadata"]
    agent_id = attributes.get("agent_id")
    recogniser = report.get("recogniser") or {}
    call.report_digest = read.finished.report_digest
    call.origin, call.judged_at = read.finished.origin.key, read.finished.finished_at
    call.pack = pack_row(session, report["pack"], report["profile"], packs)
    call.direction, call.duration_ms = report["direction"], report["duration_ms"]
    call.started_at = _started_at(attributes.get("started_at"))
    call.agent_id = None if agent_id is None else str(agent_id)
    call.team = attributes.get("team") or _team_of(session, call.agent_id)
    call.score, call.verdict = report["score"], report["verdict"]
    call.final_score, call.final_verdict = None, None
    call.agent_rate = report["metrics"]["rate"].get("agent", {}).get("turn")
    call.truncated = bool(report["truncated"])
    call.recogniser, call.notice = recogniser.get("name"), recogniser.get("notice")
    call.attributes, call.metrics = dict(attributes), dict(report["metrics"])
    call.recording, call.imported_at = recording, now
    counts = _severity_counts(report)
    for severity, column in _SEVERITIES.items():
        setattr(call, column, counts[severity])
    call.unsures = sum(entry["outcome"] == "unsure" for entry in report["rules"])


def _severity_counts(report: Mapping[str, Any]) -> Counter[str]:
    return Counter(
        finding["severity"]
        for entry in report["rules"]
        if entry["outcome"] == "violation" and entry.get("status", "stable") == "stable"
        for finding in findings_of(entry, report)
    )


def _started_at(text: Any) -> datetime | None:
    """Local time where the attribute names no zone."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None


def _team_of(session: Session, agent_id: str | None) -> str | None:
    if agent_id is None:
        return None
    return session.scalar(select(User.team).where(User.agent_id == agent_id, User.team.is_not(None)).limit(1))


def _add_parts(session: Session, call: Call, report: Mapping[str, Any], body: bytes) -> None:
    session.add(Report(call_pk=call.id, body=zlib.compress(body)))
    for table, rows in (
        (RuleResult, _rule_results(report)),
        (Finding, _findings(report)),
    ):
        if found := [{**row, "call_pk": call.id} for row in rows]:
            session.execute(insert(table), found)
    if turns := [{**_turn(turn), "number": number, "call_pk": call.id} for number, turn in enumerate(report["turns"])]:
        ids = session.scalars(insert(Turn).returning(Turn.id, sort_by_parameter_order=True), turns)
        add_to_index(session, zip(ids, (turn["text"] for turn in turns), strict=True))


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: turn[name] for name in ("role", "start_ms", "end_ms", "text")}
    return {**given, "confidence": turn.get("confidence"), "chars": turn.get("chars")}


def _rule_results(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in report["rules"]:
        if entry["outcome"] == "not_applicable":
            continue
        given = {
            name: entry[name] for name in ("rule", "title", "outcome", "severity", "points", "max_points", "clauses")
        }
        optional = {name: entry.get(name) for name in ("level", "measured", "elements")}
        yield {**given, **optional, "final_outcome": entry["outcome"], "status": entry.get("status", "stable")}


def _findings(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in report["rules"]:
        seen: Counter[str] = Counter()
        for finding in findings_of(entry, report):
            base = finding_key(entry["rule"], finding, 0)
            yield {
                **{name: finding[name] for name in _OF_FINDING},
                "clauses": finding.get("clauses") or entry["clauses"],
                "key": finding_key(entry["rule"], finding, seen[base]),
                **{name: entry[name] for name in ("rule", "title", "outcome")},
                "status": entry.get("status", "stable"),
            }
            seen[base] += 1


def findings_of(entry: Mapping[str, Any], report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A rule's findings; one over the whole call where the rule was violated or is unsure and points nowhere, since a
    person has to be able to decide it."""
    if entry["findings"] or entry["outcome"] not in _SHOWN:
        return list(entry["findings"])
    nowhere = dict.fromkeys(("category", "role", "turn", "quote", "char_start", "char_end", "confidence", "suggestion"))
    return [
        {
            **nowhere, "severity": entry["severity"], "spans": [], "start_ms": 0, "end_ms": report["duration_ms"],
            "match": "absent", "message": entry["title"], "clauses": entry["clauses"],
        }
    ]  # fmt: skip


def import_runs(store: Store, paths: Iterable[Path], **options: Any) -> Iterator[tuple[Path, Imported | AnalyzerError]]:
    """Several run folders, or folders of run folders; one that is none does not stop the others."""
    for path in paths:
        for run in runs_below(path):
            try:
                yield run, import_run(store, run, **options)
            except StoreError as error:
                yield run, error


def runs_below(path: Path) -> list[Path]:
    """The folder itself if it is a run, else the runs right below it."""
    if (path / "journal.jsonl").is_file() or not path.is_dir():
        return [path]
    return sorted(one for one in islice(path.iterdir(), 100_000) if (one / "journal.jsonl").is_file()) or [path]
