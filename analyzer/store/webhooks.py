"""Events for addresses outside: put into the outbox in the transaction of what they tell of, delivered later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.store.tables import Delivery, Webhook


def emit(session: Session, event: str, payload: Mapping[str, Any], *, at: datetime | None = None) -> int:
    """Queue an event for every active webhook that asked for it.

    event    as ``finding.decided``
    payload  ids and states; never words
    returns  how many webhooks will be told
    """
    at = at or datetime.now(UTC)
    hooks = [hook for hook in session.scalars(select(Webhook).where(Webhook.is_active)) if event in hook.events]
    session.add_all(
        Delivery(webhook_id=hook.id, event=event, payload=dict(payload), state="waiting", next_at=at, created_at=at)
        for hook in hooks
    )
    return len(hooks)
