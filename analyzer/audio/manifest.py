"""Manifests: a table of recordings with what the telephone system knows of each call.

One row (CSV) or one object per line (JSONL). Columns: ``path``, or ``agent_path`` and ``customer_path``; ``call_id``,
``direction``, ``channels`` or ``mono``; every other column is a call attribute (docs/metadata.md). Paths are relative
to the manifest's folder; both may be URLs (``s3://…``). A bad row is a fault of its own; the others stand.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from analyzer.audio.recordings import (
    STEREO,
    Layout,
    Recording,
    Track,
    common_root,
    name_below,
    parse_layout,
    track_at,
)
from analyzer.errors import AnalyzerError, ConfigError, InputError
from analyzer.metadata import read_metadata
from analyzer.remote import asking, file_system, is_url
from analyzer.types import Direction

PLACES = ("path", "agent_path", "customer_path")
OWN_COLUMNS = (*PLACES, "call_id", "direction", "channels", "mono", "metadata")
_DELIMITERS = ",;\t"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """What a manifest says: its recordings in their order, a fault per row that describes none, and the files that such
    rows name: they are not to be scored as if nothing was known of them."""

    recordings: list[Recording] = field(default_factory=list)
    faults: list[InputError] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def read_manifest(place: str | Path, layout: Layout) -> Described:
    """layout  who is on each channel, where a row does not say

    raises InputError if the manifest itself cannot be read, or has no row
    """
    path, text = Path(place), _decode(_content(str(place)), place)
    folder = os.path.dirname(str(place))
    rows = list(_read_csv(path, text) if path.suffix.lower() == ".csv" else _read_jsonl(text))
    if not rows:
        raise InputError(f"{path}: names no recording; check that it was exported whole")
    found = Described()
    placed: list[tuple[_Line, Recording]] = []

    def refuse(line: _Line, fault: AnalyzerError) -> None:
        files = _files(folder, line.row)
        found.left_out.extend(files)
        consequence = "; its recording is left out until then" if files else ""
        found.faults.append(InputError(f"{path}:{line.number}: {fault}{consequence}"))

    for line in rows:
        try:
            if line.fault is not None:
                raise line.fault
            placed.append((line, _placed(folder, line.row, layout)))
        except (InputError, ConfigError) as fault:
            refuse(line, fault)
    root = _root(Path(folder), [track.path for _, recording in placed for track in recording.tracks])
    for line, recording in placed:
        try:
            found.recordings.append(_described(line.row, recording, root))
        except InputError as fault:
            refuse(line, fault)
    return found


def _files(folder: str, row: Row) -> list[Path]:
    """What a row names, as far as that can be told."""
    named = [str(row[column]).strip() for column in PLACES if isinstance(row.get(column), str)]
    return [track_at(place, (), folder).path for place in named if place]


def _described(row: Row, placed: Recording, root: Path) -> Recording:
    nested = row.get("metadata") or {}
    if not isinstance(nested, Mapping):
        raise InputError("metadata must be an object")
    attributes = {key: value for key, value in row.items() if key not in OWN_COLUMNS} | dict(nested)
    metadata, unknown = read_metadata(attributes)
    warnings = tuple(f"清单中的属性 {key!r} 不在已知之列，标准规则不会使用" for key in unknown)
    return replace(
        placed,
        call_id=_call_id(row, placed.tracks, root),
        direction=_direction(row),
        metadata=metadata,
        warnings=warnings,
    )


def _placed(folder: str, row: Row, layout: Layout) -> Recording:
    """The files of a row and who is on them; nothing else yet."""
    paths = {column: _text(row, column) for column in PLACES}
    if paths["path"] and not (paths["agent_path"] or paths["customer_path"]):
        own = _layout(row, layout)
        return Recording("", (track_at(paths["path"], own.roles, folder),), mixed=own.mixed)
    if paths["agent_path"] and paths["customer_path"] and not paths["path"]:
        sides = zip((paths["agent_path"], paths["customer_path"]), STEREO, strict=True)
        return Recording("", tuple(track_at(place, (role,), folder) for place, role in sides))
    raise InputError("names no recording; give path, or agent_path and customer_path")


def _layout(row: Row, layout: Layout) -> Layout:
    channels, mono = _text(row, "channels"), _text(row, "mono")
    if channels is None and mono is None:
        return layout
    return parse_layout(channels=channels, mono=mono)


def _call_id(row: Row, tracks: tuple[Track, ...], root: Path) -> str:
    given = _text(row, "call_id")
    if given is None:
        return name_below(tracks[0].path, root)
    if not given.isprintable():
        raise InputError(f"call_id is {given!r}; it must be one line of printable text")
    return given


def _direction(row: Row) -> Direction:
    given = _text(row, "direction")
    if given is None:
        return Direction.UNKNOWN
    try:
        return Direction(given.lower())
    except ValueError:
        raise InputError(f"direction is {given!r}; it must be one of {', '.join(Direction)}") from None


def _text(row: Row, column: str) -> str | None:
    """A cell as text, None if it is blank; ids are often written as numbers."""
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{column} must be text")
    return str(value).strip() or None


def _root(folder: Path, paths: list[Path]) -> Path:
    """What ids are relative to: the manifest's folder if it holds all recordings, else what they have in common."""
    inside = all(Path(os.path.abspath(path)).is_relative_to(folder.absolute()) for path in paths)
    return folder if inside else common_root(paths)


class _Line(NamedTuple):
    """A row with the number of its line. ``fault``: why it is none, though something of it may be told."""

    number: int
    row: Row
    fault: InputError | None = None


def _read_csv(path: Path, text: str) -> Iterator[_Line]:
    lines = list(io.StringIO(text, newline=""))
    delimiter = max(_DELIMITERS, key=(lines[0] if lines else "").count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}:1: is no CSV ({error}); check the quotes") from None
    if not set(columns) & set(PLACES):
        raise InputError(f"{path}: has no column path (nor agent_path and customer_path) in its first line; add it")
    return _csv_rows(lines, reader.line_num, columns, delimiter)


def _csv_rows(lines: Sequence[str], done: int, columns: Sequence[str], delimiter: str) -> Iterator[_Line]:
    """The rows behind the first ``done`` lines. A quotation mark out of place costs its own row and no other."""
    while done < len(lines):
        reader = csv.reader(lines[done:], delimiter=delimiter, strict=True)
        before = done  # lines before the row that is being read
        try:
            for cells in reader:
                until = done + reader.line_num
                if any(text.count(delimiter) >= max(1, len(columns) - 1) for text in lines[before + 1 : until]):
                    raise csv.Error("a quotation mark is not closed")  # it has swallowed whole rows
                row = dict(zip(columns, cells, strict=False))
                if len(cells) > len(columns):
                    fault = InputError("has more cells than the first line; quote cells that hold a comma")
                    yield _Line(before + 1, row, fault)
                elif any(cells):
                    yield _Line(before + 1, row)
                before = until
            return
        except csv.Error as error:
            cells = next(csv.reader([lines[before]], delimiter=delimiter), [])
            fault = InputError(f"is no CSV ({error}); check the quotes")
            yield _Line(before + 1, dict(zip(columns, cells, strict=False)), fault)
            done = before + 1


def _read_jsonl(content: str) -> Iterator[_Line]:
    for number, text in enumerate(io.StringIO(content), start=1):  # not splitlines(): JSON may hold U+2028
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield _Line(number, {}, InputError(f"is no JSON ({error}); write one object per line"))
            continue
        if isinstance(row, dict):
            yield _Line(number, row)
        else:
            yield _Line(number, {}, InputError("is no JSON object; write one object per line"))


def _content(place: str) -> bytes:
    try:
        if not is_url(place):
            return Path(place).read_bytes()
        with asking(place, InputError):
            fs, path = file_system(place)
            content: bytes = fs.cat_file(path)
            return content
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InputError(f"{place}: cannot be read ({why}); check the path") from None


def _decode(raw: bytes, path: str | Path) -> str:
    """Excel writes GBK on Chinese Windows, and UTF-8 only with a mark in front."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: is neither UTF-8 nor GBK text; save it as UTF-8")
