"""What the desk's API answers, as types that make its OpenAPI document. Call times in ms (``_ms``), moments in UTC.

Texts that were said come masked (``analyzer.privacy``) unless the viewer may read identifiers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class CallRow(BaseModel):
    """A call in a list. ``judgements``: how often the telephone call was judged, as far as the viewer may see; of those
    one ``counts`` in lists and figures."""

    id: int
    call_id: str
    run: str
    direction: str
    started_at: datetime | None
    duration_ms: int
    agent_id: str | None
    agent_name: str | None
    team: str | None
    score: float | None
    verdict: str
    final_score: float | None
    final_verdict: str | None
    state: str
    criticals: int
    majors: int
    minors: int
    unsures: int
    agent_rate: float | None
    truncated: bool
    notice: str | None
    assigned_to: list[str]
    open_appeals: int
    judged_at: datetime
    judgements: int
    counts: bool
    version: int


class CallList(BaseModel):
    """``total`` is counted up to 10,000 only; ``next`` is the cursor of the following page."""

    calls: list[CallRow]
    next: str | None
    total: int


class ClauseView(BaseModel):
    id: str
    text: str | None


class ReviewView(BaseModel):
    id: int
    round: str
    decision: str
    reason: str
    reviewer: str
    at: datetime


class AppealView(BaseModel):
    id: int
    state: str
    text: str
    by: str
    at: datetime
    reason: str | None
    decided_by: str | None
    decided_at: datetime | None


class FindingView(BaseModel):
    """Something to look at on a call. ``actions`` are what the viewer may do with it now."""

    id: int
    key: str
    source: str
    rule: str
    title: str
    outcome: str
    status: str
    category: str | None
    severity: str
    role: str | None
    turn: int | None
    start_ms: int
    end_ms: int
    quote: str | None
    char_start: int | None
    char_end: int | None
    spans: list[dict[str, Any]]
    match: str
    confidence: float | None
    message: str
    suggestion: str | None
    clauses: list[ClauseView]
    measured: dict[str, Any] | None
    would_pass_if: str | None
    state: str
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    reviews: list[ReviewView]
    appeal: AppealView | None
    actions: list[str]


class RuleView(BaseModel):
    """``final_*`` with what people decided; points are null where the pack's weights are not known here."""

    rule: str
    title: str
    outcome: str
    final_outcome: str
    severity: str
    status: str
    level: str | None
    final_level: str | None
    points: float
    final_points: float | None
    max_points: float
    clauses: list[str]
    measured: dict[str, Any] | None
    elements: dict[str, Any] | None


class TurnView(BaseModel):
    number: int
    role: str
    start_ms: int
    end_ms: int
    text: str
    confidence: float | None
    chars: list[list[int]] | None


class ManualView(BaseModel):
    """A manual item of the scheme; ``outcome`` is null until somebody scored it."""

    id: str
    title: str
    clause: str | None
    max_points: float
    outcome: str | None
    points: float | None
    comment: str | None
    by: str | None
    at: datetime | None


class CommentView(BaseModel):
    id: int
    text: str
    at_ms: int | None
    finding_id: int | None
    is_internal: bool
    by: str
    at: datetime


class TransitionView(BaseModel):
    """Who did what, when, why, and with which pack: its name and version, or its digest if it was never
    seen here."""

    at: datetime
    by: str | None
    action: str
    before: str
    after: str
    why: str
    finding_id: int | None
    pack: str


class RecordingView(BaseModel):
    channels: list[str]
    duration_ms: int


class PackView(BaseModel):
    name: str
    version: str
    digest: str


class RuleDifference(BaseModel):
    """A rule of which another judgement says otherwise than the one that is looked at (``here``); ``not_applicable``
    also where a pack has no such rule, or only tries it."""

    rule: str
    title: str
    outcome: str
    here: str


class JudgementView(BaseModel):
    """One judgement of a telephone call, to be set beside the others. ``differences``: from the one looked at."""

    id: int
    run: str
    pack: PackView
    profile: str
    judged_at: datetime
    score: float | None
    verdict: str
    final_score: float | None
    final_verdict: str | None
    state: str
    counts: bool
    differences: list[RuleDifference]


class May(BaseModel):
    """What the viewer may do with this call now."""

    decide: bool
    add: bool
    comment: bool
    score_manual: bool
    unmask: bool


class CallDetail(CallRow):
    """A call with everything on it. ``all_judgements``: this one and the others of the same telephone call that the
    viewer may see, newest first."""

    pack: PackView
    profile: str
    pass_mark: float | None
    why_no_final: str | None
    recogniser: str | None
    metadata: dict[str, Any]
    metrics: dict[str, Any]
    warnings: list[str]
    activity: dict[str, list[list[int]]]
    recording: RecordingView | None
    shared_at: datetime | None
    appeal_until: datetime | None
    rules: list[RuleView]
    findings: list[FindingView]
    turns: list[TurnView]
    manual: list[ManualView]
    comments: list[CommentView]
    history: list[TransitionView]
    all_judgements: list[JudgementView]
    actions: list[str]
    may: May


class CallChanged(BaseModel):
    """What an action changed. ``finding``: the one it was about; ``findings``: all, after an action on the call;
    ``rules``: theirs."""

    call: CallRow
    version: int
    finding: FindingView | None
    findings: list[FindingView]
    rules: list[RuleView]
    manual: list[ManualView]
    comments: list[CommentView]
    all_judgements: list[JudgementView]
    actions: list[str]
    why_no_final: str | None


class AppealRow(AppealView):
    """An appeal in a list. ``actions``: uphold and reject, for whoever may decide it."""

    call: CallRow
    finding_id: int
    rule: str
    title: str
    severity: str
    quote: str | None
    start_ms: int
    actions: list[str]


class AppealList(BaseModel):
    """``next`` is the cursor of the following page."""

    appeals: list[AppealRow]
    next: str | None
