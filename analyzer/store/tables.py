"""Every table, in the order in which data comes to be: what was imported, who may see it, what was decided.

Call times are integer milliseconds since the answer (``_ms``); moments of the clock are aware UTC (``_at``). What
people did (reviews, transitions, comments, appeals, audit) is only ever added to; the columns ``state``, ``decision``
and ``final_*`` repeat the newest of it so that lists need no history.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from analyzer.store.types import Json, UtcDateTime


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Json, list[Any]: Json, str: Text}


# ---- imported


class Run(Base):
    """A run folder that was imported. ``kind``: score | live."""

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    imported_at: Mapped[datetime]


class Pack(Base):
    """A version of a rule pack in one profile, as calls were judged by it.

    weights   per rule id: max_points, deduct, per_hit, cap, veto, bonus, severity, status, title; null while the pack
              itself was never seen here, and then final scores cannot be computed
    manual    the profile's manual items: [{id, title, clause, max_points}]
    """

    __tablename__ = "packs"
    __table_args__ = (UniqueConstraint("digest", "profile"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(80))
    profile: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(80))
    version: Mapped[str] = mapped_column(String(80))
    pass_mark: Mapped[float | None]
    weights: Mapped[dict[str, Any] | None]
    manual: Mapped[list[Any] | None]
    folder: Mapped[str | None]  # where a published version lies
    author: Mapped[str | None]
    note: Mapped[str | None]
    published_at: Mapped[datetime | None]


class Call(Base):
    """A judged call. ``state`` is the least advanced of its findings' (analyzer.review.workflow), ``version`` grows
    with every change, so that two people cannot overwrite each other unseen.

    origin     the same for all judgements of one telephone call (``runs.Origin.key``), of which one counts
               (``store.judgements``)
    judged_at  when its report was made
    is_judged_again  another judgement of it was imported once, and may be gone by now
    """

    __tablename__ = "calls"
    __table_args__ = (
        UniqueConstraint("run_id", "call_id"),
        Index("ix_calls_agent", "agent_id", "started_at"),
        Index("ix_calls_team", "team", "started_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    call_id: Mapped[str] = mapped_column(index=True)
    report_digest: Mapped[str] = mapped_column(String(80))
    origin: Mapped[str] = mapped_column(String(40), index=True)
    judged_at: Mapped[datetime]
    is_judged_again: Mapped[bool] = mapped_column(default=False)
    pack_id: Mapped[int] = mapped_column(ForeignKey("packs.id"), index=True)
    direction: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime | None] = mapped_column(index=True)
    duration_ms: Mapped[int]
    agent_id: Mapped[str | None] = mapped_column(String(120))
    team: Mapped[str | None] = mapped_column(String(120))
    score: Mapped[float | None] = mapped_column(index=True)
    verdict: Mapped[str] = mapped_column(String(16), index=True)
    final_score: Mapped[float | None]
    final_verdict: Mapped[str | None] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), index=True, default="auto")
    criticals: Mapped[int] = mapped_column(default=0)  # findings of violated rules, by severity
    majors: Mapped[int] = mapped_column(default=0)
    minors: Mapped[int] = mapped_column(default=0)
    unsures: Mapped[int] = mapped_column(default=0)  # rules
    agent_rate: Mapped[float | None]  # 字/分钟, denominator ``turn``
    truncated: Mapped[bool] = mapped_column(default=False)
    recogniser: Mapped[str | None]
    notice: Mapped[str | None]  # of the recogniser, as "demo (synthetic voices only)"
    attributes: Mapped[dict[str, Any]] = mapped_column("metadata")
    metrics: Mapped[dict[str, Any]]
    recording: Mapped[dict[str, Any] | None]  # {"paths": [...], "channels": ["agent", "customer"]}
    media_id: Mapped[str | None] = mapped_column(String(80))  # key of cached peaks and playback copy
    imported_at: Mapped[datetime] = mapped_column(index=True)
    shared_at: Mapped[datetime | None]
    appeal_until: Mapped[datetime | None]
    locked_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    pack: Mapped[Pack] = relationship(lazy="selectin")  # long, and few: never once per row
    findings: Mapped[list[Finding]] = relationship(back_populates="call", order_by="Finding.start_ms, Finding.id")
    results: Mapped[list[RuleResult]] = relationship()
    reviews: Mapped[list[Review]] = relationship(order_by="Review.id")
    appeals: Mapped[list[Appeal]] = relationship(order_by="Appeal.id")
    assignments: Mapped[list[Assignment]] = relationship(order_by="Assignment.id")
    manual_scores: Mapped[list[ManualScore]] = relationship(order_by="ManualScore.id")

    __mapper_args__ = {"version_id_col": version}


class Report(Base):
    """The report as it was imported, byte for byte, zlib-compressed."""

    __tablename__ = "reports"
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Turn(Base):
    """An utterance with its character times, numbered as in the report. Searched through ``store.search``."""

    __tablename__ = "turns"
    __table_args__ = (UniqueConstraint("call_pk", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    number: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    text: Mapped[str]
    confidence: Mapped[float | None]
    chars: Mapped[list[Any] | None]  # [[start_ms, end_ms], ...] per character


class RuleResult(Base):
    """What a rule said of a call. Rules that did not apply have no row (the report has them)."""

    __tablename__ = "rule_results"
    __table_args__ = (
        Index("ix_rule_results_final", "final_outcome", "rule", "call_pk"),
    )  # covers the sums over all calls
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    rule: Mapped[str] = mapped_column(String(120), primary_key=True)
    title: Mapped[str]
    outcome: Mapped[str] = mapped_column(String(16))
    final_outcome: Mapped[str] = mapped_column(String(16))  # with what people decided
    severity: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="stable")
    level: Mapped[str | None] = mapped_column(String(16))
    points: Mapped[float]
    max_points: Mapped[float]
    clauses: Mapped[list[Any]]
    measured: Mapped[dict[str, Any] | None]
    elements: Mapped[dict[str, Any] | None]


class Finding(Base):
    """Something to look at: a hit, something missing, a rule that is unsure, or a violation that a person added.

    key       the same for the same finding of a call imported again (``importing.finding_key``)
    source    auto | added
    outcome   of its rule when it was imported: violation | unsure; also pass, for trial rules and remarks
    state     analyzer.review.workflow; decision: confirmed | overturned | unsure, null before anybody decided
    """

    __tablename__ = "findings"
    __table_args__ = (UniqueConstraint("call_pk", "key"), Index("ix_findings_rule", "rule", "state"))
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(40))
    source: Mapped[str] = mapped_column(String(8), default="auto")
    rule: Mapped[str] = mapped_column(String(120))
    title: Mapped[str]
    outcome: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="stable")
    category: Mapped[str | None]
    severity: Mapped[str] = mapped_column(String(16), index=True)
    role: Mapped[str | None] = mapped_column(String(16))
    turn: Mapped[int | None]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    quote: Mapped[str | None]
    char_start: Mapped[int | None]
    char_end: Mapped[int | None]
    spans: Mapped[list[Any]]
    match: Mapped[str] = mapped_column(String(16))
    confidence: Mapped[float | None]
    message: Mapped[str]
    suggestion: Mapped[str | None]
    clauses: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(16), default="auto", index=True)
    decision: Mapped[str | None] = mapped_column(String(16))
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]

    call: Mapped[Call] = relationship(back_populates="findings")


class PurgedReport(Base):
    """A report that was purged, by its digest: its run folder, imported again, does not bring the call back."""

    __tablename__ = "purged_reports"
    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    at: Mapped[datetime]


# ---- people


class User(Base):
    """role: agent | reviewer | lead | admin. ``agent_id`` says which calls an agent's own are."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(16))
    agent_id: Mapped[str | None] = mapped_column(String(120), index=True)
    team: Mapped[str | None] = mapped_column(String(120))
    password_hash: Mapped[str]
    must_change: Mapped[bool] = mapped_column(default=False)
    may_unmask: Mapped[bool] = mapped_column(default=False)  # may read and hear identifiers
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class Session(Base):
    """A login. Only the digest of its cookie is kept."""

    __tablename__ = "sessions"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class LoginFailure(Base):
    """A failed login, for the rate limit; ``subject`` is the digest of a user name or of an address."""

    __tablename__ = "login_failures"
    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(80), index=True)
    at: Mapped[datetime] = mapped_column(index=True)


class SavedView(Base):
    """A filter of the list of calls under a name; ``query`` is its query string. Shared ones are seen by everyone."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("user_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    query: Mapped[str]
    is_shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


# ---- work to do


class Plan(Base):
    """A sampling plan. kind: random | per_agent | by_rule | by_score | critical | audit; ``options`` as
    analyzer.review.sampling.Options reads them (share or count, seed, frame, second_share, reviewers with quotas)."""

    __tablename__ = "plans"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(16))
    options: Mapped[dict[str, Any]]
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    drawn_at: Mapped[datetime | None]


class Calibration(Base):
    """Several reviewers, one call, each alone; then agreement per rule. state: open | closed."""

    __tablename__ = "calibrations"
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="open")
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Assignment(Base):
    """A call that one reviewer is to review. round: first | second | calibration | audit;
    state: open | done | withdrawn.

    second       double blind: neither reviewer sees the other's decisions before both are done
    audit        unflagged segments of the call are listened to, to estimate what the rules miss
    """

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("call_pk", "reviewer_id", "round", "calibration_id"),
        Index("ix_assignments_queue", "reviewer_id", "state", "due_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    reviewer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    round: Mapped[str] = mapped_column(String(16), default="first")
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("plans.id"))
    calibration_id: Mapped[int | None] = mapped_column(ForeignKey("calibrations.id"))
    state: Mapped[str] = mapped_column(String(16), default="open")
    due_at: Mapped[datetime | None]
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]


# ---- what people decided


class Review(Base):
    """One decision about one finding. Never changed; the newest of round ``first`` counts, until a second reviewer or
    an appeal settles it. ``decision``: confirmed | overturned | unsure."""

    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_rule", "rule", "round"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id", ondelete="CASCADE"), index=True)
    rule: Mapped[str] = mapped_column(String(120))
    round: Mapped[str] = mapped_column(String(16), default="first")
    calibration_id: Mapped[int | None] = mapped_column(ForeignKey("calibrations.id"))
    decision: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]
    reviewer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    pack_digest: Mapped[str] = mapped_column(String(80))


class AuditedSegment(Base):
    """An agent utterance without any finding that an audit drew to be listened to, so that recall can be estimated.

    missed       the rules that it breaks all the same, none for an empty list; null until somebody listened
    unflagged    how many such utterances the call had when this one was drawn
    call_weight  how many calls of the audit's frame its call stands for
    """

    __tablename__ = "audited_segments"
    __table_args__ = (UniqueConstraint("assignment_id", "turn"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    turn: Mapped[int]
    unflagged: Mapped[int]
    call_weight: Mapped[float]
    missed: Mapped[list[Any] | None]
    at: Mapped[datetime | None]


class ManualScore(Base):
    """A manual item of the profile, scored by hand. outcome: pass | violation | not_applicable. The newest counts."""

    __tablename__ = "manual_scores"
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    item: Mapped[str] = mapped_column(String(120))
    outcome: Mapped[str] = mapped_column(String(16))
    points: Mapped[float]  # lost: 0 or less
    max_points: Mapped[float]
    comment: Mapped[str]
    reviewer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]


class Comment(Base):
    """A remark on a call, or on a moment or finding of it. ``is_internal``: agents do not see it."""

    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("findings.id", ondelete="SET NULL"))
    at_ms: Mapped[int | None]
    text: Mapped[str]
    is_internal: Mapped[bool] = mapped_column(default=False)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]


class Appeal(Base):
    """An agent's objection to one finding. state: open | upheld | rejected."""

    __tablename__ = "appeals"
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id", ondelete="CASCADE"), unique=True)
    by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    text: Mapped[str]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="open", index=True)
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class Transition(Base):
    """Every change of state: who, when, why, with which pack. Without a finding, of the whole call."""

    __tablename__ = "transitions"
    id: Mapped[int] = mapped_column(primary_key=True)
    call_pk: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), index=True)
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("findings.id", ondelete="CASCADE"), index=True)
    action: Mapped[str] = mapped_column(String(24))
    state_before: Mapped[str] = mapped_column(String(16))
    state_after: Mapped[str] = mapped_column(String(16))
    by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    why: Mapped[str]
    pack_digest: Mapped[str] = mapped_column(String(80))


# ---- rules that are being changed


class CaseDraft(Base):
    """An example for a rule's cases, out of an appeal that was upheld or a violation that was added.
    state: open | taken | dropped."""

    __tablename__ = "case_drafts"
    id: Mapped[int] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(String(120), index=True)
    call_pk: Mapped[int | None] = mapped_column(ForeignKey("calls.id", ondelete="SET NULL"))
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("findings.id", ondelete="SET NULL"))
    yaml: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default="open")
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]


class RuleDraft(Base):
    """A rule file being edited in the browser. ``base_digest``: the pack version it began from. state: open | published
    | dropped; ``version`` guards against two editors."""

    __tablename__ = "rule_drafts"
    id: Mapped[int] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(String(120), index=True)
    file: Mapped[str]  # below the pack's folder
    base_digest: Mapped[str] = mapped_column(String(80))
    text: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default="open")
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


# ---- outside and afterwards


class Webhook(Base):
    """An address that is told of events; ``events`` names which."""

    __tablename__ = "webhooks"
    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[Any]]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]


class Delivery(Base):
    """One event for one webhook. state: waiting | delivered | given_up."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_due", "state", "next_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """The append-only audit log. Ids only, so a purge leaves it whole. ``hash`` is over the entry and the hash before
    it (analyzer.store.audit)."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))  # ISO 8601 UTC, as hashed
    actor: Mapped[str] = mapped_column(String(80))  # "user:7", "service", "cli", "system"
    action: Mapped[str] = mapped_column(String(60), index=True)
    object: Mapped[str] = mapped_column(String(120), index=True)  # "call:12", "finding:99", "pack:sha256:…"
    details: Mapped[dict[str, Any]]  # ids, counts, states; never words
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
