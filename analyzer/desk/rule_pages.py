"""Pages about rules: the catalogue, one rule, its editor, trying it on a dialogue, versions of the pack."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from analyzer.catalog import STANDARD
from analyzer.desk.access import Principal, allow
from analyzer.desk.pages import page
from analyzer.desk.problems import not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.rules import ProfileName, in_profile
from analyzer.desk.rulework import folder_in_force, profile_titles
from analyzer.labels import SEVERITIES
from analyzer.rulebook import TOPICS, rule_rows, sheet_of
from analyzer.web.sections import STATUSES

Reader = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
Reviewer = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Editor = Annotated[Principal, Depends(allow("lead", "admin"))]
RuleId = Annotated[str, Path(max_length=120)]
_PLACES = {
    "quote": "原话", "category": "类别", "element": "要素", "missing": "缺少的要素", "count": "次数", "value": "实测值",
    "low": "下限", "high": "上限",
}  # fmt: skip
_MARK = re.compile(r"\[\[(.+?)\]\]")


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    words: dict[str, Any] = {"severities": SEVERITIES, "statuses": STATUSES, "topics": TOPICS}

    def schemes(chosen: str = STANDARD) -> dict[str, Any]:
        return {"schemes": profile_titles(folder_in_force(desk.packs)), "scheme": chosen}

    @app.get("/rules", tags=["pages"], response_class=HTMLResponse)
    def rules(request: Request, who: Reader, profile: ProfileName = STANDARD) -> HTMLResponse:
        """Every rule of the pack in force."""
        files = in_profile(desk, profile)
        rows = [{**row, "topic": files.files[row["rule"]].path.split("/")[-2]} for row in rule_rows(files)]
        return page(request, "rules", who, rules=rows, pack=files.pack, **schemes(profile), **words)

    @app.get("/rules/try", tags=["pages"], response_class=HTMLResponse)
    def try_rules(request: Request, who: Reviewer) -> HTMLResponse:
        """Judge a pasted dialogue."""
        return page(request, "rule_try", who, **schemes())

    @app.get("/packs", tags=["pages"], response_class=HTMLResponse)
    def packs(request: Request, who: Reviewer) -> HTMLResponse:
        """Versions of the pack, and drafts to publish."""
        return page(request, "packs", who, **schemes())

    @app.get("/rules/{rule}", tags=["pages"], response_class=HTMLResponse)
    def one_rule(request: Request, who: Reader, rule: RuleId, profile: ProfileName = STANDARD) -> HTMLResponse:
        """One rule: meaning, clauses, words, examples."""
        files = in_profile(desk, profile)
        if rule not in files.files:
            raise not_found("没有这条规则")
        shown = {"sheet": sheet_of(files, rule), "pack": files.pack, **schemes(profile), **words}
        return page(request, "rule", who, marked=_marked, legible=_legible, **shown)

    @app.get("/rules/{rule}/edit", tags=["pages"], response_class=HTMLResponse)
    def edit(request: Request, who: Editor, rule: RuleId) -> HTMLResponse:
        """The editor of a rule's file."""
        files = in_profile(desk, STANDARD)
        if rule not in files.files:
            raise not_found("没有这条规则")
        return page(request, "rule_edit", who, rule=rule, title=sheet_of(files, rule).rule.title, **schemes())


def _legible(message: str) -> str:
    """A rule's message without the braces of its file.

    >>> _legible("坐席说了“{quote}”（{category}）")
    '坐席说了“[原话]”（[类别]）'
    """
    return re.sub(r"\{(\w+)\}", lambda found: f"[{_PLACES.get(found[1], found[1])}]", message)


def _marked(call: str) -> Markup:
    """A case's call with its marks as marks."""
    return Markup(_MARK.sub(r"<mark>\1</mark>", str(escape(call.strip()))))  # noqa: S704  escaped just before
