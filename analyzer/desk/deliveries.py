"""Telling webhooks what happened: one thread that empties the outbox (``analyzer.store.webhooks``).

A request carries ``{"id", "event", "at", "data"}`` and the header ``Analyzer-Signature: t=SECONDS,v1=HEX``:
HMAC-SHA256, keyed with the webhook's secret, over ``SECONDS.BODY``. The receiver computes the same and refuses old
seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from analyzer.errors import UnavailableError
from analyzer.store import Store, webhooks
from analyzer.store.tables import Delivery, Webhook

log = logging.getLogger(__name__)

SIGNATURE = "Analyzer-Signature"
AT_ONCE = 20
LOOK_EVERY_S = 1.0
TIMEOUT_S = 10.0


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The header's value.

    >>> signature("s", 1, b"{}")[:12]
    't=1,v1=65cd0'
    """
    made = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={made}"


class Deliverer:
    """Runs until ``stop``. What fails is tried again later, also by the next process."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._clock = store, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience_s: float = TIMEOUT_S) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def deliver_due(self, client: httpx.Client) -> int:
        """Try everything that is due now. Returns how many were tried."""
        with self._store.reading() as session:
            found = webhooks.due(session, self._clock(), AT_ONCE)
        for delivery, hook in found:
            error = self._try(client, delivery, hook)
            with self._store.writing() as session:
                webhooks.settle(session, delivery.id, error, self._clock())
        return len(found)

    def _work(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while not self._stopping.is_set():
                try:
                    count = self.deliver_due(client)
                except UnavailableError as error:
                    log.warning("webhooks: the outbox waits: %s", error)
                    count = 0
                except Exception:
                    log.exception("webhooks: the outbox could not be read")
                    count = 0
                if count < AT_ONCE:
                    self._stopping.wait(LOOK_EVERY_S)

    def _try(self, client: httpx.Client, delivery: Delivery, hook: Webhook) -> str | None:
        """What went wrong; None if it was taken."""
        at = delivery.created_at.isoformat().replace("+00:00", "Z")
        told = {"id": delivery.id, "event": delivery.event, "at": at, "data": delivery.payload}
        body = json.dumps(told, separators=(",", ":")).encode()
        signed = signature(hook.secret, int(self._clock().timestamp()), body)
        headers = {"Content-Type": "application/json", SIGNATURE: signed}
        try:
            answer = client.post(hook.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return None if answer.is_success else f"HTTP {answer.status_code}"
