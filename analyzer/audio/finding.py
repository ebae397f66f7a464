"""Which recordings the inputs of a command name. Opens no file but manifests."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyzer.audio.manifest import read_manifest
from analyzer.audio.recordings import STEREO, Layout, Recording, Track, common_root, name_below
from analyzer.errors import InputError
from analyzer.remote import asking, file_system, is_url
from analyzer.types import Role

SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".w64", ".rf64", ".mp3", ".m4a", ".mp4", ".m4b", ".aac", ".3gp", ".3g2", ".opus", ".ogg"),
        *(".oga", ".webm", ".mka", ".mkv", ".flac", ".amr", ".awb", ".wma", ".asf", ".aif", ".aiff", ".au", ".snd"),
        *(".caf", ".gsm", ".g722", ".ul", ".ulaw", ".al", ".alaw", ".pcm", ".raw", ".vox", ".sln"),
    )
)
MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl"})
FOLDER_MANIFESTS = ("manifest.csv", "manifest.jsonl")  # describe what lies in their folder without being named
_STARTS = (
    *(b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3", b"#!AMR", b"FORM", b".snd", b"caff"),
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75",  # ASF
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the inputs hold. ``faults`` concern single inputs, files or manifest rows; the rest can be scored."""

    recordings: tuple[Recording, ...]
    faults: tuple[InputError, ...] = ()


def find_recordings(inputs: Iterable[str | Path], layout: Layout | None = None) -> Found:
    """Every recording the inputs name, in their order; inside a folder, by path.

    inputs  files, folders (searched to any depth), glob patterns and manifests (.csv, .jsonl), mixed at will, of this
            machine or as URLs (s3://…, where only names tell what a recording is); a
            folder's own manifest.csv or manifest.jsonl is read with it
    layout  for every file that a manifest does not describe itself

    A call's id is its path relative to the input root, without extension; the root is the folder, the part of a pattern
    before its first wildcard, or what single files have in common. Two recordings with one id: the first is kept, the
    other is a fault. A file named twice counts once. Files that cannot be decoded are found all the same: ``decode``
    says what is wrong with them.
    """
    search = _Search(layout or Layout())
    texts = [os.fspath(text) for text in inputs]
    single = [Path(text) for text in texts if not is_url(text) and _is_single_file(text)]
    for text in texts:
        try:
            search.add(text, single)
        except InputError as fault:
            search.faults.append(fault)
    return search.found()


class _Search:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._files: dict[Path, str] = {}  # path -> name relative to its input root, without extension
        self._input_of: dict[Path, int] = {}
        self._described: list[tuple[int, Recording]] = []  # with the number of its input
        self._left_out: list[Path] = []  # files whose row in a manifest is at fault
        self._input = 0
        self._urls: dict[Path, str] = {}  # of files that lie elsewhere
        self._manifests: set[str] = set()
        self.faults: list[InputError] = []

    def add(self, text: str, single: Sequence[Path]) -> None:
        path = Path(text)
        self._input += 1
        if is_url(text):
            self._add_remote(text)
        elif path.is_dir():
            for manifest in (path / name for name in FOLDER_MANIFESTS):
                if manifest.is_file():
                    self._add_manifest(manifest)
            self._add_files(list(self._walk(path)), path, f"{text}: no recordings in this folder; check the path")
        elif path.suffix.lower() in MANIFEST_SUFFIXES:
            self._add_manifest(path)
        elif _is_single_file(text):
            self._add_files([path], common_root(single), "")
        else:
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
            files = [file for match in matches for file in (self._walk(match) if match.is_dir() else [match])]
            self._add_files(files, _fixed_part(text), f"{text}: no file matches this pattern; check it")

    def found(self) -> Found:
        """Recordings in the order of the inputs; of one input those that a manifest describes come first."""
        of_files = ((self._input_of[recording.tracks[0].path], recording) for recording in self._from_files())
        taken: dict[str, Recording] = {}
        for _, recording in sorted([*self._once(), *of_files], key=lambda numbered: numbered[0]):
            first = taken.setdefault(recording.call_id, recording)
            if first is not recording:
                self.faults.append(_duplicate(recording, first))
        return Found(tuple(taken.values()), tuple(self.faults))

    def _once(self) -> Iterator[tuple[int, Recording]]:
        """A recording is one call: of rows that describe the same files the first counts."""
        known: dict[tuple[str, ...], Recording] = {}
        for number, recording in self._described:
            files = tuple(_identity(track.path) for track in recording.tracks)
            first = known.setdefault(files, recording)
            if first is recording:
                yield number, recording
            elif first != recording:
                problem = f"is described twice, as call {first.call_id!r} and as {recording.call_id!r}; remove one row"
                self._fault(recording.tracks[0].path, problem)

    def _add_files(self, paths: Sequence[Path], root: Path, if_none: str) -> None:
        if not paths:
            raise InputError(if_none)
        seen = {_identity(path) for path in self._files}
        for path in paths:
            if _identity(path) not in seen:
                self._files[path] = name_below(path, root)
                self._input_of[path] = self._input

    def _add_remote(self, url: str) -> None:
        if Path(url).suffix.lower() in MANIFEST_SUFFIXES:
            self._add_manifest(url)
            return
        fs, place = file_system(url)
        with asking(url, InputError):
            if glob.has_magic(place):
                root, found = str(_fixed_part(place)), fs.glob(place)
            else:
                found = fs.find(place) if fs.isdir(place) else [place]
                root = place if fs.isdir(place) else posixpath.dirname(place)
        for manifest in (f"{place}/{name}" for name in FOLDER_MANIFESTS):
            if manifest in found:
                self._add_manifest(fs.unstrip_protocol(manifest))
        names = {
            fs.unstrip_protocol(file): posixpath.relpath(file, root)
            for file in found
            if file == place or Path(file).suffix.lower() in SUFFIXES
        }
        if not names:
            raise InputError(f"{url}: no recordings there; check the address")
        for address, name in names.items():
            self._urls[Path(address)] = address
            self._files.setdefault(Path(address), os.path.splitext(name)[0])
            self._input_of.setdefault(Path(address), self._input)

    def _add_manifest(self, path: str | Path) -> None:
        if _identity(path) in self._manifests:
            return
        self._manifests.add(_identity(path))
        described = read_manifest(path, self._layout)
        self._described += ((self._input, recording) for recording in described.recordings)
        self._left_out += described.left_out
        self.faults += described.faults

    def _walk(self, folder: Path) -> Iterator[Path]:
        def complain(error: OSError) -> None:
            self.faults.append(InputError(f"{error.filename}: cannot be searched ({error.strerror}); make it readable"))

        for place, folders, names in os.walk(folder, onerror=complain):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(place, name)
                if not name.startswith(".") and (path.suffix.lower() in SUFFIXES or _starts_like_sound(path)):
                    yield path

    def _from_files(self) -> Iterator[Recording]:
        """Of the files that no manifest describes."""
        known = [track.path for _, recording in self._described for track in recording.tracks]
        described = set(map(_identity, (*known, *self._left_out)))
        files = {path: name for path, name in self._files.items() if _identity(path) not in described}
        if self._layout.pair is not None:
            yield from self._pairs(files, self._layout.pair)
            return
        for path, name in files.items():
            yield Recording(name, (self._track(path, self._layout.roles),), mixed=self._layout.mixed)

    def _track(self, path: Path, roles: tuple[Role, ...]) -> Track:
        return Track(path, roles, self._urls.get(path, ""))

    def _pairs(self, names: Mapping[Path, str], endings: tuple[str, str]) -> Iterator[Recording]:
        calls: dict[str, dict[Role, Path]] = {}
        for path, name in names.items():
            role = _role_by_ending(name, endings)
            if role is None:
                self._fault(path, f"its name ends neither in {endings[0]} nor in {endings[1]}; rename it")
                continue
            files = calls.setdefault(name.removesuffix(endings[STEREO.index(role)]), {})
            if role in files:
                self._fault(path, f"the {role}'s side of this call is already {files[role]}; keep one of them")
            else:
                files[role] = path
        for call_id, files in calls.items():
            if len(files) == len(STEREO):
                yield Recording(call_id, tuple(self._track(files[role], (role,)) for role in STEREO))
            else:
                (role, path), *_ = files.items()
                other = endings[1 - STEREO.index(role)]
                self._fault(path, f"the file ending in {other} is missing; add it, or use --mono {role} for this one")

    def _fault(self, path: Path, problem: str) -> None:
        self.faults.append(InputError(f"{path}: {problem}"))


def _role_by_ending(name: str, endings: tuple[str, str]) -> Role | None:
    return next((role for role, ending in zip(STEREO, endings, strict=True) if name.endswith(ending)), None)


def _is_single_file(text: str) -> bool:
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in MANIFEST_SUFFIXES:
        return False
    return path.exists() or not glob.has_magic(text)


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:fixed])


def _identity(path: str | Path) -> str:
    return os.path.realpath(path)


def _starts_like_sound(path: Path) -> bool:
    """Whether a file with another extension is a recording; an MP4 has its mark in bytes 4 to 8."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    return start.startswith(_STARTS) or start[4:] == b"ftyp"


def _duplicate(recording: Recording, first: Recording) -> InputError:
    return InputError(
        f"{recording.tracks[0].path}: its call id {recording.call_id!r} is already that of {first.tracks[0].path}; "
        "rename one, or give each a call_id in a manifest"
    )
