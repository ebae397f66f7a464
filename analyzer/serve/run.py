"""A server process: warm before it listens, and an end that finishes what was heard.

The first SIGTERM or Ctrl-C ends every call, waits for the reports, lets every stream send its last event, and stops. A
second one stops at once: the journals hold what was heard, and the next start on the same run folder reports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from analyzer import __version__
from analyzer.asr import Recogniser
from analyzer.catalog import load_pack
from analyzer.desk.deliveries import Deliverer
from analyzer.desk.review_desk import ReviewDesk
from analyzer.errors import ConfigError
from analyzer.live.hub import Hub
from analyzer.live.scheduler import Scheduler
from analyzer.live.warming import call_cost, warm_up
from analyzer.memory import keep_giving_back
from analyzer.rules import Pack
from analyzer.runs import RunFolder
from analyzer.serve.app import create_app, create_desk_app
from analyzer.serve.audiosocket import listen_for_asterisk
from analyzer.serve.chores import Chores
from analyzer.serve.desk import Desk
from analyzer.serve.gate import MOST_BYTES
from analyzer.serve.imports import Importer
from analyzer.serve.metrics import Metrics

log = logging.getLogger(__name__)

PATIENCE_S = 60.0  # for the reports of a stop
REQUEST_WITHIN_S = 30.0
LAST_WORDS_S = 5.0  # for streams to send what came last
KILLED = 130


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve. ``port`` 0: any that is free; ``audiosocket``: where Asterisk connects, if it does."""

    address: Address
    token: str
    most_calls: int = 16
    audiosocket: Address | None = None
    metrics_open: bool = False


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def new_token() -> str:
    return secrets.token_urlsafe(24)


def serve(
    serving: Serving,
    pack: Pack,
    recogniser: Recogniser,
    run: Path,
    *,
    workers: int,
    cores_each: int,
    profile: str,
    announce: Callable[[Address, list[str]], None],
    review: ReviewDesk | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    workers   batches at once; cores_each: that compute one of them
    review    the review desk, in the same server; it gets the calls that are over
    announce  told, when the server listens, its address and the ids of the calls that an earlier process left behind
    raises    ConfigError if an address cannot be had, StoreError if the run folder is in use
    """
    settings = {"analyzer": __version__, "pack": pack.digest, "profile": profile, "model": dict(recogniser.info)}
    listening = _bind(serving.address)  # now, so that a port in use is known before the model is warm
    metrics = Metrics()
    with contextlib.closing(listening), RunFolder(run, settings, inputs=["serve"]) as folder:
        warm_up(recogniser, pack)
        importer = None if review is None else Importer(review, run)
        scheduler = Scheduler(
            recogniser, workers=workers, cores_each=cores_each, call_cost=call_cost(recogniser), meter=metrics
        )
        on_end = importer.wake if importer else lambda: None
        hub = Hub(pack, scheduler, folder, most_calls=serving.most_calls, on_end=on_end)
        if review is not None:
            review.on_published = lambda published: hub.judge_by(load_pack(published, profile))
        try:
            app = create_app(
                hub, token=serving.token, metrics=metrics, metrics_open=serving.metrics_open, review=review
            )  # fmt: skip
            if importer:
                importer.start()
            with _keeping(review):
                asyncio.run(_serve(serving, app, listening, lambda address: announce(address, hub.recovered)))
        finally:
            hub.stop(patience_s=PATIENCE_S)
            if importer:
                importer.stop(PATIENCE_S)
            gc.unfreeze()  # else the model's library complains of leaks when the process ends


def serve_desk(serving: Serving, review: ReviewDesk, *, announce: Callable[[Address], None]) -> None:
    """Serve the review desk alone, until SIGTERM or SIGINT.

    announce  told the address when the server listens
    raises    ConfigError if the address cannot be had
    """
    with contextlib.closing(_bind(serving.address)) as listening:
        app = create_desk_app(review, token=serving.token)
        with _keeping(review):
            asyncio.run(_serve(serving, app, listening, announce))


@contextlib.contextmanager
def _keeping(review: ReviewDesk | None) -> Iterator[None]:
    """Webhooks are told what happens, and chores are done, for as long as the block runs."""
    if review is None:
        yield
        return
    deliverer, chores = Deliverer(review.store, review.clock), Chores(review)
    deliverer.start()
    chores.start()
    try:
        yield
    finally:
        chores.stop()
        deliverer.stop()


def _bind(address: Address) -> socket.socket:
    """raises ConfigError"""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"--host/--port {address}: {error.strerror}; choose another one") from None
    return listening


async def _serve(serving: Serving, app: FastAPI, listening: socket.socket, announce: Callable[[Address], None]) -> None:
    desk: Desk | None = getattr(app.state, "desk", None)  # without live calls there is none
    server = uvicorn.Server(uvicorn_config(app))
    asterisk = None
    if serving.audiosocket is not None and desk is not None:
        asterisk = await _listen_for_asterisk(desk, serving.audiosocket)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not (server.started or running.done()):
        await asyncio.sleep(0.01)
    stopping = _on_signals()
    if server.started:
        announce(Address(serving.address.host, listening.getsockname()[1]))
    stopped = asyncio.create_task(stopping.wait())
    tidying = asyncio.create_task(keep_giving_back())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    if asterisk is not None:
        asterisk.close()
    if desk is not None:
        desk.is_stopping = True
        await stop_hub(desk)
    server.should_exit = True
    await running
    stopped.cancel()
    tidying.cancel()


class _Impatient(H11Protocol):
    """Closes a connection that has sent no whole request in time; uvicorn would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(REQUEST_WITHIN_S, self._check)

    def _check(self) -> None:
        has_asked = self.cycle is not None or self not in self.connections  # the latter: it became a WebSocket
        if not has_asked and not self.transport.is_closing():
            self.transport.close()


def uvicorn_config(app: Any) -> uvicorn.Config:
    """Without logs of requests: their addresses may hold the token."""
    return uvicorn.Config(
        app,
        http=_Impatient,
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        ws_ping_timeout=60.0,  # a sender that is not read for a while misses its turn to answer
        ws_per_message_deflate=False,  # audio does not shrink, and a bomb would grow
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        backlog=256,
    )


async def stop_hub(desk: Desk) -> None:
    """End every call and let the streams send what came last."""
    await asyncio.to_thread(desk.hub.stop, patience_s=PATIENCE_S)
    until = asyncio.get_running_loop().time() + LAST_WORDS_S
    while desk.streams and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.05)


async def _listen_for_asterisk(desk: Desk, address: Address) -> asyncio.Server:
    try:
        return await listen_for_asterisk(desk, address.host, address.port)
    except OSError as error:
        raise ConfigError(f"--audiosocket {address}: {error.strerror}; choose another one") from None


def _on_signals() -> asyncio.Event:
    """Set by the first signal; the second ends the process where it stands."""
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(KILLED)
        stopping.set()

    if threading.current_thread() is threading.main_thread():  # else a test's
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping
