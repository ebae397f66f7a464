"""A problem, and what the checks look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

from analyzer.catalog import PackFiles, YamlFile
from analyzer.clauses import Ledger
from analyzer.rules import PhraseSet, Rule
from analyzer.rules.faults import Place
from analyzer.rules.spec import Status

_Part = TypeVar("_Part")
_LIVE = (Status.STABLE, Status.TRIAL)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """``place`` is ``file:line``, ``check`` the name of the check that found it."""

    place: str
    check: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message} [{self.check}]"


@dataclass(frozen=True, slots=True)
class Subject:
    """The pack that is looked at, opened with its default profile."""

    files: PackFiles
    ledger: Ledger

    @property
    def live_rules(self) -> list[Rule]:
        """Rules that run: drafts may be unfinished and retired ones may be stale."""
        return [rule for rule in self.files.rules if rule.status in _LIVE]

    def file(self, rule: Rule) -> YamlFile:
        return self.files.files[rule.id]

    def problem(self, check: str, rule: Rule, place: Place, message: str) -> Problem:
        file = self.file(rule)
        return Problem(f"{file.path}:{file.line(place)}", check, message)

    def words_place(self, place: str, rule: Rule) -> str:
        """``file:line`` of a phrase: its list's, or for an inline one its rule's."""
        if place:
            return f"{self.files.folder.as_posix()}/{place}"
        return f"{self.file(rule).path}:1"


def parts_of(node: Any, kind: type[_Part]) -> Iterator[_Part]:
    """Every object of a class inside a check: plain, anchored, or a member of a combination."""
    if isinstance(node, kind):
        yield node
    elif is_dataclass(node) and not isinstance(node, type):
        for part in fields(node):
            yield from parts_of(getattr(node, part.name), kind)
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from parts_of(value, kind)
    elif isinstance(node, tuple | list):
        for value in node:
            yield from parts_of(value, kind)


def phrase_sets(node: Any) -> Iterator[tuple[tuple[str, ...], PhraseSet]]:
    """Every phrase set inside a check, whatever its kind, with the names of the fields that lead to it."""
    if isinstance(node, PhraseSet):
        yield (), node
    elif is_dataclass(node) and not isinstance(node, type):
        for part in fields(node):
            for path, found in phrase_sets(getattr(node, part.name)):
                yield (part.name, *path), found
    elif isinstance(node, Mapping):
        for key, value in node.items():
            for path, found in phrase_sets(value):
                yield (str(key), *path), found
    elif isinstance(node, tuple | list):
        for value in node:
            yield from phrase_sets(value)


def walk(node: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value of a file's fields with the keys that lead to it; cases are left out."""
    yield place, node
    if isinstance(node, dict):
        for key, value in node.items():
            if not (key == "cases" and not place):
                yield from walk(value, (*place, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, (*place, index))
