"""The ledger of norms a pack answers to: one row per clause, in ``<pack>/clauses/*.tsv``.

    id	norm	stage	how	rules	reason
    S000-1.2.1	铃响三声内接听	opening	metadata	ring_count

norm    the clause in short Chinese
how     ``rule`` and ``metadata``: rules judge it; ``aggregate``: a key figure over many calls, ``rules`` names its
        function; ``profile option``: a value of a rule that profiles choose; ``not enforced``: nothing does
rules   rule ids, separated by spaces
reason  owed where nothing enforces the clause

``clauses/README.md`` states how many clauses there must be, as ``ledger items: 775``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

COLUMNS = ("id", "norm", "stage", "how", "rules", "reason")
_HAN = re.compile(r"[一-鿿]")
_TOTAL = re.compile(r"ledger items:\s*(\d+)", re.IGNORECASE)


class How(StrEnum):
    """What answers for a clause."""

    RULE = "rule"
    METADATA = "metadata"
    AGGREGATE = "aggregate"
    PROFILE_OPTION = "profile option"
    NOT_ENFORCED = "not enforced"


@dataclass(frozen=True, slots=True)
class Clause:
    """A norm of the ledger. ``place`` is ``file:line``."""

    id: str
    norm: str
    stage: str
    how: How
    rules: tuple[str, ...]
    reason: str
    place: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """All clauses by id, in order of the files; ``faults`` are ``file:line: message``.

    total   how many there must be; None where the pack does not say
    """

    clauses: dict[str, Clause]
    total: int | None
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.clauses)


def read_ledger(folder: Path) -> Ledger:
    """The clauses of the pack in ``folder``; empty where it has none."""
    clauses: dict[str, Clause] = {}
    faults: list[str] = []
    for path in sorted((folder / "clauses").glob("*.tsv")):
        for clause in _rows(path, faults):
            if clause.id in clauses:
                faults.append(f"{clause.place}: {clause.id} stands in {clauses[clause.id].place} already")
            else:
                clauses[clause.id] = clause
    total = _total(folder / "clauses" / "README.md")
    if total is not None and len(clauses) != total:
        faults.append(f"{(folder / 'clauses').as_posix()}: {len(clauses)} clauses where README.md states {total}")
    return Ledger(clauses, total, tuple(faults))


def _total(readme: Path) -> int | None:
    found = _TOTAL.search(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    return int(found[1]) if found else None


def _rows(path: Path, faults: list[str]) -> Iterator[Clause]:
    name = path.as_posix()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        faults.append(f"{name}:1: not UTF-8; save the file as UTF-8")
        return
    columns: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if columns is None:
            columns = cells
            if cells != list(COLUMNS):
                faults.append(f"{name}:{number}: the columns are {' '.join(COLUMNS)}, separated by tabs")
                return
        elif clause := _clause(cells, f"{name}:{number}", faults):
            yield clause


def _clause(cells: list[str], place: str, faults: list[str]) -> Clause | None:
    if len(cells) > len(COLUMNS):
        faults.append(f"{place}: {len(cells)} cells for {len(COLUMNS)} columns")
        return None
    row = dict(zip(COLUMNS, [*cells, *[""] * len(COLUMNS)], strict=False))
    wrong = list(_wrong_cells(row))
    faults += [f"{place}: {problem}" for problem in wrong]
    if not row["id"] or row["how"] not in set(How):
        return None
    rules = tuple(row["rules"].replace(",", " ").split())
    return Clause(row["id"], row["norm"], row["stage"], How(row["how"]), rules, row["reason"], place)


def _wrong_cells(row: dict[str, str]) -> Iterator[str]:
    name = row["id"] or "this row"
    if not row["id"]:
        yield "no id in this row"
    if row["how"] not in set(How):
        yield f"{name}: how is {row['how']!r}; it is one of {', '.join(How)}"
        return
    if not _HAN.search(row["norm"]):
        yield f"{name}: norm must say the clause in Chinese"
    how = How(row["how"])
    if how is How.NOT_ENFORCED and not row["reason"]:
        yield f"{name}: 'not enforced' needs a reason"
    if how is not How.NOT_ENFORCED and not row["rules"]:
        yield f"{name}: {how.value!r} needs the rules (or the key figure) that answer for it"
