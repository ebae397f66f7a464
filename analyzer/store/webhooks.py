"""Events for addresses outside: put into the outbox in the transaction of what they tell of, delivered later.

A delivery is tried until the other side says 2xx: after 10 s, 20 s, 40 s … at most an hour apart, twelve times, then
given up. So an event may come twice, and late; ``id`` tells the receiver that it has it already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from analyzer.store.tables import Delivery, Webhook

EVENTS: Mapping[str, str] = {
    "call.imported": "新通话入库",
    "call.assigned": "分配复核",
    "call.withdrawn": "撤回分配",
    "call.settled": "双人复核完成",
    "call.shared": "下发坐席",
    "call.acknowledged": "坐席确认",
    "call.finalised": "终审",
    "call.reopened": "重新开启",
    "finding.decided": "判定",
    "finding.added": "补充违规",
    "manual.scored": "人工评分",
    "comment.added": "备注",
    "assignment.done": "复核完成",
    "appeal.made": "提出申诉",
    "appeal.decided": "申诉处理",
    "pack.published": "发布规则包",
}
MOST_TRIES = 12
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
KEPT = timedelta(days=30)  # deliveries that are over
_LONGEST_ERROR = 200


def emit(session: Session, event: str, payload: Mapping[str, Any], *, at: datetime | None = None) -> int:
    """Queue an event for every active webhook that asked for it.

    event    one of ``EVENTS``
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


def due(session: Session, at: datetime, most: int) -> Sequence[tuple[Delivery, Webhook]]:
    """Deliveries to try now, oldest first, each with its address."""
    statement = (
        select(Delivery, Webhook)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.state == "waiting", Delivery.next_at <= at, Webhook.is_active)
        .order_by(Delivery.next_at, Delivery.id)
        .limit(most)
    )
    return [(delivery, hook) for delivery, hook in session.execute(statement)]


def settle(session: Session, delivery_id: int, error: str | None, at: datetime) -> None:
    """Note how a try went. ``error``: what was wrong; None where it was taken."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:  # the webhook was removed meanwhile
        return
    delivery.tries += 1
    delivery.last_error = None if error is None else error[:_LONGEST_ERROR]
    if error is None:
        delivery.state = "delivered"
    elif delivery.tries >= MOST_TRIES:
        delivery.state = "given_up"
    else:
        delivery.next_at = at + min(LONGEST_WAIT, FIRST_WAIT * 2 ** (delivery.tries - 1))


def forget_old(session: Session, at: datetime) -> None:
    """Remove deliveries that were over long ago."""
    session.execute(delete(Delivery).where(Delivery.state != "waiting", Delivery.created_at < at - KEPT))
