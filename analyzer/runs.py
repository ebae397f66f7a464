"""The run folder: one report per call and an append-only journal; resume and crash safety live here and nowhere else.

    runs/day-0312/
      journal.jsonl        what happened, one JSON object per line, only ever appended to
      reports/<call>.json  one report per call, whole or absent, never half
      run.json             clocks, host, settings and inputs: for people, never read back

Theory of operation. A report becomes part of the run in four steps, each durable before the next begins:

    1. write ``<call>.json.part``            killed after it: the call is scored again
    2. append ``done`` with the report's sha256 to the journal
                                             killed after it: the next open finishes step 3
    3. rename ``.part`` to ``<call>.json``   killed after it: nothing is left to do
    4. tell the caller

So at whatever moment the process dies, a call is either finished with exactly the bytes it would have had, or not
begun. A journal line is one ``write``; a torn last line (the power went) is cut off at the next open. In an object
store the same steps are made of other things: ``analyzer.storage`` says how. A call counts as finished only under the
fingerprint it was scored with: the digest of its input and of the settings (pack, model, version, options).
``why_score`` says in words what differs.

Many calls at once (``record_all``) go through the same steps side by side, and each step is durable for all of them
before the next begins for any: all ``.part`` files, then all ``done`` lines in one ``write`` and one sync, then all
renames and one sync of the folder. What is left of a torn group of lines is a beginning of it, for a file only grows
over what was written; each whole line in it speaks of a report that is durable, the rest is cut off, and those calls
are scored again. So the statement above holds of each call as if it had been recorded alone. Syncs of one group run
side by side, which lets the file system commit them together: that is what a group saves.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import secrets
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from analyzer import storage
from analyzer.errors import AnalyzerError, InputError, StoreError
from analyzer.storage import Disk, journal_of, storage_at

JOURNAL = storage.JOURNAL
LIVE = "live"
REPORTS = storage.REPORTS
RUN = "run.json"
RUN_SCHEMA = "analyzer.run/1"

_PLAIN_NAME = re.compile(r"[\w.-]")
_NAME_BYTES = 180  # file systems allow 255; the rest is for the suffixes and a hash
_BUG_EXIT_CODE = InputError.exit_code  # an unexpected exception over one call: that recording could not be scored


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that could not be scored; without a call id, an input that is no call.

    kind       the class of the error: ``InputError``, or any other name for a bug of ours
    message    what went wrong, where, and the cure; never spoken words
    exit_code  what the command owes its caller for it
    """

    call_id: str
    kind: str
    message: str
    exit_code: int


def failure_of(call_id: str, error: Exception) -> Failure:
    """How an error of one call stands in the journal."""
    code = error.exit_code if isinstance(error, AnalyzerError) else _BUG_EXIT_CODE
    return Failure(call_id, type(error).__name__, describe(error), code)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run holds of a call: says anywhere, also on another machine, whether the call has to be scored.

    always        why, whatever its recording is by now
    input_digest  of the input its report was made from
    otherwise     why, though the input is the same
    """

    always: str | None = None
    input_digest: str = ""
    otherwise: str | None = None

    def why_score(self, input_digest: str) -> str | None:
        """Why the call has to be scored now; None if its report stands as it is."""
        if self.always is not None:
            return self.always
        if input_digest != self.input_digest:
            return "the recording, its channels or its metadata changed"
        return self.otherwise


class ResultSink(Protocol):
    """Where results of calls go: a run folder, or what carries them to one. Called from any thread, one at a time."""

    def why_score(self, call_id: str, input_digest: str) -> str | None:
        """See ``RunFolder.why_score``."""

    def record(
        self, call_id: str, input_digest: str, report: str, *, recording: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """See ``RunFolder.record``."""

    def record_failure(self, call_id: str, error: Exception) -> Failure:
        """See ``RunFolder.record_failure``."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which telephone call a report is about: the run that judged it first, by its identity, and its id there.

    run  digest of the first line of that run's journal, which nothing changes and which moves with the folder

    Ids alone say nothing: two runs may hold different calls of one id.
    """

    run: str
    call_id: str

    @property
    def key(self) -> str:
        """40 hexadecimal digits, the same for every judgement of the call."""
        return digest_of([self.run, self.call_id]).removeprefix("sha256:")[:40]


@dataclass(frozen=True, slots=True)
class Record:
    """A call's result, to be made part of the run.

    input_digest  of all that the report was made from besides the settings
    report        JSON text
    recording     where it was heard: ``{"path": …, "channels": [role, …]}`` per file; for the journal only
    source        of a call that was judged again: where its transcript was read; for the journal only
    heard_at      likewise: when the recording was scored first
    origin        likewise: where it was judged first
    """

    call_id: str
    input_digest: str
    report: str = field(repr=False)
    recording: Sequence[Mapping[str, Any]] = ()
    source: str | None = None
    heard_at: datetime | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A finished call of a run, by digests: of its input and of its report."""

    call_id: str
    input_digest: str
    report_digest: str


def digest(content: bytes) -> str:
    """``sha256:`` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encoded(report: str) -> bytes:
    """A report as it stands in its file: UTF-8, of half a surrogate pair its JSON escape."""
    return report.encode("utf-8", "backslashreplace")


def digest_of(value: Any) -> str:
    """Digest of a JSON value, independent of key order."""
    return digest(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass"))


class RunFolder:
    """One run, open for one process at a time.

    place     a folder, or a URL of an object store (``s3://bucket/runs/day``); made if it does not exist
    settings  everything besides the input that decides a report's bytes: JSON values under names a person understands,
              because ``why_score`` quotes them (``pack``, ``model``, …)
    inputs    what the user asked for, for ``run.json`` only
    fresh     score every call anew, whatever the journal holds

    raises StoreError if another process has the run open, the place refuses, or the journal is not ours.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder), {"pack": "p1"}) as run:
    ...     run.record("a", "sha256:1", '{"call_id": "a"}\\n')
    ...     run.why_score("a", "sha256:1"), run.why_score("a", "sha256:2")
    (None, 'the recording, its channels or its metadata changed')
    """

    def __init__(
        self, place: str | Path, settings: Mapping[str, Any], *, inputs: Sequence[str] = (), fresh: bool = False
    ) -> None:
        self._settings = dict(settings)
        self._settings_digest = digest_of(self._settings)
        self._inputs = list(inputs)
        self._fresh = fresh
        self._known_settings: dict[str, dict[str, Any]] = {}
        self._done: dict[str, dict[str, Any]] = {}
        self._failures: dict[str, Failure] = {}
        self._scored_now: set[str] = set()
        self._notes: dict[str, Any] = {}
        self._started_at = _now()
        self._storage = storage_at(place)
        try:
            is_new = self._read_journal() == 0
            self._known_settings[self._settings_digest] = self._settings
            unlike_others = {"run": secrets.token_hex(16)} if is_new else {}  # see ``Origin``
            self._append("opened", settings=self._settings, settings_digest=self._settings_digest, **unlike_others)
            self._write_run("running")
        except BaseException:
            self._storage.close()
            raise

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return self._storage.place

    @property
    def path(self) -> Path:
        """The folder of a run on a disk."""
        if not isinstance(self._storage, Disk):
            raise TypeError(f"{self.place} is no folder of this machine")
        return self._storage.path

    def folder(self) -> AbstractContextManager[Path]:
        """A folder of this machine for tables and the like: what is in it at the end of the block is in the run."""
        return self._storage.folder()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close("finished" if kind is None else "interrupted")

    # ---- what is finished

    def why_score(self, call_id: str, input_digest: str) -> str | None:
        """Why this call has to be scored now; None if its report stands as it is."""
        return self.standing(call_id).why_score(input_digest)

    def standing(self, call_id: str) -> Standing:
        """What decides ``why_score``, to be taken elsewhere."""
        entry = self._done.get(call_id)
        if entry is None:
            return Standing("new")
        if self._fresh and call_id not in self._scored_now:
            return Standing("asked for")
        return Standing(None, entry["input"], self._why_stale(entry))

    def besides(self, call_ids: Iterable[str]) -> list[str]:
        """Other calls that have a report here, from earlier inputs."""
        return sorted(self._done.keys() - set(call_ids))

    def report_text(self, call_id: str) -> str:
        """The report of a finished call, byte for byte as recorded."""
        return next(self.report_texts([call_id]))

    def report_texts(self, call_ids: Sequence[str]) -> Iterator[str]:
        """``report_text`` of many calls, few in memory at a time."""
        return (content.decode("utf-8") for content in self._storage.read_all([_report(one) for one in call_ids]))

    def held(self) -> Mapping[str, Held]:
        """The calls that stand under these settings, by where their transcript was read (``Record.source``): whoever
        reads it again compares the digests. Empty where everything is to be scored anew."""
        if self._fresh:
            return {}
        return {
            entry["source"]: Held(entry["call_id"], entry["input"], entry["report"])
            for entry in self._done.values()
            if "source" in entry and entry["settings"] == self._settings_digest
        }

    def failures(self) -> list[Failure]:
        """The calls that failed when last tried, by call id."""
        return [self._failures[call_id] for call_id in sorted(self._failures)]

    # ---- what happens

    def record(
        self, call_id: str, input_digest: str, report: str, *, recording: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Make ``report`` this call's result. On return it is on disk and in the journal.

        recording  where it was heard: ``{"path": …, "channels": [role, …]}`` per file; for the journal only
        """
        self.record_all([Record(call_id, input_digest, report, recording)])

    def record_all(self, records: Sequence[Record]) -> None:
        """Make the reports their calls' results. On return all of them are on disk and in the journal.

        records  of different calls

        Memory and the work lost to a crash grow with the group: some hundred reports are plenty.
        """
        if not records:
            return
        contents = {_report(record.call_id): encoded(record.report) for record in records}
        entries = [self._entry(record, digest(contents[_report(record.call_id)])) for record in records]
        self._storage.stage_all(contents)
        self._append_all("done", entries)
        self._storage.publish_all(list(contents))
        for entry in entries:
            self._done[entry["call_id"]] = _kept(entry)
            self._scored_now.add(entry["call_id"])
            self._failures.pop(entry["call_id"], None)

    def _entry(self, record: Record, report_digest: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "call_id": record.call_id,
            "input": record.input_digest,
            "settings": self._settings_digest,
            "report": report_digest,
        }
        if record.recording:
            entry["recording"] = [dict(track) for track in record.recording]
        if record.source is not None:
            entry["source"] = record.source
        if record.heard_at is not None:
            entry["heard_at"] = record.heard_at.isoformat()
        if record.origin is not None:
            entry["origin"] = asdict(record.origin)
        return entry

    def forget_scored(self, call_id: str) -> None:
        """What was recorded of this call was left over from an earlier run: if ``fresh``, it is still to be scored."""
        self._scored_now.discard(call_id)

    def record_failure(self, call_id: str, error: Exception) -> Failure:
        """Note that this call could not be scored; a report it had from an earlier input no longer counts."""
        failure = failure_of(call_id, error)
        self.note_failure(failure)
        return failure

    def note_failure(self, failure: Failure) -> None:
        """``record_failure`` of what was judged elsewhere."""
        self._append("failed", **asdict(failure))
        self._storage.remove(_report(failure.call_id))
        self._done.pop(failure.call_id, None)
        self._failures[failure.call_id] = failure

    def record_fault(self, error: AnalyzerError) -> Failure:
        """Note something wrong with the inputs that belongs to no call (a manifest row, a missing file)."""
        failure = Failure("", type(error).__name__, describe(error), error.exit_code)
        self._append("fault", kind=failure.kind, message=failure.message)
        return failure

    def note(self, **facts: Any) -> None:
        """Put facts about the work into ``run.json``, for people: JSON values."""
        self._notes.update(facts)
        self._write_run("running")

    def close(self, state: str) -> None:
        """End the run. state: ``finished`` or ``interrupted``."""
        self._append("closed", state=state)
        self._write_run(state)
        self._storage.seal()
        self._storage.close()

    # ---- the journal

    def _read_journal(self) -> int:
        """The number of its lines."""
        number = 0
        for number, (place, line) in enumerate(self._storage.journal(), 1):  # noqa: B007 - of the last one
            try:
                self._replay(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise StoreError(
                    f"{place}: not a journal line; choose another folder with --run, or move this one away"
                ) from None
        for entry in self._done.values():
            self._finish_publishing(entry)
        return number

    def _replay(self, entry: dict[str, Any]) -> None:
        match entry["event"]:
            case "opened":
                self._known_settings[entry["settings_digest"]] = entry["settings"]
            case "done":
                self._done[entry["call_id"]] = _kept(entry)
                self._failures.pop(entry["call_id"], None)
            case "failed":
                failure = Failure(*(entry[key] for key in ("call_id", "kind", "message", "exit_code")))
                self._failures[failure.call_id] = failure
                self._done.pop(failure.call_id, None)

    def _finish_publishing(self, entry: Mapping[str, Any]) -> None:
        """Step 3 for a process that died after step 2."""
        name = _report(entry["call_id"])
        staged = self._storage.staged(name)
        if staged is not None and digest(staged) == entry["report"]:
            self._storage.publish(name)

    def _append(self, event: str, **fields: Any) -> None:
        self._append_all(event, [fields])

    def _append_all(self, event: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Lines of one moment, in one write."""
        at = _now()
        lines = [json.dumps({"event": event, **fields, "at": at}, ensure_ascii=False) for fields in entries]
        self._storage.append("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))

    def _why_stale(self, entry: Mapping[str, Any]) -> str | None:
        """Why a report made from the same input does not count."""
        if entry["settings"] != self._settings_digest:
            return f"{self._changed_settings(entry['settings'])} changed"
        return None if self._report_is_whole(entry) else "its report is missing or was edited"

    def _report_is_whole(self, entry: Mapping[str, Any]) -> bool:
        found = self._storage.read(_report(entry["call_id"]))
        return found is not None and digest(found) == entry["report"]

    def _changed_settings(self, earlier_digest: str) -> str:
        earlier = self._known_settings.get(earlier_digest, {})
        names = sorted(earlier.keys() | self._settings.keys())
        return ", ".join(name for name in names if earlier.get(name) != self._settings.get(name)) or "settings"

    def _write_run(self, state: str) -> None:
        run = {
            "schema": RUN_SCHEMA,
            "state": state,
            "started_at": self._started_at,
            "written_at": _now(),
            "host": {"name": platform.node(), "system": platform.platform(), "python": platform.python_version()},
            "inputs": self._inputs,
            "settings": self._settings,
            "calls": {"done": len(self._done), "scored_now": len(self._scored_now), "failed": len(self._failures)},
            **self._notes,
        }
        text = json.dumps(run, ensure_ascii=False, indent=2) + "\n"
        self._storage.write(RUN, text.encode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that a run has a report of.

    report_digest  of the report file; a file that differs was edited
    recording      as given to ``RunFolder.record``; empty for live calls and where it was never noted
    finished_at    when this report was made
    heard_at       when the recording was scored: earlier, for a call that was judged again
    origin         where it was judged first: here, unless it was judged again
    """

    call_id: str
    report_digest: str
    path: Path
    recording: tuple[Mapping[str, Any], ...]
    finished_at: datetime
    heard_at: datetime
    origin: Origin


_ONLY_WRITTEN = ("event", "at", "recording", "heard_at", "origin")


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    """What of a ``done`` line stays in memory while the run is open: of a day's 200,000 calls every byte counts."""
    kept = {key: value for key, value in entry.items() if key not in _ONLY_WRITTEN}
    return {**kept, "settings": sys.intern(entry["settings"])}


def finished_calls(run: Path) -> Iterator[Finished]:
    """The calls that a run has finished by now, in the order in which they were. Also while it is being written.

    raises StoreError if there is no journal, or it is not ours
    """
    done: dict[str, dict[str, Any]] = {}
    identity = ""
    for place, line in journal_of(run):
        identity = identity or _identity(line)
        try:
            entry = json.loads(line)
            if entry["event"] in ("done", "failed"):
                done.pop(entry["call_id"], None)
            if entry["event"] == "done":
                done[entry["call_id"]] = entry
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{place}: not a journal line; is {run} a run folder?") from None
    for call_id, entry in done.items():
        path = report_path(run, call_id)
        recording = tuple(entry.get("recording", ()))
        finished_at = datetime.fromisoformat(entry["at"])
        heard_at = datetime.fromisoformat(entry["heard_at"]) if "heard_at" in entry else finished_at
        origin = Origin(**entry["origin"]) if "origin" in entry else Origin(identity, call_id)
        yield Finished(call_id, entry["report"], path, recording, finished_at, heard_at, origin)


def _identity(first_line: str) -> str:
    """A run's, by the first line of its journal."""
    return digest(first_line.encode("utf-8", "surrogatepass"))


def report_path(run: Path, call_id: str) -> Path:
    return run / _report(call_id)


def events_path(run: Path, call_id: str) -> Path:
    """Where the events of a live call are kept, its words among them."""
    return run / LIVE / f"{file_stem(call_id)}.jsonl"


def _report(call_id: str) -> str:
    return f"{REPORTS}/{file_stem(call_id)}.json"


def file_stem(call_id: str) -> str:
    """A file name for a call id: readable, unique, and unable to leave its folder.

    >>> file_stem("0312/王-7"), file_stem("../etc"), file_stem("a%2Fb")
    ('0312%2F王-7', '%2E.%2Fetc', 'a%252Fb')
    """
    encoded = "".join(
        character if _PLAIN_NAME.match(character) and not (character == "." and index == 0) else _percent(character)
        for index, character in enumerate(call_id)
    )
    name = encoded.encode("utf-8")
    if len(name) <= _NAME_BYTES:
        return encoded
    return name[:_NAME_BYTES].decode("utf-8", "ignore") + "-" + digest_of(call_id)[7:23]


def describe(error: Exception) -> str:
    """Our own messages as they are; of any other exception only kind and place: its text may quote what was said."""
    if isinstance(error, AnalyzerError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}; this is a fault of the analyzer, please report it"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
