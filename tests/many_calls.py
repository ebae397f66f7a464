"""A call centre's months in a store, quickly: calls, rule results, findings, turns, people and what they decided.

Made, not judged: for lists, figures and their speed. What reports really look like is tested by importing some.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from analyzer.store.tables import Appeal, Call, Finding, Pack, Review, RuleResult, Run, Turn, User

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
RULES = (  # id, title, severity, how often it is violated, how often its findings are right
    ("banned_phrase", "服务禁语", "critical", 0.06, 0.97), ("opening", "开场白", "major", 0.25, 0.93),
    ("closing", "结束语", "major", 0.3, 0.95), ("speech_rate", "语速", "minor", 0.5, 0.99),
    ("interruption", "抢话插话", "major", 0.2, 0.7), ("dead_air", "静音超时", "minor", 0.12, 0.9),
    ("hold_consent", "等待前征询", "major", 0.1, 0.92), ("polite_quota", "礼貌用语次数", "minor", 0.15, 0.96),
    ("nin_not_ni", "称呼用您", "minor", 0.18, 0.88), ("complaint_apology", "投诉致歉", "major", 0.04, 0.9),
    *((f"rule_{number:02d}", f"规则{number:02d}", "minor", 0.02, 0.95) for number in range(20)),
)  # fmt: skip
TEAMS = ("一组", "二组", "三组", "外呼组")
AGENTS = tuple((f"{3001 + number}", TEAMS[number % 4]) for number in range(60))
PEOPLE = (
    ("admin", "管理员", "admin", None), ("lead", "周主管", "lead", None), ("rev1", "王质检", "reviewer", None),
    ("rev2", "李质检", "reviewer", None), ("rev3", "陈质检", "reviewer", "3003"), ("agent", "赵坐席", "agent", "3001"),
)  # fmt: skip
_CHUNK = 2_000
_LINES = (
    "您好，请问有什么可以帮您",
    "请您稍等",
    "我帮您查一下",
    "好的，已经为您登记",
    "您的手机号是13800138000吗",
    "感谢您的来电，再见",
)


def add_people(session: Session) -> dict[str, int]:
    """Their ids by name."""
    users = [
        User(name=name, display_name=shown, role=role, agent_id=agent, team=None, password_hash="-", created_at=NOW)
        for name, shown, role, agent in PEOPLE
    ]
    session.add_all(users)
    session.flush()
    return {user.name: user.id for user in users}


def add_calls(session: Session, n: int, *, seed: int = 1, days: int = 60, turns: int = 4, decided: float = 0.1) -> None:
    """``n`` calls of the ``days`` before NOW; of a share ``decided`` of their findings people said what they are.

    Needs ``add_people``.
    """
    random = Random(seed)
    run = Run(path=f"/runs/{seed}", kind="score", imported_at=NOW)
    pack = Pack(digest=f"sha256:{seed}", profile="standard", name="standard", version="1", pass_mark=85,
                weights=None, manual=None)  # fmt: skip
    session.add_all([run, pack])
    session.flush()
    made = [_call(random, run.id, pack.id, number, days) for number in range(n)]
    ids: list[int] = []
    for chunk in _chunks(made):
        ids += session.scalars(insert(Call).returning(Call.id, sort_by_parameter_order=True), chunk)
    results, findings, said = [], [], []
    for call_pk in ids:
        broken = [rule for rule in RULES if random.random() < rule[3]]
        results += [_result(random, call_pk, rule, rule in broken) for rule in RULES]
        findings += [_finding(random, call_pk, rule, number, turns) for number, rule in enumerate(broken)]
        said += [_turn(random, call_pk, number) for number in range(turns)]
    for table, rows in ((RuleResult, results), (Turn, said)):
        for chunk in _chunks(rows):
            session.execute(insert(table), chunk)
    finding_ids: list[int] = []
    for finding in findings:
        if random.random() < decided:
            _decide(random, finding)
    for chunk in _chunks(findings):
        finding_ids += session.scalars(insert(Finding).returning(Finding.id, sort_by_parameter_order=True), chunk)
    _add_reviews(session, random, [{**one, "id": number} for one, number in zip(findings, finding_ids, strict=True)])


def _call(random: Random, run: int, pack: int, number: int, days: int) -> dict[str, Any]:
    agent, team = AGENTS[number % len(AGENTS)]
    score = round(min(100.0, max(0.0, random.gauss(86 + int(agent) % 7 - 3, 9))), 1)
    hour = random.choice([1, 1, 2, 2, 2, 3, 4, 5, 6, 6, 7, 7, 8, 9, 11])  # UTC
    at = datetime(NOW.year, NOW.month, NOW.day, hour, random.randrange(60), tzinfo=UTC)
    return {
        "run_id": run, "call_id": f"c{number:06d}", "report_digest": "sha256:0", "pack_id": pack,
        "origin": f"{run}:{number}", "judged_at": NOW,
        "direction": "inbound" if number % 5 else "outbound", "started_at": at - timedelta(days=1 + number % days),
        "duration_ms": random.randrange(30_000, 600_000), "agent_id": agent, "team": team, "score": score,
        "verdict": "pass" if score >= 85 else "fail" if score < 80 else "review", "final_score": None,
        "final_verdict": None, "state": "auto", "criticals": int(random.random() < 0.06), "majors": random.randrange(3),
        "minors": random.randrange(4), "unsures": random.randrange(2), "agent_rate": round(random.gauss(195, 32), 1),
        "truncated": False, "recogniser": "demo", "notice": None, "attributes": {"agent_id": agent},
        "metrics": {"rate": {"agent": {"turn": 190}}}, "recording": None, "media_id": None, "imported_at": NOW,
        "version": 1,
    }  # fmt: skip


def _result(random: Random, call_pk: int, rule: tuple[Any, ...], broken: bool) -> dict[str, Any]:
    name, title, severity, *_ = rule
    outcome = "violation" if broken else "unsure" if random.random() < 0.03 else "pass"
    return {
        "call_pk": call_pk, "rule": name, "title": title, "outcome": outcome, "final_outcome": outcome,
        "severity": severity, "status": "stable", "level": None, "points": -5 if broken else 0, "max_points": 5,
        "clauses": ["S003-4.1"], "measured": None, "elements": None,
    }  # fmt: skip


def _finding(random: Random, call_pk: int, rule: tuple[Any, ...], number: int, turns: int) -> dict[str, Any]:
    name, title, severity, *_ = rule
    turn = random.randrange(turns) if turns else None
    return {
        "call_pk": call_pk, "key": f"{number}", "source": "auto", "rule": name, "title": title, "outcome": "violation",
        "status": "stable", "category": None, "severity": severity, "role": "agent", "turn": turn,
        "start_ms": 1000 * number, "end_ms": 1000 * number + 900, "quote": "我的电话13800138000", "char_start": 0,
        "char_end": 4, "spans": [], "match": "exact", "confidence": 0.9, "message": title, "suggestion": None,
        "clauses": ["S003-4.1"], "state": "auto", "decision": None, "decided_by": None, "decided_at": None,
    }  # fmt: skip


def _decide(random: Random, finding: dict[str, Any]) -> None:
    right = next(rule[4] for rule in RULES if rule[0] == finding["rule"])
    decision = "unsure" if random.random() < 0.05 else "confirmed" if random.random() < right else "overturned"
    at = NOW - timedelta(days=random.randrange(30))
    finding.update(state=decision, decision=decision, decided_by=3 + random.randrange(2), decided_at=at)


def _add_reviews(session: Session, random: Random, findings: list[dict[str, Any]]) -> None:
    decided = [finding for finding in findings if finding["decision"]]
    reviews = [_review(finding, "first", finding["decision"], finding["decided_by"]) for finding in decided]
    for finding in decided[::5]:
        agrees = random.random() < 0.85
        other = finding["decision"] if agrees else random.choice(["confirmed", "overturned", "unsure"])
        reviews.append(_review(finding, "second", other, 7 - finding["decided_by"]))
    if reviews:
        session.execute(insert(Review), reviews)
    appeals = [_appeal(random, finding) for finding in decided[::11] if finding["decision"] == "confirmed"]
    if appeals:
        session.execute(insert(Appeal), appeals)


def _review(finding: dict[str, Any], round_: str, decision: str, reviewer: int) -> dict[str, Any]:
    return {
        "call_pk": finding["call_pk"], "finding_id": finding["id"], "rule": finding["rule"], "round": round_,
        "calibration_id": None, "decision": decision, "reason": "听过录音", "reviewer_id": reviewer,
        "at": finding["decided_at"], "pack_digest": "sha256:1",
    }  # fmt: skip


def _appeal(random: Random, finding: dict[str, Any]) -> dict[str, Any]:
    state = random.choice(["open", "upheld", "rejected", "rejected"])
    at = finding["decided_at"]
    is_open = state == "open"
    return {
        "call_pk": finding["call_pk"], "finding_id": finding["id"], "by_id": 6, "text": "我没有说", "at": at,
        "state": state, "decided_by": None if is_open else 2,
        "decided_at": None if is_open else at + timedelta(days=1), "reason": None if is_open else "复听",
    }  # fmt: skip


def _turn(random: Random, call_pk: int, number: int) -> dict[str, Any]:
    role = "customer" if number % 3 == 2 else "agent"
    return {
        "call_pk": call_pk, "number": number, "role": role, "start_ms": 5_000 * number, "end_ms": 5_000 * number + 4000,
        "text": random.choice(_LINES), "confidence": 0.9, "chars": None,
    }  # fmt: skip


def _chunks(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
