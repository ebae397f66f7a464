"""Rows of the store as the API answers them. What was said is masked here, for every page and list alike."""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import PurePath
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from analyzer.catalog import pack_folder
from analyzer.clauses import read_ledger
from analyzer.desk.access import Principal
from analyzer.desk.masking import Context, Veil, context_of, contexts_around, veil_of
from analyzer.desk.shapes import (
    AppealRow,
    AppealView,
    CallChanged,
    CallDetail,
    CallRow,
    ClauseView,
    CommentView,
    FindingView,
    JudgementView,
    ManualView,
    May,
    PackView,
    RecordingView,
    ReviewView,
    RuleDifference,
    RuleView,
    TransitionView,
    TurnView,
)
from analyzer.labels import ELEMENTS
from analyzer.review.workflow import Action, Decision, State
from analyzer.review.would_pass import would_pass_if
from analyzer.store.blindness import blind_calls
from analyzer.store.calls import count_judgements, find_judgements
from analyzer.store.deeds import Changed
from analyzer.store.judgements import set_aside
from analyzer.store.sight import Sight, look
from analyzer.store.tables import (
    Appeal,
    Assignment,
    Call,
    Comment,
    Finding,
    Pack,
    Report,
    Review,
    RuleResult,
    Run,
    Transition,
    Turn,
    User,
)

_REVIEWERS = frozenset({"reviewer", "lead", "admin"})
_MADE_HERE = {
    *("quote", "message", "suggestion", "clauses", "measured", "would_pass_if", "reason", "reviews", "appeal"),
    *("actions", "state", "decision", "decided_at", "decided_by"),
}


_NAMES = "names"
_OF_OTHERS = {"run", "agent_name", "assigned_to", "open_appeals", "judgements", "counts"}
_PACKS = select(Pack.digest, Pack.name, Pack.version)


@cache
def clause_texts() -> Mapping[str, str]:
    """What each clause of the ledger demands, in short, by its id."""
    return {clause.id: clause.norm for clause in read_ledger(pack_folder()).clauses.values()}


def call_rows(session: Session, who: Principal, calls: Sequence[Call]) -> list[CallRow]:
    """Rows of a list: seven queries, however many calls. While a second review of a call runs, whoever is blind to the
    first one sees neither its state nor its final score."""
    ids = [call.id for call in calls]
    blind = blind_calls(session, who, ids)
    runs = _by_id(session, select(Run.id, Run.path).where(Run.id.in_({call.run_id for call in calls})))
    agents = _agent_names(session, {call.agent_id for call in calls if call.agent_id})
    assigned = _assigned(session, ids)
    judgements, aside = count_judgements(session, who, calls), set_aside(session, ids)
    appeals = _by_id(
        session,
        select(Appeal.call_pk, func.count())
        .where(Appeal.call_pk.in_(ids), Appeal.state == "open")
        .group_by(Appeal.call_pk),
    )
    rows = [
        CallRow(
            **_columns(call, CallRow, skip=_OF_OTHERS),
            run=PurePath(runs[call.run_id]).name,
            agent_name=agents.get(call.agent_id or ""),
            assigned_to=assigned.get(call.id, []),
            open_appeals=appeals.get(call.id, 0),
            judgements=judgements.get(call.origin, 1),
            counts=call.id not in aside,
        )
        for call in calls
    ]
    hidden = {"state": State.ASSIGNED.value, "final_score": None, "final_verdict": None}
    return [row.model_copy(update=hidden) if row.id in blind else row for row in rows]


def call_detail(session: Session, who: Principal, call: Call, at: datetime) -> CallDetail:
    """Everything on a call that this person may see. ``at``: for what they may do now."""
    report, sight, veil = _report(session, call), look(who, call, at), veil_of(session, who)
    said = _said(session, call)
    context = Context(veil, {row.number: (row.role, row.text) for row in said})
    reviewing = who.role in _REVIEWERS
    [row] = call_rows(session, who, [call])
    return CallDetail(
        **row.model_dump(),
        pack=_pack(call.pack),
        profile=call.pack.profile,
        pass_mark=call.pack.pass_mark,
        recogniser=call.recogniser,
        metadata=dict(veil.values(call.attributes)),
        metrics=dict(call.metrics),
        warnings=report["warnings"],
        activity=report.get("activity", {}),
        recording=_recording(call),
        shared_at=call.shared_at,
        appeal_until=call.appeal_until,
        rules=_rules(context, call, report["rules"], sight),
        why_no_final=None if sight.is_blind else sight.card.why_not,
        findings=finding_views(session, who, call, list(call.findings), context=context, sight=sight),
        turns=[TurnView.model_construct(**{**row._mapping, "text": context.turn(row.number)}) for row in said],
        manual=_manual(session, veil, call, sight),
        comments=_comments(session, who, call, sight),
        history=_history(session, veil, call, sight) if reviewing else [],
        all_judgements=judgement_views(session, who, call, row),
        actions=sight.actions(),
        may=May(
            decide=any(Action.CONFIRM in sight.actions_on(finding.id) for finding in call.findings),
            add=sight.may_add,
            comment=call.locked_at is None,
            score_manual=sight.may_add,
            unmask=who.may_unmask,
        ),
    )


def call_changed(session: Session, who: Principal, done: Changed, at: datetime, *, whole: bool = False) -> CallChanged:
    """What an action left of a call, looked at after its transaction, which others wait for. ``whole``: all of its
    findings, else the one the action was about."""
    call = session.get_one(Call, done.call.id)
    about = [one for one in call.findings if done.finding is not None and one.id == done.finding.id]
    sight, report = look(who, call, at), _report(session, call)
    veil = veil_of(session, who)
    context = context_of(session, veil, call.id)
    wanted = list(call.findings) if whole else about
    views = finding_views(session, who, call, wanted, context=context, sight=sight)
    named = {view.rule for view in views}
    [row] = call_rows(session, who, [call])
    return CallChanged(
        call=row,
        version=call.version,
        finding=views[0] if views and not whole else None,
        findings=views if whole else [],
        rules=_rules(context, call, [entry for entry in report["rules"] if entry["rule"] in named], sight),
        manual=_manual(session, veil, call, sight),
        comments=_comments(session, who, call, sight),
        all_judgements=judgement_views(session, who, call, row),
        actions=sight.actions(),
        why_no_final=None if sight.is_blind else sight.card.why_not,
    )


def judgement_views(session: Session, who: Principal, call: Call, row: CallRow) -> list[JudgementView]:
    """The judgements of a telephone call, newest first. ``row``: the call's own."""
    calls = find_judgements(session, who, call) if row.judgements > 1 else [call]
    rows = call_rows(session, who, calls) if len(calls) > 1 else [row]
    said = _outcomes(session, [one.id for one in calls]) if len(calls) > 1 else {}
    return [
        JudgementView(
            **{name: getattr(shown, name) for name in JudgementView.model_fields if name in CallRow.model_fields},
            pack=_pack(one.pack),
            profile=one.pack.profile,
            differences=_differences(said.get(one.id, {}), said.get(call.id, {})),
        )
        for one, shown in zip(calls, rows, strict=True)
    ]


Outcomes = Mapping[str, tuple[str, str]]  # title and outcome by rule


def _outcomes(session: Session, ids: Sequence[int]) -> dict[int, Outcomes]:
    """What the rules said of the calls by themselves; rules that did not apply are left out."""
    found: dict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
    columns = (RuleResult.call_pk, RuleResult.rule, RuleResult.title, RuleResult.outcome)
    wanted = (RuleResult.call_pk.in_(ids), RuleResult.status == "stable")
    for call_pk, rule, title, outcome in session.execute(select(*columns).where(*wanted).order_by(RuleResult.rule)):
        found[call_pk][rule] = title, outcome
    return dict(found)


def _differences(there: Outcomes, here: Outcomes) -> list[RuleDifference]:
    titles = {rule: title for rule, (title, _) in (*there.items(), *here.items())}
    pairs = {rule: [said.get(rule, ("", "not_applicable"))[1] for said in (there, here)] for rule in titles}
    return [
        RuleDifference(rule=rule, title=titles[rule], outcome=was, here=now)
        for rule, (was, now) in sorted(pairs.items())
        if was != now
    ]


def _pack(pack: Pack) -> PackView:
    return PackView(name=pack.name, version=pack.version, digest=pack.digest)


def appeal_rows(
    session: Session, who: Principal, found: Sequence[tuple[Appeal, Finding, Call]], at: datetime
) -> list[AppealRow]:
    """Rows of the list of appeals."""
    names, veil = _names(session), veil_of(session, who)
    contexts = contexts_around(session, veil, [finding for _, finding, _ in found])
    calls = {call.id: call for _, _, call in found}
    rows = {row.id: row for row in call_rows(session, who, list(calls.values()))}
    sights = {call.id: look(who, call, at) for call in calls.values()}
    return [
        AppealRow(
            **appeal_view(veil, made, names).model_dump(),
            call=rows[call.id],
            finding_id=finding.id,
            rule=finding.rule,
            title=finding.title,
            severity=finding.severity,
            quote=contexts[finding.id].quote(finding),
            start_ms=finding.start_ms,
            actions=[one for one in sights[call.id].actions_on(finding.id) if one in (Action.UPHOLD, Action.REJECT)],
        )
        for made, finding, call in found
    ]


def finding_views(
    session: Session,
    who: Principal,
    call: Call,
    findings: Sequence[Finding],
    *,
    context: Context,
    sight: Sight,
) -> list[FindingView]:
    """Findings with what was decided about them, those that this person may know of. ``context`` is the call's."""
    names, veil = _names(session), veil_of(session, who)
    results = {rule.rule: rule for rule in call.results}
    reviews = _grouped(call.reviews)
    appeals = {one.finding_id: one for one in call.appeals}
    reviewing = who.role in _REVIEWERS
    seen = {finding.id: sight.finding(finding.id) for finding in call.findings}
    of_rule = Counter(
        finding.rule for finding in call.findings if (one := seen[finding.id]) and one.decision != Decision.OVERTURNED
    )
    shown = []
    for finding in findings:
        result, now = results.get(finding.rule), seen[finding.id]
        if now is None:
            continue
        said = [one for one in reviews[finding.id] if sight.shows_review_by(one.reviewer_id, one.round)]
        view = FindingView(
            **_columns(finding, FindingView, skip=_MADE_HERE),
            quote=context.quote(finding),
            message=context.message(finding, finding.message) or "",
            suggestion=context.message(finding, finding.suggestion),
            clauses=[ClauseView(id=one, text=clause_texts().get(one)) for one in finding.clauses],
            measured=veil.values(result.measured) if result else None,
            would_pass_if=None,
            state=now.state,
            decision=now.decision,
            decided_by=names.get(now.decided_by or 0) if reviewing else None,
            decided_at=finding.decided_at if now.decided_by == finding.decided_by else None,
            reason=veil.text(next((one.reason for one in reversed(said) if one.decision == now.decision), None)),
            reviews=[_review(veil, one, names) for one in said] if reviewing else [],
            appeal=appeal_view(veil, appeals[finding.id], names) if finding.id in appeals else None,
            actions=sight.actions_on(finding.id),
        )
        rule = {name: getattr(result, name) for name in ("level", "measured", "elements")} if result else None
        view.would_pass_if = would_pass_if(
            view.model_dump(),
            rule,
            others=max(0, of_rule[finding.rule] - 1),
            levels=_levels(call, finding.rule),
            titles=_element_titles(call, finding.rule),
        )
        shown.append(view)
    return shown


def _levels(call: Call, rule: str) -> Mapping[str, Any] | None:
    """What the levels of a rule ask for in this call's direction."""
    by_direction = ((call.pack.weights or {}).get(rule) or {}).get("levels") or {}
    levels: Mapping[str, Any] | None = by_direction.get(call.direction) or by_direction.get("")
    return levels


def _element_titles(call: Call, rule: str) -> Mapping[str, str]:
    return {**ELEMENTS, **(((call.pack.weights or {}).get(rule) or {}).get("elements") or {})}


# ---- parts


def _rules(context: Context, call: Call, entries: Iterable[Mapping[str, Any]], sight: Sight) -> list[RuleView]:
    """Rules as the report has them, in its order."""
    shown = []
    for entry in entries:
        final = None if sight.is_blind else sight.card.rules.get(entry["rule"])
        shown.append(
            RuleView(
                rule=entry["rule"],
                title=entry["title"],
                outcome=entry["outcome"],
                final_outcome=final.outcome if final else entry["outcome"],
                final_level=final.level if final else None,
                final_points=final.points if final else None,
                severity=entry["severity"],
                status=entry.get("status", "stable"),
                level=entry.get("level"),
                points=entry["points"],
                max_points=entry["max_points"],
                clauses=entry["clauses"],
                measured=context.values(entry.get("measured")),
                elements=_elements(context, call, entry),
            )
        )
    return shown


def _elements(context: Context, call: Call, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """With what they are called beside the ids."""
    if entry.get("elements") is None:
        return None
    titles = _element_titles(call, entry["rule"])
    return {
        name: {**element, "quote": context.text(element["quote"]), "title": titles.get(name, name)}
        for name, element in entry["elements"].items()
    }


def _said(session: Session, call: Call) -> Sequence[Row[Any]]:
    """Thousands of them, so neither objects of the store nor checked again: they were when they were imported."""
    wanted = [getattr(Turn, name) for name in TurnView.model_fields]
    return session.execute(select(*wanted).where(Turn.call_pk == call.id).order_by(Turn.number)).all()


def _manual(session: Session, veil: Veil, call: Call, sight: Sight) -> list[ManualView]:
    names = _names(session)
    newest = {score.item: score for score in call.manual_scores if sight.shows_review_by(score.reviewer_id)}
    views = []
    for item in call.pack.manual or ():
        score = newest.get(item["id"])
        views.append(
            ManualView(
                id=item["id"],
                title=item["title"],
                clause=item.get("clause"),
                max_points=item["max_points"],
                outcome=score.outcome if score else None,
                points=score.points if score else None,
                comment=veil.text(score.comment) if score else None,
                by=names.get(score.reviewer_id) if score else None,
                at=score.at if score else None,
            )
        )
    return views


def _comments(session: Session, who: Principal, call: Call, sight: Sight) -> list[CommentView]:
    names, veil = _names(session), veil_of(session, who)
    statement = select(Comment).where(Comment.call_pk == call.id).order_by(Comment.id)
    if who.role not in _REVIEWERS:
        statement = statement.where(Comment.is_internal.is_(False))
    return [
        CommentView(
            **_columns(one, CommentView, skip={"by", "text"}),
            text=veil.text(one.text) or "",
            by=names.get(one.author_id, ""),
        )
        for one in session.scalars(statement)
        if sight.shows_review_by(one.author_id)
    ]


def _history(session: Session, veil: Veil, call: Call, sight: Sight) -> list[TransitionView]:
    names = _names(session)
    packs = {digest: f"{name} {version}" for digest, name, version in session.execute(_PACKS)}
    rows = session.scalars(select(Transition).where(Transition.call_pk == call.id).order_by(Transition.id))
    return [
        TransitionView(
            at=one.at,
            by=names.get(one.by_id or 0),
            action=one.action,
            before=one.state_before,
            after=one.state_after,
            why=veil.text(one.why) or "",
            finding_id=one.finding_id,
            pack=packs.get(one.pack_digest, one.pack_digest[:19]),
        )
        for one in rows
        if sight.shows_review_by(one.by_id)
    ]


def _review(veil: Veil, review: Review, names: Mapping[int, str]) -> ReviewView:
    return ReviewView(
        **_columns(review, ReviewView, skip={"reviewer", "reason"}),
        reason=veil.text(review.reason) or "",
        reviewer=names.get(review.reviewer_id, ""),
    )


def appeal_view(veil: Veil, appeal: Appeal, names: Mapping[int, str]) -> AppealView:
    return AppealView(
        **_columns(appeal, AppealView, skip={"by", "decided_by", "text", "reason"}),
        text=veil.text(appeal.text) or "",
        reason=veil.text(appeal.reason),
        by=names.get(appeal.by_id, ""),
        decided_by=names.get(appeal.decided_by or 0),
    )


def _recording(call: Call) -> RecordingView | None:
    if not call.recording:
        return None
    return RecordingView(channels=sorted(call.recording["channels"]), duration_ms=call.duration_ms)


# ---- lookups


def _report(session: Session, call: Call) -> dict[str, Any]:
    body = session.scalar(select(Report.body).where(Report.call_pk == call.id))
    report: dict[str, Any] = json.loads(zlib.decompress(body)) if body else {"rules": [], "warnings": []}
    return report


def _columns(row: Any, view: type[Any], *, skip: set[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in view.model_fields if name not in skip}


def _names(session: Session) -> dict[int, str]:
    """Of everybody. A session sees one moment, so once is enough."""
    if _NAMES not in session.info:
        session.info[_NAMES] = _by_id(session, select(User.id, User.display_name))
    names: dict[int, str] = session.info[_NAMES]
    return names


def _by_id(session: Session, statement: Any) -> dict[int, Any]:
    return dict(session.execute(statement).all())


def _agent_names(session: Session, agent_ids: set[str]) -> dict[str, str]:
    statement = select(User.agent_id, User.display_name).where(User.agent_id.in_(agent_ids))
    return {agent_id: name for agent_id, name in session.execute(statement) if agent_id}


def _assigned(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    statement = (
        select(Assignment.call_pk, User.display_name)
        .join(User, User.id == Assignment.reviewer_id)
        .where(Assignment.call_pk.in_(ids), Assignment.state == "open")
    )
    assigned: dict[int, list[str]] = defaultdict(list)
    for call_pk, name in session.execute(statement):
        assigned[call_pk].append(name)
    return assigned


def _grouped(reviews: Iterable[Review]) -> dict[int, list[Review]]:
    grouped: dict[int, list[Review]] = defaultdict(list)
    for review in reviews:
        grouped[review.finding_id].append(review)
    return grouped
