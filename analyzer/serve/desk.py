"""What all routes of one server share."""

from __future__ import annotations

import asyncio
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyzer.desk.review_desk import ReviewDesk
from analyzer.live.hub import RETURN_WITHIN_S, Hub
from analyzer.serve.audit import Audit
from analyzer.serve.board import Board
from analyzer.serve.metrics import Metrics
from analyzer.types import Direction, Role

if TYPE_CHECKING:
    from analyzer.serve.senders import Sender

MOST_LEGS = 10_000
LEG_EXPIRES_S = 600.0


@dataclass(frozen=True, slots=True)
class Leg:
    """An AudioSocket connection that is about to come: whose voice of which call it brings."""

    uuid: str
    call_id: str
    role: Role
    direction: Direction
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Legs:
    """Announced legs. Each is good for ten minutes, for one connection, and for that one's coming back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._legs: OrderedDict[str, tuple[float, Leg]] = OrderedDict()

    def announce(self, leg: Leg) -> None:
        self._keep(leg, LEG_EXPIRES_S)
        if len(self._legs) > MOST_LEGS:
            self._legs.popitem(last=False)

    def has_come(self, leg: Leg) -> None:
        self._keep(leg, math.inf)

    def has_left(self, leg: Leg) -> None:
        self._keep(leg, RETURN_WITHIN_S)

    def _keep(self, leg: Leg, seconds: float) -> None:
        self._legs.pop(leg.uuid, None)
        self._legs[leg.uuid] = self._clock() + seconds, leg

    def find(self, uuid: str) -> Leg | None:
        until, leg = self._legs.get(uuid, (0.0, None))
        return leg if self._clock() < until else None


Place = tuple[str, Role | None]  # a call, and the role if it is of one leg only


@dataclass(slots=True)
class Desk:
    """Made by ``create_app``; touched on the event loop only, but for what says that it is thread-safe."""

    hub: Hub
    token: str
    metrics: Metrics
    audit: Audit
    board: Board
    review: ReviewDesk | None = None
    legs: Legs = field(default_factory=Legs)
    senders: dict[Place, Sender] = field(default_factory=dict)  # who sends a call's audio
    streams: int = 0  # of calls' events, open now
    is_stopping: bool = False
    whispering: asyncio.Lock = field(default_factory=asyncio.Lock)  # what becomes of whispers is noted one by one

    def is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())
