"""A live server for tests: the fake recogniser, the tiny pack, the speech of a sample."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import wave
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvicorn
from starlette.websockets import WebSocketDisconnect

from analyzer.catalog import load_pack
from analyzer.live.hub import Hub
from analyzer.live.scheduler import Scheduler
from analyzer.runs import RunFolder
from analyzer.serve.app import create_app
from analyzer.serve.metrics import Metrics
from analyzer.serve.run import uvicorn_config
from tests.fake_speech import FakeRecogniser
from tests.tiny_pack import write_tiny_pack

Result = TypeVar("Result")
TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SAMPLE = Path(__file__).parent.parent / "samples" / "mall-shoe-exchange" / "call.wav"
HELLO = {"type": "hello", "schema": "analyzer.live/1", "token": TOKEN, "direction": "inbound", "sample_rate": 8000,
         "channels": ["agent", "customer"], "metadata": {"agent_id": "3017"}}  # fmt: skip
FRAME_BYTES = 160 * 2 * 2  # 20 ms of stereo


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end, in a thread of its own: once a browser was driven, the tests' thread has a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def speech(seconds: float = 8.0) -> bytes:
    """The beginning of a sample, stereo PCM16 at 8 kHz."""
    with wave.open(str(SAMPLE)) as file:
        return file.readframes(round(8000 * seconds))


def frames(sound: bytes) -> Iterator[bytes]:
    for start in range(0, len(sound), FRAME_BYTES):
        yield sound[start : start + FRAME_BYTES]


@contextmanager
def a_hub(
    folder: Path,
    recogniser: Any = None,
    most_calls: int = 8,
    metrics: Metrics | None = None,
    on_end: Callable[[], None] = lambda: None,
    **settings: Any,
) -> Iterator[Hub]:
    pack = load_pack(str(write_tiny_pack(folder / "pack")), "standard")
    with RunFolder(folder / "run", {"pack": pack.digest}) as run:
        scheduler = Scheduler(recogniser or FakeRecogniser(), workers=2, meter=metrics, **settings)
        hub = Hub(pack, scheduler, run, most_calls=most_calls, on_end=on_end)
        try:
            yield hub
        finally:
            hub.stop(patience_s=20)


def web_folder(folder: Path) -> Path:
    web = folder / "web"
    (web / "static").mkdir(parents=True)
    for name in ("overlay", "supervisor", "call"):
        (web / f"{name}.html").write_text(f"<title>{name}</title>", encoding="utf-8")
    (web / "token.html").write_text("<title>请输入令牌</title><form method=post action=/token>", encoding="utf-8")
    (web / "static" / "overlay.js").write_text("", encoding="utf-8")
    return web


@contextmanager
def a_server(hub: Hub, **options: Any) -> Iterator[int]:
    """uvicorn in a thread, as the command runs it; gives its port."""
    app = create_app(hub, token=TOKEN, **options)
    server = uvicorn.Server(uvicorn_config(app))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive()


def drained(socket: Any) -> tuple[list[dict[str, Any]], int]:
    """What comes until the server closes, and the code it closes with."""
    messages = []
    try:
        while True:
            messages.append(socket.receive_json())
    except WebSocketDisconnect as closed:
        return messages, closed.code


def until(holds: Any, seconds: float = 20.0) -> None:
    """Wait for it. raises AssertionError"""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def text(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)


def silence(seconds: float) -> bytes:
    return np.zeros(round(8000 * seconds) * 2, "<i2").tobytes()
