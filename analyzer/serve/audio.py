"""WebSockets of those who send audio: our own protocol, Twilio Media Streams, FreeSWITCH mod_audio_stream.

They open to anyone, because the token may come with the first message; it is checked there.
"""

from __future__ import annotations

import asyncio
import logging

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from analyzer.live.refusal import Refusal
from analyzer.live.wire import FreeSwitchStream, NativeStream, TwilioStream
from analyzer.serve.desk import Desk
from analyzer.serve.gate import bearer
from analyzer.serve.rights import Anyone
from analyzer.serve.senders import Sender

log = logging.getLogger(__name__)

IN_ORDER = (1000, 1001, 1005)  # close codes of a side that meant it; 1005 stands for a close frame without a code
SILENT = 4408
SEND_WITHIN_S = 30.0


def add_audio_routes(app: FastAPI, desk: Desk) -> None:
    @app.websocket("/live/twilio")
    async def twilio(socket: WebSocket, who: Anyone) -> None:
        await _serve(socket, desk, Sender(desk, TwilioStream(bearer(socket.headers))))

    @app.websocket("/live/freeswitch/{call_id:path}")
    async def freeswitch(socket: WebSocket, call_id: str, who: Anyone) -> None:
        try:
            wire = FreeSwitchStream(socket.query_params, call_id, bearer(socket.headers))
        except Refusal as refusal:
            desk.metrics.refused.labels(refusal.code).inc()
            await socket.close(1008, refusal.code)
            return
        await _serve(socket, desk, Sender(desk, wire, call_id=call_id))

    @app.websocket("/live/{call_id:path}/audio")
    async def audio(socket: WebSocket, call_id: str, who: Anyone) -> None:
        await _serve(socket, desk, Sender(desk, NativeStream(), call_id=call_id))


async def _serve(socket: WebSocket, desk: Desk, sender: Sender) -> None:
    await socket.accept()
    with desk.metrics.senders.track_inprogress():
        try:
            await _listen(socket, sender)
        except Refusal as refusal:
            await _refuse(socket, sender, sender.refuse(refusal))
        except TimeoutError:
            desk.metrics.refused.labels("silent").inc()
            await _close(socket, SILENT, f"nothing came for {sender.patience_s:.0f} s")
        except WebSocketDisconnect:
            pass
        finally:
            sender.lost()


async def _listen(socket: WebSocket, sender: Sender) -> None:
    while not sender.is_over:
        async with asyncio.timeout(sender.patience_s):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            if message.get("code") in IN_ORDER:
                await sender.closed()
            return
        text = message.get("text")
        for answer in await sender.receive(message["bytes"] if text is None else text):
            async with asyncio.timeout(SEND_WITHIN_S):
                await socket.send_text(answer)
    await _close(socket, 1000, "")


async def _refuse(socket: WebSocket, sender: Sender, refusal: Refusal) -> None:
    answer = sender.wire.refusal(refusal.code, refusal.message)
    try:
        async with asyncio.timeout(SEND_WITHIN_S):
            for frame in answer.frames:
                await (socket.send_text(frame) if isinstance(frame, str) else socket.send_bytes(frame))
    except (TimeoutError, WebSocketDisconnect):
        return
    await _close(socket, answer.close_code or 1008, answer.reason)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    try:
        await socket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):  # it went first
        log.debug("a sender was gone before it was told")
