"""A call to review, people to review it, straight into a store; and PostgreSQL for the tests that want one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.store import Store, users
from analyzer.store.tables import Call, Finding, Pack, RuleResult, Run, Turn, User
from analyzer.store.users import Principal

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
AGENT_ID = "3017"
PEOPLE = {"agent": ("agent", AGENT_ID), "other_agent": ("agent", "4711"), "anna": ("reviewer", None),
          "ben": ("reviewer", None), "cara": ("reviewer", None), "lead": ("lead", None), "leader": ("lead", None),
          "admin": ("admin", None)}  # fmt: skip
LINES = (
    ("agent", "您好，云岭银行，请问有什么可以帮您"), ("customer", "我的卡怎么被停了"),
    ("agent", "这不归我管，你打别的电话问"), ("customer", "我的手机号是13800138000，身份证你们有"),
    ("agent", "我说了不知道"), ("customer", "好吧"), ("agent", "再见"),
)  # fmt: skip


@contextmanager
def peek(store: Store) -> Iterator[Session]:
    """A reading session whose rows can be looked at after it."""
    with store.reading() as session:
        yield session
        session.expunge_all()


def weight(points: float, **changes: Any) -> dict[str, Any]:
    return {"title": "规则", "status": "stable", "severity": "major", "max_points": points, "deduct": points,
            "per_hit": False, "cap": None, "veto": False, "bonus": 0, **changes}  # fmt: skip


WEIGHTS = {
    "banned_phrase": weight(40, title="服务禁语", deduct={"critical": 40, "major": 10, "minor": 4}, per_hit=True),
    "closing": weight(20, title="结束语"),
    "polite_quota": weight(40, title="礼貌用语"),
}
MANUAL = [{"id": "warmth", "title": "语气平和亲切", "clause": "S001-1.2.3", "max_points": 10}]


@dataclass
class People:
    by_name: dict[str, Principal]

    def __getattr__(self, name: str) -> Principal:
        return self.by_name[name]


def add_people(store: Store) -> People:
    with store.writing() as session:
        for name, (role, agent_id) in PEOPLE.items():
            users.add_user(session, name=name, role=role, password_hash="!", at=NOW, agent_id=agent_id)
    with peek(store) as session:
        found = {user.name: user for user in session.scalars(select(User))}
    return People({
        name: Principal(user.id, name, user.display_name, user.role, user.agent_id) for name, user in found.items()
    })  # fmt: skip


def add_call(store: Store, *, hits: int = 2, unsure: bool = False, name: str = "c1", weights: Any = WEIGHTS) -> int:
    """A call with ``hits`` forbidden phrases of 10 points each, perhaps an unsure closing, and a polite quota kept.

    returns  its number
    """
    with store.writing() as session:
        call = _call(session, name, weights)
        session.add_all(
            Turn(
                call_pk=call.id,
                number=number,
                role=role,
                start_ms=4000 * number,
                end_ms=4000 * number + 3000,
                text=text,
            )
            for number, (role, text) in enumerate(LINES)
        )
        session.add(_result(call, "polite_quota", "pass"))
        session.add(_result(call, "banned_phrase", "violation" if hits else "pass"))
        session.add(_result(call, "closing", "unsure" if unsure else "pass"))
        session.add_all(_finding(call, "banned_phrase", "violation", number) for number in range(hits))
        if unsure:
            session.add(
                _finding(call, "closing", "unsure", 99, char_start=None, char_end=None, quote=None, match="absent")
            )
        return call.id


def _call(session: Session, name: str, weights: Any) -> Call:
    run = session.scalar(select(Run)) or Run(path="/runs/1", kind="score", imported_at=NOW)
    known = {"pass_mark": 85, "weights": weights, "manual": MANUAL} if weights else {}
    pack = Pack(digest=f"sha256:{name}", profile="standard", name="standard", version="1", **known)
    session.add_all([run, pack])
    session.flush()
    call = Call(
        run_id=run.id, call_id=name, report_digest="sha256:0", pack_id=pack.id, direction="inbound", started_at=NOW,
        duration_ms=60_000, agent_id=AGENT_ID, team="一组", score=80, verdict="fail", attributes={}, metrics={},
        imported_at=NOW, origin=name, judged_at=NOW,
    )  # fmt: skip
    session.add(call)
    session.flush()
    session.refresh(call)
    return call


def _result(call: Call, rule: str, outcome: str) -> RuleResult:
    points = {"banned_phrase": 40, "closing": 20}.get(rule, 40)
    return RuleResult(call_pk=call.id, rule=rule, title=rule, outcome=outcome, final_outcome=outcome, severity="major",
                      points=0, max_points=points, clauses=["S003-4.1"])  # fmt: skip


def _finding(call: Call, rule: str, outcome: str, number: int, **changes: Any) -> Finding:
    fields: dict[str, Any] = {
        "key": f"{rule}:{number}", "source": "auto", "title": rule, "outcome": outcome, "severity": "major",
        "role": "agent", "turn": 2, "start_ms": 8000 + number, "end_ms": 9000 + number, "quote": "这不归我管",
        "char_start": 0, "char_end": 5, "spans": [], "match": "exact", "confidence": 0.9, "message": rule,
        "clauses": ["S003-4.1"], **changes,
    }  # fmt: skip
    return Finding(call_pk=call.id, rule=rule, **fields)


def findings(store: Store, call_pk: int) -> list[Finding]:
    with peek(store) as session:
        return list(session.scalars(select(Finding).where(Finding.call_pk == call_pk).order_by(Finding.id)))


def call_of(store: Store, call_pk: int) -> Call:
    with peek(store) as session:
        return session.get_one(Call, call_pk)
