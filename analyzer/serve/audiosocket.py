"""The TCP server that Asterisk's AudioSocket connects to. A leg is announced with ``POST /api/legs`` before it comes;
its UUID, known to whoever holds the token and to Asterisk, is what lets it in."""

from __future__ import annotations

import asyncio
import logging
import uuid

from analyzer.live.refusal import Refusal
from analyzer.live.wire import AudioSocketStream
from analyzer.live.wire.audiosocket import HEADER_BYTES, UUID
from analyzer.serve.desk import Desk, Leg
from analyzer.serve.senders import Sender

log = logging.getLogger(__name__)

READ_BYTES = 8 * 1024
IDENTIFIED = HEADER_BYTES + 16  # bytes that say which leg it is


async def listen_for_asterisk(desk: Desk, host: str, port: int) -> asyncio.Server:
    """raises OSError if the address cannot be had"""
    return await asyncio.start_server(lambda *ends: _serve(desk, *ends), host, port, limit=READ_BYTES)


async def _serve(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sender: Sender | None = None
    with desk.metrics.senders.track_inprogress():
        try:
            first = await _read_first(reader, desk)
            leg = desk.legs.find(_uuid_in(first))
            wire = AudioSocketStream(leg.role, leg.direction) if leg else AudioSocketStream()
            sender = Sender(desk, wire, leg=leg)
            await _listen(reader, sender, first, leg)
        except Refusal as refusal:
            if sender is not None:
                refusal = sender.refuse(refusal)
                writer.writelines(
                    frame for frame in sender.wire.refusal(refusal.code, "").frames if isinstance(frame, bytes)
                )
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            log.info("an AudioSocket connection broke off or said nothing")
        finally:
            if sender is not None:
                sender.lost()
            writer.close()


async def _read_first(reader: asyncio.StreamReader, desk: Desk) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(IDENTIFIED)


def _uuid_in(first: bytes) -> str:
    """Of a packet that names the call; else nothing that was ever announced."""
    is_uuid = first[:HEADER_BYTES] == bytes([UUID, 0, 16])
    return str(uuid.UUID(bytes=first[HEADER_BYTES:])) if is_uuid else ""


async def _listen(reader: asyncio.StreamReader, sender: Sender, first: bytes, leg: Leg | None) -> None:
    await sender.receive(first)
    if leg is None:
        raise Refusal("unauthorised", "no leg was announced with this UUID; POST /api/legs first")
    while not sender.is_over:
        async with asyncio.timeout(sender.patience_s):
            data = await reader.read(READ_BYTES)
        if not data:
            await sender.closed()
            return
        await sender.receive(data)
