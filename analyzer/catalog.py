"""``lexicons/`` on disk: rules, word lists and profiles to a ``Pack``, and every fault of them at once.

A fault reads ``lexicons/rules/forbidden/shirk.yaml:5: unknown kind 'forbit'; did you mean 'forbid'?``. The digest of a
pack is a hash over names and bytes of all its files, so any change of a rule shows in the reports made with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzer.errors import ConfigError
from analyzer.rules import (
    Fault,
    ManualItem,
    Pack,
    Profile,
    Rule,
    RuleFaults,
    Status,
    Weight,
    WordList,
    Words,
    did_you_mean,
    parse_rule,
)
from analyzer.rules.faults import Place
from analyzer.rules.pack import DEFAULT_POINTS, PASS_MARK
from analyzer.rules.patterns import BUILT_IN_SLOTS, PatternError, Sequence, parse
from analyzer.rules.phrases import PHRASE_COLUMNS, Phrase, PhraseSet, Vocabulary, phrase_sets, read_phrase
from analyzer.types import Severity

STANDARD = "standard"
LIKENESS_SCHEMA = "analyzer.likeness/2"
_HERE = Path(__file__).parent
_SHIPPED = (_HERE / "_data" / "lexicons", _HERE.parent / "lexicons")  # installed, and in the repository
_SLOTS = "slots"
_RUNNING = (Status.STABLE, Status.TRIAL)
_LIST_HEADER = ("name", "title", "source", "licence")
_SPACED = re.compile(r"\S {2,}\S")  # what a tab looks like when an editor has put spaces for it


def load_pack(name_or_path: str | Path = STANDARD, profile: str = STANDARD) -> Pack:
    """The pack of that name or in that folder, weighed by one of its profiles.

    raises ConfigError with one line per fault, all of them
    """
    opened = open_pack(name_or_path, profile)
    opened.check()
    return opened.pack


@dataclass(frozen=True, slots=True)
class PackFiles:
    """A pack as its author sees it: every rule whatever its status, with the files things stand in, and all faults.

    rules          every rule that could be read, drafts and retired ones too, by topic and id
    files          the YAML file of each of them, by rule id: its fields as written, and the lines of its keys
    slot_sources   the alternatives of each slot as written
    """

    folder: Path
    pack: Pack
    head: YamlFile
    rules: tuple[Rule, ...]
    files: Mapping[str, YamlFile]
    words: Words
    slot_sources: Mapping[str, tuple[str, ...]]
    profile: ProfileSpec
    profile_file: YamlFile
    faults: tuple[str, ...]

    @property
    def whole(self) -> Pack:
        """The pack with every rule that is stable or on trial, also those that the profile switches off."""
        return replace(self.pack, rules=tuple(rule for rule in self.rules if rule.status in _RUNNING))

    def check(self) -> None:
        """Raises ConfigError with one line per fault, if there are any."""
        if self.faults:
            raise ConfigError("\n".join(self.faults))


def open_pack(name_or_path: str | Path = STANDARD, profile: str = STANDARD) -> PackFiles:
    """The same pack with everything the tools for rule authors need; faults are handed out, not raised.

    raises ConfigError only if there is no pack of that name
    """
    return _Loader(_folder(name_or_path)).open(profile)


def profiles(name_or_path: str | Path = STANDARD) -> list[str]:
    """Names of the profiles a pack ships."""
    return sorted(path.stem for path in (_folder(name_or_path) / "profiles").glob("*.yaml"))


def pack_folder(name_or_path: str | Path = STANDARD) -> Path:
    """Where a pack lies. raises ConfigError if there is none"""
    return _folder(name_or_path)


def pack_digest(name_or_path: str | Path = STANDARD) -> str:
    """The digest a pack would be loaded with, by its bytes alone. raises ConfigError if there is none of that name"""
    return digest(_folder(name_or_path))


def pack_bytes(name_or_path: str | Path = STANDARD) -> dict[str, bytes]:
    """A pack's files by path below its folder: laid out elsewhere they have the same digest. raises ConfigError"""
    return dict(_files_of(_folder(name_or_path)))


def profile_specs(name_or_path: str | Path = STANDARD) -> dict[str, ProfileSpec]:
    """What every profile of a pack says, by name; empty where it cannot be read. Rules and words are not read."""
    loader = _Loader(_folder(name_or_path))
    return {name: loader.profile(name)[1] for name in profiles(name_or_path)}


def profile_faults(opened: PackFiles) -> list[str]:
    """The faults that the profiles of an opened pack have, all of them. Only rules that a profile changes are read."""
    loader = _Loader(opened.folder)
    for name in profiles(opened.folder):
        loader.judge_profile(name, opened)
    return list(dict.fromkeys(loader.faults))


def _folder(name_or_path: str | Path) -> Path:
    if str(name_or_path) == STANDARD:
        found = next((folder for folder in _SHIPPED if (folder / "pack.yaml").is_file()), None)
        if found is None:
            raise ConfigError(f"pack {STANDARD!r} is not installed; looked in {', '.join(map(str, _SHIPPED))}")
        return found
    folder = Path(name_or_path)
    if not (folder / "pack.yaml").is_file():
        raise ConfigError(
            f"{folder}: no pack here (no pack.yaml); give {STANDARD!r} or a folder laid out like lexicons/"
        )
    return folder


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass
class YamlFile:
    """A YAML file with the lines of its keys. Those are read when first asked for: a reader that keeps lines is some
    twenty times slower, and only a fault needs one."""

    path: str
    fields: dict[str, Any]
    text: str = field(default="", repr=False)

    @cached_property
    def _tree(self) -> Any:
        from ruamel.yaml import YAML  # noqa: PLC0415

        return YAML(typ="rt").load(self.text)

    def line(self, place: Iterable[str | int]) -> int:
        """Line (from 1) of the deepest part of ``place`` that the file has."""
        node, line = self._tree, 1
        for part in place:
            try:
                line = (node.lc.item(part) if isinstance(part, int) else node.lc.key(part))[0] + 1
                node = node[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return line


@dataclass(slots=True)
class _Loader:
    folder: Path
    faults: list[str] = field(default_factory=list)
    files: dict[str, YamlFile] = field(default_factory=dict)
    slot_sources: dict[str, list[str]] = field(default_factory=dict)

    def open(self, profile_name: str) -> PackFiles:
        head = self._head()
        slots = self._slots()
        lists = {words.name: words for words in self._word_lists(slots)}
        words = Words(lists, slots, models=self._models())
        words = replace(words, allow=tuple(phrase.pattern for phrase in self._phrases(head, "allow", words)))
        profile_file, spec = self.profile(profile_name)
        rules = list(self._rules(words, profile_file, spec))
        self._check_references(rules, profile_file, spec)
        pack = Pack(
            name=str(head.fields.get("name", "")),
            version=str(head.fields.get("version", "")),
            digest=digest(self.folder),
            rules=tuple(rule for rule in rules if rule.status in _RUNNING and spec.runs(rule.id)),
            profile=_profile_of(profile_name, spec, rules),
            back_channel=PhraseSet(self._phrases(head, "back_channel", words)),
        )
        Vocabulary.shared_by(phrase_sets([[(r.check, r.not_applicable_when) for r in rules], pack.back_channel]))
        return PackFiles(
            folder=self.folder,
            pack=pack,
            head=head,
            rules=tuple(rules),
            files=self.files,
            words=words,
            slot_sources={slot: tuple(sources) for slot, sources in self.slot_sources.items()},
            profile=spec,
            profile_file=profile_file,
            faults=tuple(dict.fromkeys(self.faults)),
        )

    # --- reading ---

    def _path(self, path: Path) -> str:
        return path.as_posix()

    def _fault(self, file: YamlFile, fault: Fault) -> None:
        self.faults.append(f"{file.path}:{file.line(fault.place)}: {fault.message}")

    def _yaml(self, path: Path) -> YamlFile:
        """A file's fields; faults of the notation itself are noted and leave it empty."""
        from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

        name = self._path(path)
        try:
            text = path.read_text(encoding="utf-8")
            fields = _read_yaml(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.faults.append(f"{name}:{mark.line + 1 if mark else 1}: {error.problem or 'not YAML'}")
        except UnicodeDecodeError as error:
            self.faults.append(_not_utf8(name, error))
        except YAMLError as error:
            self.faults.append(f"{name}:1: not YAML ({type(error).__name__})")
        else:
            if isinstance(fields, dict):
                return YamlFile(name, _with_text_keys(fields), text)
            self.faults.append(f"{name}:1: expected keys and values")
        return YamlFile(name, {})

    def _head(self) -> YamlFile:
        file = self._yaml(self.folder / "pack.yaml")
        for key in file.fields:
            if key not in _HEAD_KEYS:
                self._fault(file, Fault((key,), f"unknown key {key!r}{did_you_mean(key, _HEAD_KEYS)}"))
        for key in ("name", "version"):
            if not isinstance(file.fields.get(key), str):
                self._fault(file, Fault((key,), f"{key!r} must be given, as text"))
        return file

    def _phrases(self, head: YamlFile, key: str, words: Words) -> list[Phrase]:
        """Phrases of the lists that pack.yaml names under ``key``."""
        phrases: list[Phrase] = []
        for index, name in enumerate(head.fields.get(key) or ()):
            if name in words.lists:
                phrases += words.lists[name].phrases
            else:
                guess = did_you_mean(str(name), words.lists)
                self._fault(head, Fault((key, index), f"unknown word list {name!r}{guess}"))
        return phrases

    # --- words ---

    def _table(self, path: Path, known: tuple[str, ...]) -> tuple[dict[str, str], list[tuple[int, dict[str, str]]]]:
        """Header and rows (with line numbers) of a TSV file."""
        header: dict[str, str] = {}
        rows: list[tuple[int, dict[str, str]]] = []
        columns: list[str] | None = None
        name = self._path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self.faults.append(_not_utf8(name, error))
            return header, rows
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("#") and columns is None:
                key, _, value = line.lstrip("# ").partition(":")
                header[key.strip()] = value.strip()
            elif not line.strip() or line.startswith("#"):
                continue
            elif columns is None:
                columns = line.split("\t")
                if len(columns) == 1 and len(columns[0].split()) > 1:
                    self.faults.append(f"{name}:{number}: columns are divided by spaces; divide them by a tab")
                    columns = line.split()
                self._check_columns(name, number, columns, known)
            else:
                cells = [cell.strip() for cell in line.split("\t")]
                if len(cells) == 1 and len(columns) > 1 and _SPACED.search(cells[0]):
                    self.faults.append(f"{name}:{number}: cells are divided by spaces; divide them by a tab")
                if len(cells) > len(columns):
                    self.faults.append(f"{name}:{number}: {len(cells)} cells for {len(columns)} columns")
                rows.append((number, dict(zip(columns, cells, strict=False))))
        if columns is None:
            self.faults.append(f"{name}:1: no line of column names")
        return header, rows

    def _check_columns(self, name: str, number: int, columns: list[str], known: tuple[str, ...]) -> None:
        for column in columns:
            if column not in known:
                self.faults.append(f"{name}:{number}: unknown column {column!r}{did_you_mean(column, known)}")
        for column in known[:1]:
            if column not in columns:
                self.faults.append(f"{name}:{number}: no column {column!r}")

    def _models(self) -> dict[str, Mapping[str, Any]]:
        """``models/*.json`` by name, see ``analyzer.rules.likeness``."""
        models = {}
        for path in sorted((self.folder / "models").glob("*.json")):
            try:
                fields = json.loads(path.read_text(encoding="utf-8"))
                if fields["schema"] != LIKENESS_SCHEMA:
                    raise ValueError(f"schema is not {LIKENESS_SCHEMA}")
            except (ValueError, KeyError, TypeError) as error:
                self.faults.append(f"{path}:1: not a likeness model ({error}); train it again")
                continue
            models[path.stem] = fields
        return models

    def _slots(self) -> dict[str, Sequence]:
        """Slots by name; a slot may use those of the rows before it."""
        path = self.folder / "words" / f"{_SLOTS}.tsv"
        if not path.is_file():
            return {}
        slots: dict[str, Sequence] = {}
        for number, row in self._table(path, ("slot", "pattern", "notes"))[1]:
            slot, pattern = row.get("slot", ""), row.get("pattern", "")
            if slot in BUILT_IN_SLOTS:
                self.faults.append(
                    f"{self._path(path)}:{number}: {{{slot}}} is a slot of our own; give yours another name"
                )
                continue
            alternatives = self.slot_sources.setdefault(slot, [])
            try:
                others = {name: nodes for name, nodes in slots.items() if name != slot}
                slots[slot] = parse("|".join([*alternatives, pattern]), others)
                alternatives.append(pattern)
            except PatternError as error:
                itself = "; a slot may not hold itself" if f"{{{slot}}}" in pattern else ""
                self.faults.append(f"{self._path(path)}:{number}: {error}{itself}")
        return slots

    def _word_lists(self, slots: Mapping[str, Sequence]) -> Iterator[WordList]:
        for path in sorted((self.folder / "words").glob("*.tsv")):
            if path.stem == _SLOTS:
                continue
            header, rows = self._table(path, PHRASE_COLUMNS)
            name = self._path(path)
            for key in _LIST_HEADER:
                if not header.get(key):
                    self.faults.append(f"{name}:1: header line '# {key}: …' is missing")
            if header.get("name", path.stem) != path.stem:
                self.faults.append(f"{name}:1: name {header['name']!r} differs from the file's, {path.stem!r}")
            phrases = tuple(self._list_phrases(name, path.name, rows, slots))
            yield WordList(
                path.stem, header.get("title", ""), header.get("source", ""), header.get("licence", ""), phrases
            )

    def _list_phrases(
        self, name: str, file_name: str, rows: list[tuple[int, dict[str, str]]], slots: Mapping[str, Sequence]
    ) -> Iterator[Phrase]:
        seen: dict[str, int] = {}
        for number, row in rows:
            phrase = row.get("phrase", "")
            if not phrase:
                self.faults.append(f"{name}:{number}: no phrase in this row")
            elif phrase in seen:
                self.faults.append(f"{name}:{number}: {phrase!r} stands in line {seen[phrase]} already")
            else:
                seen[phrase] = number
                try:
                    yield read_phrase(row, slots, f"words/{file_name}:{number}")
                except RuleFaults as error:
                    self.faults += [f"{name}:{number}: {fault.message}" for fault in error.faults]

    # --- rules and profiles ---

    def profile(self, name: str) -> tuple[YamlFile, ProfileSpec]:
        """The file of a profile, and what it says with all that it takes over from the one it extends."""
        path = self.folder / "profiles" / f"{name}.yaml"
        if not path.is_file():
            known = [p.stem for p in sorted((self.folder / "profiles").glob("*.yaml"))]
            guess = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
            self.faults.append(f"{self._path(self.folder / 'profiles')}: no profile {name!r}{guess}")
            return YamlFile(self._path(path), {}), ProfileSpec(name=name)
        file = self._yaml(path)
        try:
            spec = ProfileSpec.model_validate(self._with_extended(file, [name]))
        except ValidationError as error:
            for problem in error.errors():
                place = tuple(part for part in problem["loc"] if part in ("rules",) or part not in _UNION_TAGS)
                self._fault(file, Fault(place, _profile_problem(problem, place)))
            return file, ProfileSpec(name=name)
        if spec.name != name:
            self._fault(file, Fault(("name",), f"name {spec.name!r} differs from the file's, {name!r}"))
        for index, item in enumerate(spec.manual):
            if item.id in (other.id for other in spec.manual[:index]):
                self._fault(file, Fault(("manual", index), f"manual item {item.id!r} is listed twice"))
        return file, spec

    def _with_extended(self, file: YamlFile, chain: list[str]) -> dict[str, Any]:
        """The fields of a profile laid over those of the one it extends: for each rule key by key."""
        base = file.fields.get("extends")
        path = self.folder / "profiles" / f"{base}.yaml"
        if base is None:
            return file.fields
        if base in chain or not path.is_file():
            why = "itself" if base in chain else f"an unknown profile {base!r}"
            self._fault(file, Fault(("extends",), f"the profile extends {why}"))
            return file.fields
        below = self._with_extended(self._yaml(path), [*chain, base])
        rules, own = dict(below.get("rules") or {}), file.fields.get("rules") or {}
        if isinstance(own, dict):
            rules |= {rule: _laid_over(rules.get(rule), weight) for rule, weight in own.items()}
        return {**below, **file.fields, "rules": rules}

    def judge_profile(self, name: str, opened: PackFiles) -> None:
        """Note the faults of one more profile of a pack."""
        file, spec = self.profile(name)
        self.files |= opened.files
        rules = [self._adjusted(rule, opened.files[rule.id], opened.words, file, spec) for rule in opened.rules]
        self._check_references(rules, file, spec)

    def _rules(self, words: Words, profile_file: YamlFile, spec: ProfileSpec) -> Iterator[Rule]:
        seen: dict[str, str] = {}
        for path in sorted((self.folder / "rules").rglob("*.yaml")):
            file = self._yaml(path)
            if not file.fields:
                continue
            rule = self._rule(file, words)
            if rule is None:
                continue
            if rule.id != path.stem:
                self._fault(file, Fault(("id",), f"id {rule.id!r} differs from the file's name, {path.stem!r}"))
            if rule.id in seen:
                self._fault(file, Fault(("id",), f"rule {rule.id!r} stands in {seen[rule.id]} already"))
                continue
            seen[rule.id] = file.path
            self.files[rule.id] = file
            yield self._adjusted(rule, file, words, profile_file, spec)

    def _rule(self, file: YamlFile, words: Words) -> Rule | None:
        try:
            return parse_rule(file.fields, words)
        except RuleFaults as error:
            for fault in error.faults:
                self._fault(file, fault)
            return None

    def _adjusted(self, rule: Rule, file: YamlFile, words: Words, profile_file: YamlFile, spec: ProfileSpec) -> Rule:
        """The rule with what the profile says of it."""
        own = spec.rules.get(rule.id)
        if own is None or not (own.options or own.severity or own.status):
            return rule
        changes: dict[str, Any] = {**own.options}
        changes |= {"severity": own.severity.value} if own.severity else {}
        changes |= {"status": own.status.value} if own.status else {}
        try:
            return parse_rule({**file.fields, **changes}, words)
        except RuleFaults as error:
            for fault in error.faults:
                self._fault(profile_file, Fault(("rules", rule.id, "options", *fault.place), fault.message))
            return rule

    def _check_references(self, rules: list[Rule], profile_file: YamlFile, spec: ProfileSpec) -> None:
        known = [path.stem for path in sorted((self.folder / "rules").rglob("*.yaml"))]  # faulty ones too
        for rule_id in spec.rules:
            if rule_id not in known:
                guess = did_you_mean(rule_id, known)
                self._fault(profile_file, Fault(("rules", rule_id), f"unknown rule {rule_id!r}{guess}"))
        needs = {rule.id: rule.needs for rule in rules}
        for rule in rules:
            for needed in rule.needs:
                file = self.files[rule.id]
                place = _place_of(needed, file.fields)
                if needed not in known:
                    guess = did_you_mean(needed, known)
                    self._fault(file, Fault(place, f"needs unknown rule {needed!r}{guess}"))
                elif rule.id in _reachable(needed, needs):
                    self._fault(file, Fault(place, f"needs itself by way of {needed!r}"))


_HEAD_KEYS = ("name", "version", "title", "back_channel", "allow")
_UNION_TAGS = ("float", "int", "dict[Severity,float]", "[key]")


def _laid_over(below: Any, own: Any) -> Any:
    """What a profile says of a rule over what the extended one says; points of its own bring their own deductions."""
    if not isinstance(below, dict) or not isinstance(own, dict):
        return own
    kept = {key: value for key, value in below.items() if not ("max_points" in own and key in ("deduct", "cap"))}
    return {**kept, **own}


def _reachable(start: str, needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        rule = waiting.pop()
        if rule not in reached:
            reached.add(rule)
            waiting += needs.get(rule, ())
    return reached


def _place_of(value: str, node: Any, place: Place = ()) -> Place:
    """The keys that lead to a value of a rule file, its cases left out; none where it is not written there."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, part in parts:
        here = (*place, key)
        if part == value:
            return here
        if here != ("cases",) and (found := _place_of(value, part, here)):
            return found
    return ()


def _not_utf8(name: str, error: UnicodeDecodeError) -> str:
    line = error.object[: error.start].count(b"\n") + 1
    return f"{name}:{line}: not UTF-8 (GBK perhaps); save the file as UTF-8"


def _read_yaml(text: str) -> Any:
    """YAML 1.2 as plain values. libyaml is quick but refuses some unquoted texts that YAML 1.2 allows, such as ``…)?``
    in a list; the reader that knows all of it, and names faults by line, has the last word."""
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        return _quick_yaml().load(text)
    except YAMLError:
        return YAML(typ="safe", pure=True).load(text)


@lru_cache(maxsize=1)
def _quick_yaml() -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415

    return YAML(typ="safe")


def _with_text_keys(node: Any) -> Any:
    """Keys that YAML reads as numbers (``4: …``) are names here."""
    if isinstance(node, dict):
        return {str(key): _with_text_keys(value) for key, value in node.items()}
    return [_with_text_keys(value) for value in node] if isinstance(node, list) else node


def digest(folder: Path) -> str:
    """``sha256:…`` over the names and bytes of the pack's files, the same on every machine."""
    content = hashlib.sha256()
    for name, raw in _files_of(folder):
        body = raw.replace(b"\r\n", b"\n")
        content.update(b"%d %s %d " % (len(name.encode()), name.encode(), len(body)) + body)
    return f"sha256:{content.hexdigest()}"


def _files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that makes a pack, by path below its folder, in order."""
    files = [folder / "pack.yaml", *(folder / "rules").rglob("*.yaml"), *(folder / "words").rglob("*.tsv"),
             *(folder / "profiles").rglob("*.yaml"), *(folder / "models").glob("*.json")]  # fmt: skip
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return ((name, named[name].read_bytes()) for name in sorted(named))


# --- profiles ---------------------------------------------------------------------------------------------------------


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WeightSpec(_Spec):
    max_points: float | None = Field(default=None, ge=0)
    deduct: float | dict[Annotated[Severity, Field(strict=False)], float] | None = None
    per: Literal["call", "hit"] = "call"
    cap: float | None = Field(default=None, ge=0)
    veto: bool = False
    bonus: float = Field(default=0, ge=0)
    severity: Annotated[Severity, Field(strict=False)] | None = None
    status: Annotated[Status, Field(strict=False)] | None = None
    enabled: bool = True
    options: dict[str, Any] = {}


class ManualItemSpec(_Spec):
    """What a person scores by hand. ``clause``: an id of the ledger."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)
    title: str = Field(min_length=1)
    max_points: float = Field(gt=0)
    clause: str | None = None


class ProfileSpec(_Spec):
    name: str
    title: str = ""
    extends: str | None = None
    pass_mark: float = Field(default=PASS_MARK, ge=0, le=100)
    rules: dict[str, WeightSpec] = {}
    manual: list[ManualItemSpec] = []

    def runs(self, rule_id: str) -> bool:
        return rule_id not in self.rules or self.rules[rule_id].enabled


def _profile_problem(problem: Any, place: tuple[str | int, ...]) -> str:
    key = str(place[-1]) if place else ""
    if problem["type"] == "extra_forbidden":
        below: dict[str | int, type[_Spec]] = {"rules": WeightSpec, "manual": ManualItemSpec}
        known = (ProfileSpec if len(place) == 1 else below[place[0]]).model_fields
        return f"unknown key {key!r}{did_you_mean(key, known)}"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _profile_of(name: str, spec: ProfileSpec, rules: Iterable[Rule]) -> Profile:
    weights = {rule.id: _weight(spec.rules[rule.id], rule) for rule in rules if rule.id in spec.rules}
    manual = tuple(ManualItem(item.id, item.title, item.max_points, item.clause) for item in spec.manual)
    return Profile(name, spec.title, spec.pass_mark, weights, manual)


def with_graver(deduct: Mapping[Severity, float]) -> dict[Severity, float]:
    """A severity that is not named deducts no less than the next milder one that is.

    >>> with_graver({Severity.MAJOR: 5})
    {<Severity.CRITICAL: 'critical'>: 5, <Severity.MAJOR: 'major'>: 5}
    """
    full: dict[Severity, float] = {}
    for severity in reversed(Severity):
        if severity in deduct:
            full[severity] = deduct[severity]
        elif full:
            full[severity] = next(reversed(full.values()))
    return {severity: full[severity] for severity in Severity if severity in full}


def _weight(spec: WeightSpec, rule: Rule) -> Weight:
    points = DEFAULT_POINTS[rule.severity] if spec.max_points is None else spec.max_points
    deduct = points if spec.deduct is None else spec.deduct
    if isinstance(deduct, dict):
        deduct = with_graver(deduct)
    return Weight(points, deduct, spec.per == "hit", spec.cap, spec.veto, spec.bonus)
