"""``/api/desk/rules`` and ``/packs``: the catalogue, trying a rule, editing, back-testing and publishing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.orm import Session

from analyzer.catalog import STANDARD, PackFiles, load_pack, pack_folder, profiles
from analyzer.desk.access import Principal, allow
from analyzer.desk.problems import conflict, errors, invalid, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.rulework import MOST_CALLS, Job, Replays, folder_in_force, opened, profile_titles
from analyzer.desk.sent import Moment, Sent
from analyzer.errors import ConfigError, InputError
from analyzer.publishing import Edit, edited, examine, publish, try_dialogue, versions
from analyzer.rulebook import rule_rows, sheet_of
from analyzer.store import audit, drafts, webhooks
from analyzer.store.calls import MOST_ID
from analyzer.store.tables import CaseDraft, RuleDraft

_Name = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,80}$")]
Number = Annotated[int, Path(ge=1, le=MOST_ID)]
Reader = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
Reviewer = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Editor = Annotated[Principal, Depends(allow("lead", "admin"))]
ProfileName = Annotated[str, StringConstraints(pattern=r"^[\w-]{1,80}$")]
_Text = Annotated[str, StringConstraints(max_length=60_000)]


class Tried(Sent):
    """A dialogue in the notation of rule cases; ``drafts`` are edits to judge it with."""

    dialogue: _Text
    drafts: list[Annotated[int, Field(ge=1, le=MOST_ID)]] = Field([], max_length=50)
    profile: ProfileName = STANDARD


class Begun(Sent):
    """The file to edit; for a rule its id is enough."""

    rule: _Name


class Written(Sent):
    text: _Text
    version: int = Field(ge=1, le=MOST_ID)


class Replayed(Sent):
    drafts: list[Annotated[int, Field(ge=1, le=MOST_ID)]] = Field(min_length=1, max_length=50)
    most: int = Field(MOST_CALLS, ge=1, le=MOST_CALLS)
    since: Moment | None = None
    profile: ProfileName = STANDARD


class Publication(Sent):
    drafts: list[Annotated[int, Field(ge=1, le=MOST_ID)]] = Field(min_length=1, max_length=50)
    version: Annotated[str, StringConstraints(pattern=r"^[\w][\w.-]{0,39}$")]
    note: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    profile: ProfileName = STANDARD


class FaultView(BaseModel):
    file: str
    line: int | None
    message: str


class ExaminedView(BaseModel):
    """``faults``: the pack would not load; ``failing``: cases that no longer hold."""

    is_publishable: bool
    faults: list[FaultView]
    failing: list[FaultView]
    cases: int


class CaseDraftView(BaseModel):
    id: int
    rule: str
    call_pk: int | None
    finding_id: int | None
    yaml: str
    created_at: datetime


class DraftView(BaseModel):
    id: int
    rule: str
    file: str
    text: str
    base_digest: str
    is_stale: bool
    author_id: int
    updated_at: datetime
    version: int
    cases: list[CaseDraftView]


class DraftList(BaseModel):
    drafts: list[DraftView]
    next: None = None


class Settled(BaseModel):
    id: int
    state: str


class FlipView(BaseModel):
    """A call that would be judged differently: score and verdict before and after, outcomes by rule."""

    id: int
    call_id: str
    score: tuple[float | None, float | None]
    verdict: tuple[str, str]
    rules: dict[str, tuple[str | None, str | None]]


class JobView(BaseModel):
    id: int
    state: str
    files: list[str]
    of: int
    done: int
    flips: list[FlipView]
    faults: int
    error: str | None


class RuleRow(BaseModel):
    """A rule of the catalogue. ``runs``: it is judged in the scheme; ``max_points`` and ``veto`` are the scheme's."""

    rule: str
    title: str
    status: str
    severity: str
    kind: str
    clauses: list[str]
    max_points: float
    veto: bool
    runs: bool


class PackShown(BaseModel):
    name: str
    version: str
    digest: str
    profile: str


class RuleList(BaseModel):
    """``profiles``: title by name of the schemes that the pack has."""

    pack: PackShown
    profiles: dict[str, str]
    rules: list[RuleRow]
    next: None = None


class VersionView(BaseModel):
    name: str
    version: str
    digest: str
    author: str | None
    note: str | None
    at: datetime | None
    changed: list[str]
    in_force: bool


class PackList(BaseModel):
    packs: list[VersionView]
    next: None = None


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    replays = Replays(desk.store, desk.packs)
    _add_reading(app, desk)
    _add_drafts(app, desk)
    _add_replays(app, desk, replays)
    _add_publishing(app, desk)
    _add_sheets(app, desk)  # last: its path would take the others' for rules


def in_profile(desk: ReviewDesk, profile: str) -> PackFiles:
    """The pack in force, weighed by a scheme (质检方案). raises Problem 422 for one that it does not have"""
    folder = folder_in_force(desk.packs)
    known = profiles(folder)
    if profile not in known:
        raise invalid(f"没有质检方案“{profile}”；可选：{'、'.join(known)}")
    return opened(folder, profile)


def _add_reading(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/rules", tags=["rules"], responses=errors(422))
    def rules(who: Reader, profile: ProfileName = STANDARD) -> RuleList:
        """Every rule of the pack in force, drafts and retired ones too, with the points of a scheme."""
        files = in_profile(desk, profile)
        pack = files.pack
        return RuleList(
            pack=PackShown(name=pack.name, version=pack.version, digest=pack.digest, profile=profile),
            profiles=profile_titles(files.folder),
            rules=[RuleRow(**row) for row in rule_rows(files)],
        )

    @app.post("/api/desk/rules/try", tags=["rules"], responses=errors(409, 422))
    def try_rules(who: Reviewer, tried: Tried) -> dict[str, Any]:
        """The report of a pasted dialogue, by the pack in force or with drafts."""
        base = in_profile(desk, tried.profile)
        try:
            if not tried.drafts:
                return try_dialogue(base.pack, tried.dialogue)
            with desk.store.reading() as session:
                edits = _edits(session, tried.drafts)
            with edited(base.folder, edits) as folder:
                return try_dialogue(load_pack(folder, tried.profile), tried.dialogue)
        except (InputError, ConfigError) as error:
            raise invalid(str(error)) from None

    @app.get("/api/desk/packs", tags=["rules"])
    def packs(who: Reader) -> PackList:
        """The shipped pack and what was published since, newest first."""
        return PackList(packs=_versions(desk))


def _add_drafts(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/rules/drafts", tags=["rules"])
    def open_drafts(who: Editor) -> DraftList:
        """Edits that are neither published nor dropped."""
        with desk.store.reading() as session:
            return DraftList(drafts=[_draft_view(desk, session, draft) for draft in drafts.open_drafts(session)])

    @app.post("/api/desk/rules/drafts", tags=["rules"], status_code=201, responses=errors(404))
    def begin(who: Editor, begun: Begun) -> DraftView:
        """Begin to edit a rule, or go on with the edit that somebody began."""
        base = folder_in_force(desk.packs)
        files = opened(base, STANDARD)
        file = files.files.get(begun.rule)
        if file is None:
            raise not_found("没有这条规则")
        place = file.path.removeprefix(base.as_posix()).lstrip("/")
        assert who.user_id is not None
        with desk.store.writing() as session:
            draft = drafts.draft_of(session, place)
            if draft is None:
                draft = drafts.begin_draft(
                    session, rule=begun.rule, file=place, base_digest=files.pack.digest, text=file.text,
                    author_id=who.user_id, at=desk.clock(),
                )  # fmt: skip
                audit.append(session, who.actor, "draft.begun", f"draft:{draft.id}", {"rule": begun.rule})
            return _draft_view(desk, session, draft)

    @app.put("/api/desk/rules/drafts/{draft_id}", tags=["rules"], responses=errors(404, 409))
    def write(who: Editor, draft_id: Number, written: Written) -> DraftView:
        """Keep what was written. 409 if somebody else wrote since."""
        with desk.store.writing() as session:
            draft = _draft(session, draft_id)
            if draft.version != written.version:
                raise conflict("其他人刚刚修改过这份草稿，请刷新后重试")
            draft.text, draft.updated_at, draft.author_id = written.text, desk.clock(), who.user_id or 0
            session.flush()
            audit.append(session, who.actor, "draft.written", f"draft:{draft.id}", {"characters": len(draft.text)})
            return _draft_view(desk, session, draft)

    @app.delete("/api/desk/rules/drafts/{draft_id}", tags=["rules"], responses=errors(404))
    def drop(who: Editor, draft_id: Number) -> Settled:
        with desk.store.writing() as session:
            drafts.close_drafts(session, [_draft(session, draft_id)], drafts.DROPPED, at=desk.clock())
            audit.append(session, who.actor, "draft.dropped", f"draft:{draft_id}")
        return Settled(id=draft_id, state=drafts.DROPPED)

    @app.post("/api/desk/rules/drafts/{draft_id}/examine", tags=["rules"], responses=errors(404, 422))
    def examined(who: Editor, draft_id: Number, profile: ProfileName = STANDARD) -> ExaminedView:
        """Load the pack with the edit, in a scheme, and run the cases it can change. Takes seconds."""
        base = in_profile(desk, profile).folder
        with desk.store.reading() as session:
            edit = _edit(_draft(session, draft_id))
        found = examine(base, [edit], profile=profile)
        return ExaminedView(
            is_publishable=found.is_publishable, cases=found.cases,
            faults=[FaultView(file=one.file, line=one.line, message=one.message) for one in found.faults],
            failing=[FaultView(file=one.file, line=one.line, message=one.message) for one in found.failing],
        )  # fmt: skip

    @app.post("/api/desk/case-drafts/{case_id}/{verdict}", tags=["rules"], responses=errors(404))
    def settle_case(
        who: Editor, case_id: Number, verdict: Annotated[str, Path(pattern="^(taken|dropped)$")]
    ) -> Settled:
        """Note that an example was taken into a rule's cases, or dropped."""
        with desk.store.writing() as session:
            if not drafts.settle_case(session, case_id, verdict):
                raise not_found("没有这个待处理的案例")
            audit.append(session, who.actor, f"case.{verdict}", f"case:{case_id}")
        return Settled(id=case_id, state=verdict)


def _add_replays(app: FastAPI, desk: ReviewDesk, replays: Replays) -> None:
    @app.post("/api/desk/rules/backtest", tags=["rules"], status_code=202, responses=errors(404, 422))
    def backtest(who: Editor, asked: Replayed) -> JobView:
        """Judge stored calls again with these edits, before and after in the same scheme; ask for the job to see which
        calls would flip."""
        in_profile(desk, asked.profile)
        with desk.store.reading() as session:
            edits = _edits(session, asked.drafts)
        since = asked.since.astimezone() if asked.since is not None else None
        return _job_view(replays.start(edits, profile=asked.profile, most=asked.most, since=since))

    @app.get("/api/desk/rules/backtest/{job_id}", tags=["rules"], responses=errors(404))
    def backtested(who: Editor, job_id: Number) -> JobView:
        job = replays.find(job_id)
        if job is None:
            raise not_found("没有这次回测；服务器可能已重启，请重新运行")
        return _job_view(job)


def _add_publishing(app: FastAPI, desk: ReviewDesk) -> None:
    @app.post("/api/desk/packs", tags=["rules"], status_code=201, responses=errors(404, 422))
    def publish_drafts(who: Editor, asked: Publication) -> VersionView:
        """Make a version of these edits, whose cases must hold in the scheme. Calls that begin from now on are
        judged by it; old scores keep their pack."""
        with desk.store.reading() as session:
            edits = _edits(session, asked.drafts)
        base = in_profile(desk, asked.profile).folder
        try:
            made = publish(
                base, edits, desk.packs, version=asked.version, author=who.display_name,
                note=asked.note, at=desk.clock(), profile=asked.profile,
            )  # fmt: skip
        except ConfigError as error:
            raise invalid(str(error)) from None
        with desk.store.writing() as session:
            found = [draft for draft_id in asked.drafts if (draft := drafts.find_draft(session, draft_id))]
            drafts.close_drafts(session, found, drafts.PUBLISHED, at=desk.clock())
            audit.append(session, who.actor, "pack.published", f"pack:{made.digest}", {"drafts": asked.drafts})
            webhooks.emit(session, "pack.published", {"digest": made.digest, "version": made.version}, at=desk.clock())
        desk.on_published(made.folder)
        return next(one for one in _versions(desk) if one.digest == made.digest)


def _add_sheets(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/rules/{rule}", tags=["rules"], responses=errors(404, 422))
    def rule_sheet(
        who: Reader, rule: Annotated[str, Path(max_length=120)], profile: ProfileName = STANDARD
    ) -> dict[str, Any]:
        """What a rule means: clauses, words, options, examples, and what it does not flag."""
        files = in_profile(desk, profile)
        if rule not in files.files:
            raise not_found("没有这条规则")
        return sheet_of(files, rule).as_json()


# ---- views


def _versions(desk: ReviewDesk) -> list[VersionView]:
    in_force = folder_in_force(desk.packs)
    shipped = opened(pack_folder(), STANDARD).pack
    return [
        *(
            VersionView(
                name=one.name,
                version=one.version,
                digest=one.digest,
                author=one.author,
                note=one.note,
                at=one.at,
                changed=list(one.changed),
                in_force=one.folder == in_force,
            )
            for one in versions(desk.packs)
        ),
        VersionView(
            name=shipped.name,
            version=shipped.version,
            digest=shipped.digest,
            author=None,
            note=None,
            at=None,
            changed=[],
            in_force=in_force == pack_folder(),
        ),
    ]


def _draft(session: Session, draft_id: int) -> RuleDraft:
    draft = drafts.find_draft(session, draft_id)
    if draft is None:
        raise not_found("没有这份草稿，或已经发布、作废")
    return draft


def _edits(session: Session, draft_ids: Sequence[int]) -> list[Edit]:
    return [_edit(_draft(session, draft_id)) for draft_id in dict.fromkeys(draft_ids)]


def _edit(draft: RuleDraft) -> Edit:
    return Edit(draft.file, draft.text)


def _draft_view(desk: ReviewDesk, session: Session, draft: RuleDraft) -> DraftView:
    in_force = opened(folder_in_force(desk.packs), STANDARD).pack.digest
    return DraftView(
        id=draft.id, rule=draft.rule, file=draft.file, text=draft.text, base_digest=draft.base_digest,
        is_stale=draft.base_digest != in_force, author_id=draft.author_id, updated_at=draft.updated_at,
        version=draft.version, cases=[_case_view(one) for one in drafts.open_cases(session, draft.rule)],
    )  # fmt: skip


def _case_view(case: CaseDraft) -> CaseDraftView:
    return CaseDraftView.model_validate(case, from_attributes=True)


def _job_view(job: Job) -> JobView:
    changes = job.result.changes if job.result is not None else []
    flipped = []
    for change in changes:
        number, _, call_id = change.call_id.partition(" ")
        flipped.append(
            FlipView(
                id=int(number),
                call_id=call_id,
                score=(change.before.score, change.after.score),
                verdict=(change.before.verdict, change.after.verdict),
                rules=dict(change.rules),
            )
        )
    return JobView(
        id=job.id, state=job.state, files=list(job.files), of=job.of, done=job.done, flips=flipped,
        faults=job.result.faults if job.result is not None else 0, error=job.error,
    )  # fmt: skip
