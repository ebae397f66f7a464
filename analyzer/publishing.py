"""Changing a rule pack safely: what an edit would break, which calls it would flip, and publishing it as a version.

A version is a folder of its own under the folder of published packs and is never changed again, so old scores keep the
pack they were made with:

    packs/standard-2026.12/
      pack.yaml rules/ words/ profiles/ models/ clauses/    as under lexicons/
      published.json                                        author, note, moment, base; not in the digest

It is built under another name and renamed, so a version is there as a whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from analyzer.cases import alone, run_case
from analyzer.catalog import PackFiles, open_pack
from analyzer.errors import ConfigError, InputError
from analyzer.lint import lint
from analyzer.report import analyze, rule_entry
from analyzer.rescore.changes import Change, Judged, change_of
from analyzer.rescore.stored import StoredCall
from analyzer.rules import Pack, Rule
from analyzer.storage import write_atomically
from analyzer.transcripts import read_call_text

PUBLISHED = "published.json"
_EDITABLE = re.compile(r"rules/[\w-]+/[\w-]+\.yaml|words/[\w-]+\.tsv|profiles/[\w-]+\.yaml")
_VERSION = re.compile(r"[\w][\w.-]{0,39}")
_VERSION_LINE = re.compile(r"^version:.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """A file of a pack with other text. ``file`` is relative to the pack's folder."""

    file: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _EDITABLE.fullmatch(self.file):
            raise ConfigError(
                f"{self.file}: only rules/TOPIC/RULE.yaml, words/LIST.tsv and profiles/NAME.yaml can be edited"
            )

    @property
    def rule(self) -> str | None:
        """The rule whose file this is."""
        return Path(self.file).stem if self.file.startswith("rules/") else None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with an edit. ``line`` is None where it belongs to no line of the edited file."""

    file: str
    line: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What an edit would do to the pack.

    faults    the pack would not load
    failing   cases of the edited rules, and of all rules where a word list was edited, that no longer hold
    problems  what lint finds that it did not find before, if it was asked to look
    cases     how many cases were run
    """

    faults: tuple[Fault, ...] = ()
    failing: tuple[Fault, ...] = ()
    problems: tuple[Fault, ...] = ()
    cases: int = 0

    @property
    def is_publishable(self) -> bool:
        return not self.faults and not self.failing


@dataclass(frozen=True, slots=True)
class Version:
    """A published pack."""

    folder: Path
    name: str
    version: str
    digest: str
    author: str
    note: str
    at: datetime
    base_digest: str
    changed: tuple[str, ...]


def examine(base: Path, edits: Sequence[Edit], *, profile: str = "standard", with_lint: bool = False) -> Examined:
    """Load the pack with the edits and run its cases; nothing is kept.

    with_lint  also look for what lint finds now and did not find before; takes twenty times as long
    raises ConfigError if ``base`` is no pack
    """
    with edited(base, edits) as folder:
        opened = open_pack(folder, profile)
        if opened.faults:
            return Examined(faults=tuple(_fault(text, folder) for text in opened.faults))
        rules = _touched(opened, edits)
        failing = tuple(_failing(opened, rules, folder))
        cases = sum(len(rule.cases) for rule in rules)
        problems = tuple(_new_problems(base, folder)) if with_lint else ()
        return Examined(failing=failing, problems=problems, cases=cases)


def _new_problems(base: Path, folder: Path) -> Iterator[Fault]:
    known = {str(problem).replace(base.as_posix(), "") for problem in lint(base)}
    for problem in lint(folder):
        if str(problem).replace(folder.as_posix(), "") not in known:
            yield _fault(str(problem), folder)


def _touched(opened: PackFiles, edits: Sequence[Edit]) -> list[Rule]:
    """The rules an edit can change: the edited ones and those that need them; all of them after an edit of words."""
    running = list(opened.whole.rules)
    edited_rules = {edit.rule for edit in edits}
    if None in edited_rules:
        return running
    touched = set(edited_rules)
    for _ in running:  # as often as the longest chain of needs could be
        more = {rule.id for rule in running if touched & set(rule.needs)} - touched
        if not more:
            break
        touched |= more
    return [rule for rule in running if rule.id in touched]


def _failing(opened: PackFiles, rules: Iterable[Rule], folder: Path) -> Iterator[Fault]:
    pack = opened.whole
    for rule in rules:
        judging = alone(pack, rule)
        file = opened.files[rule.id]
        for number, case in enumerate(rule.cases):
            line = file.line(("cases", number))
            try:
                wrong = run_case(judging, rule, case)
            except InputError as error:
                wrong = [str(error)]
            for what in wrong:
                yield Fault(_below(file.path, folder), line, f"{case.name}：{what}")


def _fault(text: str, folder: Path) -> Fault:
    """``file:line: message`` taken apart."""
    found = re.match(r"(?P<file>.+?):(?P<line>\d+): (?P<message>.*)", text, re.DOTALL)
    if found is None:
        return Fault("", None, text)
    return Fault(_below(found["file"], folder), int(found["line"]), found["message"])


def _below(path: str, folder: Path) -> str:
    return path.removeprefix(folder.as_posix()).lstrip("/")


@contextmanager
def edited(base: Path, edits: Sequence[Edit]) -> Iterator[Path]:
    """A pack's folder with the edits, for as long as the block runs. Unedited files are links to those of ``base``."""
    _require_pack(base)
    with tempfile.TemporaryDirectory(prefix="analyzer-pack-") as parent:
        folder = Path(parent) / "pack"
        shutil.copytree(base.resolve(), folder, copy_function=os.symlink, ignore=shutil.ignore_patterns(PUBLISHED))
        _write(folder, edits)
        yield folder


def _require_pack(folder: Path) -> None:
    if not (folder / "pack.yaml").is_file():
        raise ConfigError(f"{folder}: no pack here (no pack.yaml)")


def _write(folder: Path, edits: Sequence[Edit]) -> None:
    for edit in edits:
        path = folder / edit.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(edit.text, encoding="utf-8")


# ---- which calls would flip


@dataclass(slots=True)
class Flips:
    """``changes`` in order of the calls; ``faults`` counts calls that could not be judged again."""

    calls: int = 0
    changes: list[Change] = field(default_factory=list)
    faults: int = 0


def flips(
    base: Pack,
    changed: Pack,
    rules: Sequence[str],
    calls: Iterable[StoredCall | InputError],
    *,
    on_call: Callable[[], None] = lambda: None,
) -> Flips:
    """Which stored calls these rules would be judged differently in, as compared with ``base``.

    Judges the rules alone first, which is some fifty times cheaper; a call in which one differs is judged whole.

    rules  ids; none means all
    """
    result = Flips()
    few = [_few(pack, rules) for pack in (base, changed)]
    for call in calls:
        on_call()
        if isinstance(call, InputError):
            result.faults += 1
            continue
        result.calls += 1
        before, after = (analyze(call.transcript, pack) for pack in few)
        if [_compared(before, rule) for rule in rules] == [_compared(after, rule) for rule in rules] and rules:
            continue
        whole = [Judged.of(analyze(call.transcript, pack)) for pack in (base, changed)]
        if change := change_of(call.transcript.call_id, *whole):
            result.changes.append(change)
    return result


def _few(pack: Pack, rules: Sequence[str]) -> Pack:
    if not rules:
        return pack
    wanted = {one.id for rule in pack.rules if rule.id in rules for one in alone(pack, rule).rules}
    return replace(pack, rules=tuple(rule for rule in pack.rules if rule.id in wanted))


def _compared(report: Mapping[str, Any], rule: str) -> Any:
    """All of a rule's entry that can move a score."""
    try:
        entry = rule_entry(report, rule)
    except KeyError:
        return None
    return entry["outcome"], entry["points"], entry.get("level"), len(entry["findings"])


# ---- trying


def try_dialogue(pack: Pack, dialogue: str) -> dict[str, Any]:
    """The report of a dialogue as people write it (docs/rule-files.md, "Cases").

    raises InputError naming the line
    """
    return analyze(read_call_text(dialogue, "dialogue").transcript, pack)


# ---- publishing


def read_edits(paths: Iterable[Path]) -> list[Edit]:
    """Files on disk as edits: what follows the last ``rules``, ``words`` or ``profiles`` in their paths is their place.

    raises ConfigError for a file that cannot be read or has no such place
    """
    edits = []
    for path in paths:
        parts = path.absolute().parts
        starts = [index for index, part in enumerate(parts) if part in ("rules", "words", "profiles")]
        try:
            edits.append(Edit("/".join(parts[starts[-1] :]) if starts else path.name, path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    return edits


def publish(
    base: Path,
    edits: Sequence[Edit],
    packs: Path,
    *,
    version: str,
    author: str,
    note: str,
    at: datetime,
    profile: str = "standard",
) -> Version:
    """Make a new version of a pack under ``packs``.

    raises ConfigError if the version exists or is no name, or if the pack with the edits does not load or a case of it
           does not hold
    """
    opened = open_pack(base, profile)
    name = opened.pack.name
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"version {version!r}: letters, digits, dots and dashes, at most 40")
    target = packs / f"{name}-{version}"
    if target.exists() or version == opened.pack.version:
        raise ConfigError(f"{name} {version} is published already; choose another version")
    _require_publishable(examine(base, edits, profile=profile))
    packs.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".publishing-", dir=packs))
    try:
        folder = building / "pack"
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns(PUBLISHED))
        _write(folder, edits)
        _set_version(folder / "pack.yaml", version)
        digest = open_pack(folder, profile).pack.digest
        made = Version(
            target, name, version, digest, author, note, at, opened.pack.digest, tuple(edit.file for edit in edits)
        )
        write_atomically(folder / PUBLISHED, _as_json(made).encode())
        folder.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return made


def _require_publishable(examined: Examined) -> None:
    if not examined.is_publishable:
        lines = [f"{one.file}:{one.line or 1}: {one.message}" for one in (*examined.faults, *examined.failing)]
        raise ConfigError("\n".join(lines))


def _set_version(head: Path, version: str) -> None:
    text = head.read_text(encoding="utf-8")
    line = f'version: "{version}"'
    head.write_text(
        _VERSION_LINE.sub(line, text) if _VERSION_LINE.search(text) else f"{text}{line}\n", encoding="utf-8"
    )


def _as_json(made: Version) -> str:
    fields = asdict(made)
    del fields["folder"]
    return json.dumps({**fields, "at": made.at.isoformat()}, ensure_ascii=False, indent=1) + "\n"


def versions(packs: Path) -> list[Version]:
    """The published versions, newest first; folders that are none are left out."""
    if not packs.is_dir():
        return []
    found = [version for path in packs.glob(f"*/{PUBLISHED}") if (version := _read(path)) is not None]
    return sorted(found, key=lambda version: (version.at, version.version), reverse=True)


def _read(path: Path) -> Version | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        at, changed = datetime.fromisoformat(fields.pop("at")), tuple(fields.pop("changed"))
        return Version(folder=path.parent, at=at, changed=changed, **fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def current(packs: Path, shipped: Path) -> Path:
    """The pack that judges calls which begin now: the newest published version, else the shipped one."""
    newest = next(iter(versions(packs)), None)
    return newest.folder if newest is not None else shipped
