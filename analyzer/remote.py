"""Places that are no path of this machine: ``s3://bucket/day``, and whatever else fsspec knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from analyzer.errors import AnalyzerError, ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")


def is_url(text: str) -> bool:
    """Whether this names a place elsewhere, and not a file here.

    >>> is_url("s3://bucket/day"), is_url("/srv/day"), is_url("C:/day")
    (True, False, False)
    """
    return _URL.match(text) is not None


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. raises ConfigError for a kind of place nobody knows"""
    import fsspec  # noqa: PLC0415 - only runs with URLs need it

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        cure = "pip install '.[s3]' in the checkout" if url.startswith("s3://") else str(error)
        raise ConfigError(f"{url}: what reads such places is not installed; {cure}") from None
    except ValueError as error:
        raise ConfigError(f"{url}: {error}; give a path, or a URL such as s3://bucket/folder") from None
    return fs, path.rstrip("/")


@contextmanager
def asking(url: str, kind: type[AnalyzerError]) -> Iterator[None]:
    """Turns what a file system raises into one line with a cure; libraries behind fsspec have errors of their own.

    FileNotFoundError and FileExistsError pass: they are answers.
    """
    try:
        yield
    except (AnalyzerError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        raise kind(f"{url}: {type(error).__name__}: {error}; check address, rights and network") from None
