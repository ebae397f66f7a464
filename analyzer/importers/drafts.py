"""Drafts of rules and word lists, and how they are put down."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzer.errors import ConfigError
from analyzer.rules.phrases import PHRASE_COLUMNS

LICENCE = "as agreed with the owner of the original"
_LONGEST_ID = 40
_HAN = re.compile(r"[一-鿿]")

Row = dict[str, str]  # a row of a word list by column


@dataclass(slots=True)
class Drafts:
    """What an import gave.

    words      rows of each word list, by its name
    titles     what each list is called
    rules      the fields of rule files
    unmapped   ``place: what and why``, for a person to deal with
    """

    source: str
    words: dict[str, list[Row]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)

    def leave(self, place: str, why: str) -> None:
        self.unmapped.append(f"{self.source} {place}: {why}")

    def new_id(self, title: str) -> str:
        """An id nobody has yet: the title in Latin letters."""
        stem = latin(title) or "rule"
        taken = {*self.words, *(rule["id"] for rule in self.rules)}
        return next(name for name in _numbered(stem) if name not in taken)

    def add_words(self, name: str, title: str, rows: list[Row]) -> None:
        """A word list; phrases that stand in it twice are kept once, since a list refuses them."""
        unique: dict[str, Row] = {}
        for row in rows:
            if row["phrase"] in unique:
                self.leave(f"“{title}”", f"{row['phrase']} stands there twice; kept once")
            else:
                unique[row["phrase"]] = row
        self.words[name] = list(unique.values())
        self.titles[name] = title

    def add_rule(self, rule_id: str, title: str, kind: str, **keys: Any) -> None:
        """A rule of status draft."""
        head = {"id": rule_id, "title": title, "status": "draft", "severity": keys.pop("severity", "major")}
        head |= {"clauses": [], "why": keys.pop("why", "") or f"由 {self.source} 导入", "kind": kind}
        message = keys.pop("message", f"{title}：“{{quote}}”" if kind == "forbid" else title)
        self.rules.append({**head, **keys, "message": message, "cases": []})

    def write(self, folder: Path, *, force: bool = False) -> list[Path]:
        """Put everything down, laid out like a pack.

        raises ConfigError if a file is there already and ``force`` is not asked for, or cannot be written
        """
        texts = dict(self._texts(folder))
        there = [path for path in texts if path.exists()]
        if there and not force:
            raise ConfigError(f"{there[0]}: is there already; --force replaces it, --out names another folder")
        try:
            for path, text in texts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
        return list(texts)

    def _texts(self, folder: Path) -> Iterator[tuple[Path, str]]:
        for name, rows in self.words.items():
            yield folder / "words" / f"{name}.tsv", self._list_text(name, rows)
        for rule in self.rules:
            yield folder / "rules" / "imported" / f"{rule['id']}.yaml", _yaml(rule)

    def _list_text(self, name: str, rows: list[Row]) -> str:
        columns = [column for column in PHRASE_COLUMNS if any(row.get(column) for row in rows) or column == "phrase"]
        head = {"name": name, "title": self.titles[name], "source": self.source, "licence": LICENCE}
        lines = [f"# {key}: {value}" for key, value in head.items()]
        lines.append("\t".join(columns))
        lines += ["\t".join(_cell(row.get(column, "")) for column in columns) for row in rows]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split())


def _yaml(fields: Mapping[str, Any]) -> str:
    from io import StringIO  # noqa: PLC0415

    from ruamel.yaml import YAML  # noqa: PLC0415

    stream = StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump(dict(fields), stream)
    return stream.getvalue()


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1


def latin(title: str) -> str:
    """A title as an id: 服务禁语-A1 -> fu_wu_jin_yu_a1. Empty if nothing of it can be spelled."""
    from pypinyin import lazy_pinyin  # noqa: PLC0415

    spelled = "_".join(lazy_pinyin(unicodedata.normalize("NFKC", title))).lower()
    name = re.sub(r"[^a-z0-9]+", "_", spelled).strip("_")[:_LONGEST_ID].strip("_")
    return name if not name or name[0].isalpha() else f"r_{name}"


def literal(words: str) -> str:
    """Words as a pattern that stands for just these: everything that would be an operator is dropped."""
    return "".join(c for c in unicodedata.normalize("NFKC", words) if c.isalnum())


def is_chinese(text: str) -> bool:
    return bool(_HAN.search(text))
