"""What rules are worth (规则效果) and how calls develop (趋势): the pages, and the same figures for programs."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Path, Query
from markupsafe import Markup
from pydantic import BaseModel, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from analyzer.desk import words
from analyzer.desk.access import Principal, allow
from analyzer.desk.masking import Context, contexts_around, veil_of
from analyzer.desk.pages import page
from analyzer.desk.problems import errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.labels import clock
from analyzer.review.agreement import Agreement
from analyzer.review.sampling import Day
from analyzer.review.trends import Figures, Scope, Sums, by_period, pareto, upheld
from analyzer.review.worth import Estimate, Floor, RuleWorth
from analyzer.store.tables import Call, Finding
from analyzer.store.trends import choices, conditions, figures, lately, local_zone
from analyzer.store.worth import findings_behind, rules_worth, second_agreement
from analyzer.web import charts
from analyzer.web.sections import STATUSES, estimate, headlines, percent, scope_words, sections

MOST_ID = 2**31 - 1
PAGE = 50
DECISIONS = {**{one.value: word for one, word in words.DECISIONS.items()}, "undecided": "未复核"}

Reviewing = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Person = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
Text = Annotated[str, Field(max_length=120)]
Decision = Literal["confirmed", "overturned", "unsure", "undecided"]


# ---- asked


class Period(Sent):
    """Local days, both included; without any the 30 days up to the newest call. ``all`` takes every call."""

    since: Day | None = Field(None, alias="from")
    until: Day | None = Field(None, alias="to")
    team: Text = ""
    agent: Text = ""
    all: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty_is_nothing(cls, fields: dict[str, object]) -> dict[str, object]:
        """A form sends its empty fields."""
        return {name: value for name, value in fields.items() if value not in ("", [""])}

    def scope(self, usual: Scope) -> Scope:
        if self.all or self.since or self.until:
            return Scope(self.since, self.until, self.team, self.agent)
        return replace(usual, team=self.team, agent=self.agent)


class WorthPeriod(Period):
    """``floor``, ``least``: a rule is proposed for trial where the upper end of its precision's interval is below the
    floor, on at least so many decisions; without them as the desk is set."""

    floor: float | None = Field(None, gt=0, le=1)
    least: int | None = Field(None, ge=1, le=100_000)


By = Literal["day", "team", "agent", "rule", "hour", "rate", "appeal"]


class TrendsPeriod(Period):
    """``by``: only this part of the answer."""

    by: By | None = None


class FindingsPeriod(Period):
    """``after``: the id of the last finding of the page before."""

    decision: Decision | None = None
    after: int = Field(0, ge=0, le=MOST_ID)


# ---- answered


class Share(BaseModel):
    """A share 0..1 with its 95 % interval; null where it rests on nothing. ``n``: on how much it rests."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, one: Estimate) -> Share:
        return cls(value=one.value, low=one.low, high=one.high, n=one.n)


class AgreementView(BaseModel):
    """``method``: cohen (two reviewers) or fleiss (several). ``kappa`` is null where ``why`` says."""

    method: str
    n: int
    observed: float | None
    kappa: float | None
    why: str | None

    @classmethod
    def of(cls, one: Agreement) -> AgreementView:
        return cls(**asdict(one))


class RuleView(BaseModel):
    """``flagged`` findings claim a violation; ``resolved`` are those of which the rule itself was unsure, decided by
    people. ``proposal``: trial, where the rule is surely below the floor. ``agreement`` is of blind second reviews."""

    rule: str
    title: str
    status: str
    flagged: int
    confirmed: int
    overturned: int
    unsure: int
    resolved: int
    precision: Share
    recall: Share
    proposal: str | None
    agreement: AgreementView | None


class Worth(BaseModel):
    since: date | None
    until: date | None
    floor: float
    least: int
    agreement: AgreementView
    rules: list[RuleView]


class Group(BaseModel):
    """Calls of one day (week, month), team or agent; ``violations`` are findings of violated rules."""

    key: str
    title: str
    calls: int
    mean_score: float | None
    passed: int
    failed: int
    review: int
    criticals: int
    majors: int
    minors: int
    violations: int

    @classmethod
    def of(cls, one: Sums) -> Group:
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class RuleCount(BaseModel):
    """``share``: of all violations, that of this rule and of those before it."""

    rule: str
    title: str
    severity: str
    calls: int
    share: float


class HourView(BaseModel):
    weekday: int
    hour: int
    calls: int
    violations: int


class AppealsView(BaseModel):
    upheld: int
    rejected: int
    open: int
    share: Share


class Trends(BaseModel):
    """What ``by`` asked for, else everything. ``unit`` is that of ``periods``: day | week | month."""

    since: date | None
    until: date | None
    unit: str
    total: Group
    periods: list[Group] | None = None
    teams: list[Group] | None = None
    agents: list[Group] | None = None
    rules: list[RuleCount] | None = None
    hours: list[HourView] | None = None
    rates: list[float] | None = None
    appeals: AppealsView | None = None


# ---- routes


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    _add_api(app, desk)
    _add_pages(app, desk)


def _add_api(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/worth", tags=["insight"], responses=errors(401, 403, 422))
    def worth(who: Reviewing, asked: Annotated[WorthPeriod, Query()]) -> Worth:
        """What people's decisions say of each rule."""
        found, agreement, per_rule = _worth(desk, who, asked)
        floor = floor_of(desk, asked)
        return Worth(
            since=found.scope.since,
            until=found.scope.until,
            floor=floor.precision,
            least=floor.least,
            agreement=AgreementView.of(agreement),
            rules=[_rule_view(rule, per_rule.get(rule.rule)) for rule in found.worth],
        )

    @app.get("/api/desk/trends", tags=["insight"], responses=errors(401, 403, 422))
    def trends(who: Person, asked: Annotated[TrendsPeriod, Query()]) -> Trends:
        """How calls develop; an agent's are their own."""
        return _trends_view(collect(desk, who, asked), asked.by)


def _add_pages(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/trends", tags=["pages"])
    def trends_page(request: Request, who: Person, asked: Annotated[Period, Query()]) -> Response:
        """趋势."""
        found = collect(desk, who, asked)
        return page(
            request, "trends", who, figures=found, scope=scope_words(found), headlines=headlines(found),
            sections=sections(found), svg=_markup, **_filters(desk, who, asked, found.scope),
        )  # fmt: skip

    @app.get("/worth", tags=["pages"])
    def worth_page(request: Request, who: Reviewing, asked: Annotated[WorthPeriod, Query()]) -> Response:
        """规则效果."""
        found, agreement, per_rule = _worth(desk, who, asked)
        floor = floor_of(desk, asked)
        return page(
            request, "worth", who, rules=sorted(found.worth, key=_urgency), agreement=agreement, per_rule=per_rule,
            floor=floor, scope=scope_words(found), statuses=STATUSES, estimate=estimate, percent=percent,
            interval=lambda share: interval_of(share, floor.precision), **_filters(desk, who, asked, found.scope),
        )  # fmt: skip

    @app.get("/worth/{rule}", tags=["pages"], responses=errors(404))
    def rule_page(
        request: Request,
        rule: Annotated[str, Path(max_length=120)],
        who: Reviewing,
        asked: Annotated[FindingsPeriod, Query()],
    ) -> Response:
        """The findings behind a rule's figures, without those of calls that the viewer reviews blind."""
        at = desk.clock()
        with desk.store.reading() as session:
            zone = local_zone(at)
            scope = asked.scope(lately(session, who, zone))
            rows = findings_behind(
                session, conditions(who, scope, zone), rule, asked.decision, after=asked.after, limit=PAGE + 1
            )
            contexts = contexts_around(session, veil_of(session, who), [finding for finding, _ in rows[:PAGE]])
            shown = [_found(contexts[finding.id], finding, call) for finding, call in rows[:PAGE]]
        further = rows[PAGE - 1][0].id if len(rows) > PAGE else None
        return page(
            request, "worth_findings", who, rule=rule, title=shown[0]["title"] if shown else rule, rows=shown,
            decision=asked.decision, decisions=DECISIONS, further=further, **_filters(desk, who, asked, scope),
        )  # fmt: skip


def _urgency(rule: RuleWorth) -> tuple[bool, int]:
    """What a lead has to look at first: rules to be demoted, then those that flag most."""
    return rule.proposal is None, -rule.flagged


def _markup(ours: str) -> Markup:
    """A chart of ours; what it says is escaped in it."""
    return Markup(ours)  # noqa: S704


def interval_of(share: Estimate, floor: float | None = None) -> Markup:
    """A share's interval as a small bar; nothing where it is unknown."""
    if share.value is None or share.low is None or share.high is None:
        return Markup("")
    return _markup(charts.interval(share.value, share.low, share.high, estimate(share), floor=floor))


def _filters(desk: ReviewDesk, who: Principal, asked: Period, scope: Scope) -> dict[str, Any]:
    """What the filter form of a page shows, and the query that keeps it."""
    with desk.store.reading() as session:
        teams, agents = choices(session, who)
    kept = {"from": scope.since, "to": scope.until, "team": asked.team, "agent": asked.agent, "all": asked.all or ""}
    query = urlencode({name: str(value) for name, value in kept.items() if value})
    return {"teams": teams, "agents": agents, "filter": scope, "query": query}


def _found(context: Context, finding: Finding, call: Call) -> dict[str, object]:
    return {
        "id": finding.id, "title": finding.title, "call": call.id, "call_id": call.call_id, "agent": call.agent_id,
        "started_at": call.started_at, "at": clock(finding.start_ms), "category": finding.category,
        "quote": context.quote(finding) or context.message(finding, finding.message), "state": finding.state,
        "decision": "overturned" if finding.state == "upheld" else finding.decision or "undecided",
    }  # fmt: skip


# ---- figures


def collect(desk: ReviewDesk, who: Principal, asked: Period) -> Figures:
    """The trends of the calls that this person may see. An agent's are their own shared ones: nobody to compare with,
    and no team, whose average would be theirs alone."""
    zone = local_zone(desk.clock())
    with desk.store.reading() as session:
        found = figures(session, who, asked.scope(lately(session, who, zone)), zone)
    return replace(found, teams=(), agents=()) if who.role == "agent" else found


def collect_all(desk: ReviewDesk, who: Principal, asked: Period, floor: Floor) -> Figures:
    """Trends and what the rules are worth, of the same calls."""
    zone = local_zone(desk.clock())
    with desk.store.reading() as session:
        scope = asked.scope(lately(session, who, zone))
        of = conditions(who, scope, zone)
        found = figures(session, who, scope, zone)
        agreement, _ = second_agreement(session, of)
        return replace(found, worth=tuple(rules_worth(session, of, floor)), agreement=agreement)


def floor_of(desk: ReviewDesk, asked: WorthPeriod) -> Floor:
    usual = desk.settings.review
    return Floor(asked.floor or usual.precision_floor, asked.least or usual.floor_decisions)


def _worth(desk: ReviewDesk, who: Principal, asked: WorthPeriod) -> tuple[Figures, Agreement, dict[str, Agreement]]:
    zone = local_zone(desk.clock())
    with desk.store.reading() as session:
        scope = asked.scope(lately(session, who, zone, days=90))
        of = conditions(who, scope, zone)
        rules = rules_worth(session, of, floor_of(desk, asked))
        agreement, per_rule = second_agreement(session, of)
    return Figures(scope=scope, total=Sums("", "合计"), worth=tuple(rules)), agreement, per_rule


def _rule_view(rule: RuleWorth, agreement: Agreement | None) -> RuleView:
    counts = {name: getattr(rule, name) for name in RuleView.model_fields if name not in _COMPOUND}
    return RuleView(
        **counts, precision=Share.of(rule.precision), recall=Share.of(rule.recall),
        agreement=None if agreement is None else AgreementView.of(agreement),
    )  # fmt: skip


_COMPOUND = ("precision", "recall", "agreement")


def _trends_view(found: Figures, by: By | None) -> Trends:
    share = upheld(found.appeals)
    parts: dict[str, tuple[str, Any]] = {
        "day": ("periods", [Group.of(one) for one in by_period(found.days, found.unit)]),
        "team": ("teams", [Group.of(one) for one in found.teams]),
        "agent": ("agents", [Group.of(one) for one in found.agents]),
        "rule": ("rules", [
            RuleCount(rule=one.rule, title=one.title, severity=one.severity, calls=one.calls, share=so_far)
            for one, so_far in pareto(found.rules)
        ]),
        "hour": ("hours", [HourView(**asdict(one)) for one in found.hours]),
        "rate": ("rates", list(found.rates)),
        "appeal": ("appeals", AppealsView(
            **{name: sum(getattr(one, name) for one in found.appeals) for name in ("upheld", "rejected", "open")},
            share=Share(value=share.share, low=share.low, high=share.high, n=share.decided),
        )),
    }  # fmt: skip
    chosen = [part for name, part in parts.items() if by in (None, name)]
    return Trends(
        since=found.scope.since, until=found.scope.until, unit=found.unit, total=Group.of(found.total),
        **dict(chosen),
    )  # fmt: skip
