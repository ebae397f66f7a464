"""A connection that sends audio, whatever it runs over: bytes go to its wire, what they say goes to its call.

Opening and ending a call may take a disk's time and happen beside the event loop. Who sends faster than is heard, or
more messages than any telephone, is not read from for a while; TCP tells the sender. A sender whose network died is
taken for gone as soon as the same call (or leg) comes over a new connection and the old one has been silent for two
seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from analyzer.errors import InputError
from analyzer.live.hub import Session
from analyzer.live.intake import Chunk
from analyzer.live.refusal import Refusal
from analyzer.live.wire import End, NativeStream, Start, Wire
from analyzer.serve.desk import Desk, Leg, Place
from analyzer.types import Role

log = logging.getLogger(__name__)

ACK_MS = 500
FIRST_WITHIN_S = 10.0  # a connection that does not begin a call is not kept
SILENT_S = 30.0
STALE_S = 2.0
MOST_QUEUED_MS = 10_000  # audio before the ear that a sender may be ahead
MESSAGES_PER_S, BURST = 400.0, 4_000.0  # two tracks in packets of 10 ms, twice; half a minute that is caught up
LONGEST_ID = 200


class Sender:
    """One connection.

    leg      of an AudioSocket, as announced: stands for the token too
    call_id  of the address, where the protocol does not name the call
    """

    def __init__(self, desk: Desk, wire: Wire, *, call_id: str | None = None, leg: Leg | None = None) -> None:
        self._desk, self.wire = desk, wire
        self._call_id, self._leg = call_id, leg
        self._session: Session | None = None
        self._acked_ms = 0
        self._allowance = BURST
        self._heard_at = asyncio.get_running_loop().time()
        self.is_over = False

    @property
    def patience_s(self) -> float:
        """How long the next message may take."""
        return FIRST_WITHIN_S if self._session is None else SILENT_S

    async def receive(self, data: Any) -> list[str]:
        """Act on a message or some bytes; returns what to send back. raises Refusal"""
        await self._pace()
        answers: list[str] = []
        for event in self.wire.receive(data):
            if isinstance(event, Start):
                await self._start(event)
                if isinstance(self.wire, NativeStream) and self._session is not None:
                    self._acked_ms = self._session.resume_from_ms
                    answers.append(self.wire.ready(self._acked_ms))
            elif isinstance(event, Chunk):
                answers += await self._feed(event)
            else:
                answers += await self._end(event.metadata)
        return answers

    async def closed(self) -> None:
        """The other side closed the connection in order."""
        for event in self.wire.closed():
            if isinstance(event, End):
                await self._end(event.metadata)
        self.lost()

    def lost(self) -> None:
        """The connection is gone; if the call is not over its sender may come back."""
        session, self._session = self._session, None
        self.is_over = True
        self._give_up_place()
        if session is not None:
            session.leave()

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count it; a call that the server ended itself is not the sender's fault."""
        if self._desk.is_stopping and refusal.code == "call_ended":
            refusal = Refusal("shutting_down", "the server is stopping; try another one or come back later")
        self._desk.metrics.refused.labels(refusal.code).inc()
        log.info("call %s: refused (%s)", self._call_id, refusal.code)
        return refusal

    # ---- inside

    async def _start(self, start: Start) -> None:
        if self._leg is None and not self._desk.is_token(start.token):
            raise Refusal("unauthorised", "wrong token; it is shown where the server was started")
        call_id = self._leg.call_id if self._leg else start.call_id or self._call_id or ""
        if not 0 < len(call_id) <= LONGEST_ID or not call_id.isprintable():
            raise Refusal("bad_message", f"a call id has 1 to {LONGEST_ID} printable characters")
        self._call_id = call_id
        self._drop_stale()
        if self._leg is not None:
            self._take_place_of_leg(self._leg)
        try:
            session = await asyncio.to_thread(self._open, call_id, start)
        except InputError as error:  # of the metadata
            raise Refusal("bad_message", str(error)) from None
        if self.is_over:  # the connection went while the call was opened
            session.leave()
            return
        self._session = session
        if self._leg is None:
            self._desk.senders[self._place] = self

    def _open(self, call_id: str, start: Start) -> Session:
        leg, hub = self._leg, self._desk.hub
        if leg is None:
            return hub.open(call_id, direction=start.direction, roles=start.roles, rate=start.rate,
                            metadata=start.metadata, sends_again=isinstance(self.wire, NativeStream))  # fmt: skip
        both = (Role.AGENT, Role.CUSTOMER)
        return hub.open(call_id, direction=leg.direction, roles=both if leg.role in both else (leg.role,),
                        rate=start.rate, metadata=leg.metadata, leg=leg.role, sends_again=False)  # fmt: skip

    @property
    def _place(self) -> Place:
        return self._call_id or "", self._leg.role if self._leg else None

    def _take_place_of_leg(self, leg: Leg) -> None:
        """Before the call is opened, which takes a while: of two that come together one is refused. raises Refusal"""
        if not self._desk.senders.keys().isdisjoint({self._place, (leg.call_id, None)}):
            sending = f"another connection is sending the {leg.role} of call {leg.call_id}"
            raise Refusal("call_busy", f"{sending}; end that one first")
        self._desk.senders[self._place] = self
        self._desk.legs.has_come(leg)

    def _give_up_place(self) -> None:
        if self._desk.senders.get(self._place) is not self:
            return
        del self._desk.senders[self._place]
        if self._leg is not None:
            self._desk.legs.has_left(self._leg)

    def _drop_stale(self) -> None:
        before = self._desk.senders.get(self._place)
        now = asyncio.get_running_loop().time()
        if before is not None and before is not self and now - before._heard_at > STALE_S:
            before.lost()

    async def _feed(self, chunk: Chunk) -> list[str]:
        session = self._session
        if session is None:
            return []
        ms = session.feed(chunk)
        while session.queued_ms > MOST_QUEUED_MS and not session.is_over:
            await asyncio.sleep(0.05)
        if ms - self._acked_ms < ACK_MS or not isinstance(self.wire, NativeStream):
            return []
        self._acked_ms = ms
        return [self.wire.ack(ms)]

    async def _end(self, metadata: Mapping[str, Any]) -> list[str]:
        session = self._session
        if session is None:
            return []
        if self._leg is not None and session.n_senders > 1:
            session.hang_up((self._leg.role,))  # what it does not send from now on is no loss
            self.lost()  # the other leg goes on
            return []
        try:
            await asyncio.to_thread(session.end, metadata)
        except InputError as error:
            raise Refusal("bad_message", str(error)) from None
        self.is_over = True
        self._give_up_place()
        self._session = None
        return [self.wire.ack(session.resume_from_ms)] if isinstance(self.wire, NativeStream) else []

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._allowance = min(BURST, self._allowance + (now - self._heard_at) * MESSAGES_PER_S) - 1
        self._heard_at = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / MESSAGES_PER_S)
