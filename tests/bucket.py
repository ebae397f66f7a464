"""``bucket:///folder``: an object store on this disk, for tests that kill processes.

It has what S3 has and no more: objects appear whole, a conditional PUT fails if there is one; nothing is appended to,
renamed or locked.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class BucketFileSystem(LocalFileSystem):
    protocol = "bucket"

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("bucket://").rstrip("/")

    def unstrip_protocol(self, name: str) -> str:
        return f"bucket://{self._strip_protocol(name)}"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        final = Path(self._strip_protocol(path))
        final.parent.mkdir(parents=True, exist_ok=True)
        outside = final.parent.parent  # what is half put is no object
        descriptor, name = tempfile.mkstemp(prefix=".put-", dir=outside)
        try:
            os.write(descriptor, value)
            if mode == "create":
                os.link(name, final)  # raises FileExistsError
            else:
                os.replace(name, final)
        finally:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)

    def mv(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("object stores do not rename")

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError("object stores take whole objects")
        return super().open(path, mode, **options)


def register() -> None:
    fsspec.register_implementation("bucket", BucketFileSystem, clobber=True)
