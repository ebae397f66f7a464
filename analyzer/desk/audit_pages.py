"""审计日志: who did what, and whether the log was touched. For admins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.pages import ROLE_NAMES, page
from analyzer.desk.problems import errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.desk.words import DESK_WORDS
from analyzer.desk.work import KINDS
from analyzer.review.sampling import Day
from analyzer.store import audit
from analyzer.store.tables import AuditEntry, User
from analyzer.store.webhooks import EVENTS

MOST_SEQ = 2**31 - 1

Admin = Annotated[Principal, Depends(allow("admin"))]

# What people read; other actions are shown as they are.
ACTIONS = {
    **EVENTS,
    "login": "登录", "login.failed": "登录失败", "logout": "退出登录", "password.changed": "修改密码",
    "password.reset": "重设密码", "user.added": "添加用户", "user.changed": "修改用户", "call.viewed": "查看通话",
    "recording.played": "播放录音", "clip.played": "播放片段", "run.imported": "导入运行", "whisper.sent": "发送提示",
    "whisper.asked": "请求发送提示", "recording.copied": "生成播放副本", "segment.heard": "漏检审计",
    "plan.made": "新建抽检计划", "plan.drawn": "抽取通话", "assignment.withdrawn": "撤回分配",
    "calibration.made": "新建校准", "calibration.decided": "校准判定", "calibration.closed": "结束校准",
    "draft.begun": "新建规则草稿",
    "draft.written": "修改规则草稿", "draft.dropped": "放弃规则草稿",
    "case.taken": "采纳规则案例", "case.dropped": "放弃规则案例",
    "figures.exported": "导出报表", "figures.downloaded": "下载报表",
    "webhook.added": "添加推送", "webhook.removed": "删除推送", "backup.made": "备份数据库",
    "recordings.archived": "备份录音", "calls.purged": "清除通话",
    "recordings.purged": "清除录音", "retention.run": "自动清理",
}  # fmt: skip
OBJECTS = {
    "call": "通话", "calls": "通话", "finding": "发现", "user": "用户", "run": "运行", "plan": "抽检计划",
    "calibration": "校准", "draft": "规则草稿", "case": "规则案例", "pack": "规则包", "rule": "规则", "webhook": "推送",
    "backup": "备份", "figures": "报表", "live": "实时通话",
}  # fmt: skip
DETAILS = {
    "address": "来源地址", "agent_id": "工号", "appeal": "申诉", "assignment": "分配", "bleeped": "消音",
    "bytes": "字节", "call": "通话", "calls": "通话数", "changed": "改动", "characters": "字数", "comment": "评论",
    "count": "数量", "days": "天数", "decision": "判定", "digest": "摘要", "display_name": "姓名", "drafts": "草稿",
    "events": "事件", "export": "导出", "files": "文件数", "finding": "发现", "format": "格式", "frame": "抽样范围",
    "ids": "编号", "is_active": "在用", "item": "人工项", "kept": "保留", "kind": "方式", "may_unmask": "可查看原文",
    "missed": "漏检", "missing": "缺少", "outcome": "结果", "recordings": "录音数", "reviewer": "质检员",
    "reviewers": "质检员数", "role": "角色", "round": "轮次", "rule": "规则", "segment": "抽听语句", "state": "状态",
    "team": "班组", "version": "版本", "whisper": "提示",
}  # fmt: skip
VALUES: Mapping[str, Mapping[str, str]] = {
    "changed": DETAILS, "decision": DESK_WORDS["decisions"], "events": EVENTS, "kind": KINDS,
    "outcome": DESK_WORDS["outcomes"], "role": ROLE_NAMES, "round": DESK_WORDS["rounds"],
    "state": DESK_WORDS["states"],
}  # fmt: skip
MACHINES = {"service": "系统接口", "cli": "命令行", "system": "系统"}
_PAGES = {"call": "/calls/{}", "rule": "/rules/{}", "calibration": "/calibrations/{}"}


class AuditQuery(Sent):
    """``from`` and ``to`` are days, both included; ``action`` and ``object`` also match what begins so, if they end in
    ``.`` or ``:``. ``cursor``: the number of the entry before which to go on."""

    actor: Annotated[str, Field(max_length=80)] = ""
    action: Annotated[str, Field(max_length=60)] = ""
    object: Annotated[str, Field(max_length=120)] = ""
    since: Annotated[Day | None, Field(alias="from")] = None
    until: Annotated[Day | None, Field(alias="to")] = None
    cursor: Annotated[int | None, Field(ge=1, le=MOST_SEQ)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Entry(BaseModel):
    """``actor_name``: the display name, where the actor is a user."""

    seq: int
    at: str
    actor: str
    actor_name: str | None
    action: str
    object: str
    details: dict[str, Any]


class AuditList(BaseModel):
    entries: list[Entry]
    next: int | None = None


class Verification(BaseModel):
    """``broken``: the first entry that does not fit, and ``why``. ``head``: note it elsewhere."""

    entries: int
    head: str | None
    broken: int | None = None
    why: str | None = None


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/admin/audit", tags=["pages"])
    def audit_page(request: Request, who: Admin) -> Response:
        """The filter as it is typed: what means nothing filters nothing."""
        asked = _lenient(dict(request.query_params))
        typed, asked.object = asked.object, _object_meant(asked.object)
        with desk.store.reading() as session:
            listed = _listed(session, asked)
            people = session.execute(select(User.id, User.display_name).order_by(User.name).limit(500)).all()
        rows = [
            (entry, ACTIONS.get(entry.action, entry.action), _object_words(entry.object), _link(entry.object),
             [_detail_words(*one) for one in entry.details.items() if f"{one[0]}:{one[1]}" != entry.object])
            for entry in listed.entries
        ]  # fmt: skip
        shown = _shown(asked) | {"object": typed}
        given = {name: text for name, text in shown.items() if text}
        older = {**given, "cursor": listed.next} if listed.next else None
        return page(
            request, "admin_audit", who, rows=rows, asked=shown, older=older, people=people, machines=MACHINES,
            actions=ACTIONS,
        )  # fmt: skip

    @app.get("/api/desk/audit", tags=["audit"])
    def list_audit(who: Admin, asked: Annotated[AuditQuery, Query()]) -> AuditList:
        """Newest first."""
        with desk.store.reading() as session:
            return _listed(session, asked)

    @app.get("/api/desk/audit/verify", tags=["audit"], responses=errors(403))
    def verify(who: Admin) -> Verification:
        """Reads the whole log."""
        with desk.store.reading() as session:
            found = audit.verify(session)
        return Verification(
            entries=found.entries, head=str(found.head) if found.head else None, broken=found.broken, why=found.why
        )


def _listed(session: Session, asked: AuditQuery) -> AuditList:
    found = audit.list_entries(
        session, actor=asked.actor, action=asked.action, object=asked.object, since=_midnight(asked.since),
        until=_midnight(asked.until, days=1), before=asked.cursor, limit=asked.limit + 1,
    )  # fmt: skip
    shown = found[: asked.limit]
    names = _names(session, shown)
    entries = [
        Entry(
            actor_name=names.get(one.actor),
            **{name: getattr(one, name) for name in Entry.model_fields if name != "actor_name"},
        )
        for one in shown
    ]
    return AuditList(entries=entries, next=shown[-1].seq if len(found) > asked.limit else None)


def _names(session: Session, entries: Sequence[AuditEntry]) -> dict[str, str]:
    numbers = {int(one.actor[5:]) for one in entries if one.actor.startswith("user:") and one.actor[5:].isdecimal()}
    found = session.execute(select(User.id, User.display_name).where(User.id.in_(numbers)))
    return {f"user:{number}": name for number, name in found}


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    """When the day begins where this machine stands, or so many days later."""
    if day is None or not date(1970, 1, 2) <= day <= date(9000, 1, 1):
        return None
    return (datetime.combine(day, time()) + timedelta(days=days)).astimezone()


def _lenient(given: dict[str, str]) -> AuditQuery:
    fields: dict[str, Any] = {}
    for name, value in given.items():
        try:
            AuditQuery.model_validate({name: value})
        except ValueError:
            continue
        fields[name] = value
    return AuditQuery.model_validate(fields)


def _shown(asked: AuditQuery) -> dict[str, str]:
    """The filter as its form shows it, without the place in the list."""
    fields = asked.model_dump(by_alias=True, exclude={"cursor", "limit"})
    return {name: "" if value is None else str(value) for name, value in fields.items()}


def _object_words(subject: str) -> str:
    """
    >>> _object_words("call:12"), _object_words("user:unknown"), _object_words("figures:trends")
    ('通话 12', '用户（未知）', '报表（趋势）')
    """
    kind, _, key = subject.partition(":")
    name = OBJECTS.get(kind, kind)
    return f"{name}（{_NAMED[key]}）" if key in _NAMED else f"{name} {key}"


_NAMED = {"unknown": "未知", "trends": "趋势"}


def _object_meant(typed: str) -> str:
    """What is typed as the page shows it, as the log knows it.

    >>> _object_meant("通话 12"), _object_meant("通话12"), _object_meant("call:12"), _object_meant("通话")
    ('call:12', 'call:12', 'call:12', 'call:')
    """
    for kind, name in OBJECTS.items():
        if typed.startswith(name):
            return f"{kind}:{typed.removeprefix(name).strip()}"
    return typed


def _detail_words(name: str, value: Any) -> tuple[str, str]:
    """
    >>> _detail_words("bleeped", False), _detail_words("state", "shared"), _detail_words("ids", [1, 2])
    (('消音', '否'), ('状态', '已下发'), ('编号', '1、2'))
    """
    values = value if isinstance(value, list) else [value]
    return DETAILS.get(name, name), "、".join(_value_words(name, one) for one in values)


def _value_words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    return VALUES.get(name, {}).get(value, str(value)) if isinstance(value, str) else str(value)


def _link(subject: str) -> str | None:
    kind, _, key = subject.partition(":")
    return _PAGES[kind].format(key) if kind in _PAGES and key.isalnum() else None
