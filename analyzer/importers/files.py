"""Which notation a file is written in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analyzer.errors import ConfigError
from analyzer.importers.drafts import Drafts
from analyzer.importers.excel import read_workbook
from analyzer.importers.keywords import read_expressions, read_keyword_rules
from analyzer.importers.sca import is_sca, read_sca

NOTATIONS = ("sca", "keywords", "excel")
_BY_SUFFIX = {".xlsx": "excel", ".xlsm": "excel", ".txt": "keywords", ".csv": "keywords"}


def read_foreign(path: Path, notation: str | None = None) -> Drafts:
    """The rules of a file as drafts.

    notation   one of NOTATIONS; None: by extension, and of JSON by what it holds

    raises ConfigError for a file that is not there, is damaged, or holds nothing of that notation
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; check the path")
    if notation is None and path.suffix.lower() != ".json":
        notation = _BY_SUFFIX.get(path.suffix.lower())
        if notation is None:
            raise ConfigError(f"{path}: extension {path.suffix!r} does not say what it holds; give --from")
    if notation == "excel":
        return read_workbook(path)
    text = _decode(path)
    if path.suffix.lower() != ".json":
        return _READERS[notation or "keywords"](path, text)
    fields = _json(path, text)
    if notation is None:
        notation = "sca" if is_sca(fields) else "keywords"
    return read_sca(path.name, fields) if notation == "sca" else read_keyword_rules(path.name, fields)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{path}: neither UTF-8 nor GB18030; save it as UTF-8")


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None


_READERS: Mapping[str, Callable[[Path, str], Drafts]] = {
    "keywords": lambda path, text: read_expressions(path.name, path.stem, text),
    "sca": lambda path, text: read_sca(path.name, _json(path, text)),
}
