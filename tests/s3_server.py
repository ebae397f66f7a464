"""As much of S3 as s3fs asks for, in memory: objects, conditional PUT, listing. For tests of the wiring, not of S3."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]
    is_conditional: bool
    protocol_version = "HTTP/1.1"

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def do_PUT(self) -> None:
        content = self._body()
        if self.is_conditional and self.headers.get("If-None-Match") == "*" and self._key in self.objects:
            self._fail(412, "PreconditionFailed")
            return
        self.objects[self._key] = content
        self._answer(200)

    def _body(self) -> bytes:
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # checksums
            pass
        return content

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
        elif self._key in self.objects:
            content = self.objects[self._key]
            wanted = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
            if wanted[0] and wanted[2]:
                content = content[int(wanted[0]) : int(wanted[2]) + 1]
            self._answer(200, content)
        else:
            self._fail(404, "NoSuchKey")

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_DELETE(self) -> None:
        self.objects.pop(self._key, None)
        self._answer(204)

    def _list(self, prefix: str, delimiter: str) -> None:
        bucket = self._key.strip("/")
        keys = [key.removeprefix(f"{bucket}/") for key in sorted(self.objects) if key.startswith(f"{bucket}/{prefix}")]
        folders = set()
        contents = []
        for key in keys:
            below = key.removeprefix(prefix)
            if delimiter and delimiter in below:
                folders.add(prefix + below.split(delimiter)[0] + delimiter)
            else:
                size = len(self.objects[f"{bucket}/{key}"])
                contents.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><ETag>e</ETag>"
                    "<LastModified>2026-11-22T00:00:00.000Z</LastModified></Contents>"
                )
        common = [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        body = "".join([*contents, *common])
        text = (
            f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated><KeyCount>{len(contents)}</KeyCount>"
            f"<Prefix>{escape(prefix)}</Prefix>{body}</ListBucketResult>"
        )
        self._answer(200, text.encode())

    def _fail(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def s3_server(*, is_conditional: bool = True) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its address, and its objects by ``bucket/key``. is_conditional: whether If-None-Match is heeded"""
    objects: dict[str, bytes] = {}
    handler = type("Handler", (_Handler,), {"objects": objects, "is_conditional": is_conditional})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", objects
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
