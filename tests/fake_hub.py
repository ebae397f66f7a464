"""A hub on this machine: one repository's files over HTTP, with line faults on demand.

It answers what a Hugging Face style hub answers to `model_info` and to a file's `resolve` address, ranges included.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server gives out and what was asked of it.

    break_after  file name → bytes after which the line breaks, every time it is asked for
    corrupt      file names that arrive with one byte wrong
    asked        (path, first byte asked for) of each request, in order
    """

    def __init__(self, repo: str, files: Mapping[str, bytes]) -> None:
        self.repo = repo
        self.files = dict(files)
        self.break_after: dict[str, int] = {}
        self.corrupt: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.endpoint = ""

    def sent_from(self, name: str) -> list[int]:
        """The byte each request for a file began at."""
        return [first for path, first in self.asked if path.endswith(f"/{name}")]

    def info(self) -> dict[str, object]:
        return {
            "_id": "1",
            "id": self.repo,
            "modelId": self.repo,
            "sha": COMMIT,
            "siblings": [_sibling(name, content) for name, content in sorted(self.files.items())],
        }


def _sibling(name: str, content: bytes) -> dict[str, object]:
    git_sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git_sha1}
    if name.endswith(".bin"):
        sha256 = hashlib.sha256(content).hexdigest()
        entry |= {"blobId": "pointer", "lfs": {"size": len(content), "sha256": sha256, "pointerSize": 134}}
    return entry


@contextmanager
def serve(repo: str, files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Run a hub that holds one repository until the block ends."""
    hub = Hub(repo, files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            hub.asked.append((self.path.split("?")[0], first))
            if self.path.split("?")[0].startswith(f"/api/models/{repo}"):
                self._send(json.dumps(hub.info()).encode())
            elif self.path.startswith(f"/{repo}/resolve/{COMMIT}/") and self._name() in hub.files:
                self._send_file(self._name(), first)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _name(self) -> str:
            return self.path.split("?")[0].rsplit("/", 1)[1]

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _send_file(self, name: str, first: int) -> None:
            content = hub.files[name]
            if name in hub.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(content) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            end = hub.break_after.get(name, len(content))
            self.wfile.write(content[first : max(first, end)])
            if end < len(content):
                self.wfile.flush()
                self.connection.close()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
