"""推送设置: addresses that are told what happens. For admins."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Path
from pydantic import BaseModel, Field, HttpUrl, field_validator
from sqlalchemy import func, select
from starlette.requests import Request
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.pages import page
from analyzer.desk.problems import errors, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.store import audit, webhooks
from analyzer.store.calls import MOST_ID
from analyzer.store.tables import Delivery, Webhook

Admin = Annotated[Principal, Depends(allow("admin"))]
Number = Annotated[int, Path(ge=1, le=MOST_ID)]
_RECENT = 50


class WebhookView(BaseModel):
    """``waiting``, ``given_up``: deliveries."""

    id: int
    url: str
    events: list[str]
    is_active: bool
    created_at: datetime
    waiting: int
    given_up: int


class NewWebhookView(WebhookView):
    """With its secret, which is shown this once."""

    secret: str


class DeliveryView(BaseModel):
    id: int
    event: str
    state: str
    tries: int
    next_at: datetime
    last_error: str | None
    created_at: datetime


class Wanted(Sent):
    """``url``: where to; ``events``: of which, see /admin/webhooks."""

    url: HttpUrl = Field(max_length=500)
    events: list[str] = Field(min_length=1, max_length=len(webhooks.EVENTS))

    @field_validator("events")
    @classmethod
    def known(cls, events: list[str]) -> list[str]:
        unknown = sorted(set(events) - set(webhooks.EVENTS))
        if unknown:
            raise ValueError(f"no such events; there are {', '.join(webhooks.EVENTS)}")
        return list(dict.fromkeys(events))


class WebhookList(BaseModel):
    webhooks: list[WebhookView]
    next: None = None


class DeliveryList(BaseModel):
    deliveries: list[DeliveryView]
    next: None = None


class Removed(BaseModel):
    id: int


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/admin/webhooks", tags=["pages"])
    def webhook_page(request: Request, who: Admin) -> Response:
        """Addresses that are told what happens."""
        return page(request, "admin_webhooks", who, hooks=_views(desk), events=webhooks.EVENTS)

    @app.get("/api/desk/webhooks", tags=["webhooks"])
    def listed(who: Admin) -> WebhookList:
        return WebhookList(webhooks=_views(desk))

    @app.post("/api/desk/webhooks", tags=["webhooks"], status_code=201)
    def add(who: Admin, wanted: Wanted) -> NewWebhookView:
        """A new address, with the secret that its requests are signed with."""
        assert who.user_id is not None
        secret = secrets.token_urlsafe(32)
        with desk.store.writing() as session:
            hook = Webhook(
                url=str(wanted.url), secret=secret, events=list(wanted.events), created_by=who.user_id,
                created_at=desk.clock(), is_active=True,
            )  # fmt: skip
            session.add(hook)
            session.flush()
            audit.append(session, who.actor, "webhook.added", f"webhook:{hook.id}", {"events": list(wanted.events)})
        return NewWebhookView(**_view(hook, 0, 0).model_dump(), secret=secret)

    @app.delete("/api/desk/webhooks/{hook_id}", tags=["webhooks"], responses=errors(404))
    def remove(who: Admin, hook_id: Number) -> Removed:
        """No more events for this address; what waited for it is dropped."""
        with desk.store.writing() as session:
            hook = session.get(Webhook, hook_id)
            if hook is None:
                raise not_found("没有这个推送地址")
            session.delete(hook)
            session.flush()
            audit.append(session, who.actor, "webhook.removed", f"webhook:{hook_id}")
        return Removed(id=hook_id)

    @app.get("/api/desk/webhooks/{hook_id}/deliveries", tags=["webhooks"], responses=errors(404))
    def deliveries(who: Admin, hook_id: Number) -> DeliveryList:
        """The newest deliveries and how they went."""
        with desk.store.reading() as session:
            if session.get(Webhook, hook_id) is None:
                raise not_found("没有这个推送地址")
            newest = select(Delivery).where(Delivery.webhook_id == hook_id).order_by(Delivery.id.desc()).limit(_RECENT)
            views = [DeliveryView.model_validate(one, from_attributes=True) for one in session.scalars(newest)]
        return DeliveryList(deliveries=views)


def _views(desk: ReviewDesk) -> list[WebhookView]:
    with desk.store.reading() as session:
        counts = {
            (hook_id, state): count
            for hook_id, state, count in session.execute(
                select(Delivery.webhook_id, Delivery.state, func.count()).group_by(Delivery.webhook_id, Delivery.state)
            )
        }
        hooks = session.scalars(select(Webhook).order_by(Webhook.id)).all()
    return [_view(hook, counts.get((hook.id, "waiting"), 0), counts.get((hook.id, "given_up"), 0)) for hook in hooks]


def _view(hook: Webhook, waiting: int, given_up: int) -> WebhookView:
    return WebhookView(
        id=hook.id, url=hook.url, events=hook.events, is_active=hook.is_active, created_at=hook.created_at,
        waiting=waiting, given_up=given_up,
    )  # fmt: skip
