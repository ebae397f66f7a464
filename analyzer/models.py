"""From the name of a speech model to a folder that is known to be whole.

A name is looked for as a path, in the model folders (``models/`` of the checkout or the wheel, then any given), in
the download cache, in the cache other Hugging Face programs share, and at last on the hub. ``offline`` forbids only
the last step. Whatever the way, the recogniser gets a folder whose five files are there: handed one without
``tokenizer.json``, faster-whisper would fetch another model's from the network, and one without
``preprocessor_config.json`` it would take for an 80-mel model.

A download keeps what it has got. Each file grows as ``NAME.part`` beside the finished ones, an interrupted one goes on
where it stopped (the hub library alone starts again), every finished file is held against the hub's SHA-256 or git
hash, and the folder takes its final name when all are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache as remember
from pathlib import Path
from typing import Any, Protocol

from analyzer.errors import ModelError

REQUIRED_FILES = ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json")
VOCABULARY_FILES = ("vocabulary.json", "vocabulary.txt")  # either
CALIBRATION_FILE = "calibration.json"
PUBLIC_HUB = "https://huggingface.co"
_REPO = re.compile(r"hf:([\w.-]+/[\w.-]+)")  # a repository the manifest does not name; no mistyped path looks like it
_READ_BYTES = 1 << 20
_HOW_TO_GET = {
    "model.bin": "convert the weights with ct2-transformers-converter",
    "config.json": "convert the model again with ct2-transformers-converter, which writes it",
    "vocabulary.json": "convert the model again with ct2-transformers-converter, which writes it",
    "tokenizer.json": "copy it from the model this one was trained from",
    "preprocessor_config.json": "copy it from the model this one was trained from; it says 80 or 128 mels",
}


class Progress(Protocol):
    """Told of a download's progress: bytes of one file so far and in all. Called often, from one thread."""

    def __call__(self, file: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One named model of ``models/manifest.yaml``; the file's head says what the fields mean."""

    name: str
    purpose: str
    licence: str
    origin: str
    repo: str | None = None
    revision: str = "main"
    size_mb: int | None = None
    prompt: str = ""
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder on disk whose five files are there.

    name        what the user asked for: a manifest name, or the last part of the path
    digest      "sha256:…" over the five files, names and contents
    prompt      fixed text put before every window; empty for a model the manifest does not name
    notice      sentence every output made with it carries, if any
    """

    path: Path
    name: str
    digest: str
    prompt: str = ""
    notice: str | None = None

    @property
    def calibration(self) -> Path:
        """Where ``model calibrate`` writes and the recogniser looks for the measured windows."""
        return self.path / CALIBRATION_FILE


def resolve(
    name: str,
    *,
    folders: Sequence[Path] = (),
    cache: Path | None = None,
    offline: bool = False,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> ModelFolder:
    """Find the model called ``name``, downloading it if nothing else helps and ``offline`` allows it.

    folders   further places that hold model folders, searched after the bundled ``models/``
    cache     where downloads live; default: the user's cache directory
    endpoint  the hub or a mirror of it; default: $HF_ENDPOINT, else huggingface.co
    raises    ModelError that names what was looked for, where, and what to do
    """
    cache = cache or default_cache()
    entry = manifest().get(name)
    found = _find_folder(name, entry, [*bundled_folders(), *folders], cache)
    if found is None:
        found = _download_named(name, entry, cache, offline=offline, endpoint=endpoint, progress=progress)
    return open_folder(found, name=name if entry else found.name, entry=entry)


def pull(
    name: str, *, cache: Path | None = None, endpoint: str | None = None, progress: Progress | None = None
) -> ModelFolder:
    """Download ``name`` into the cache even if another copy is at hand, e.g. to carry it to another machine."""
    cache, entry = cache or default_cache(), manifest().get(name)
    repo = _repo(name, entry)
    if repo is None and entry is None:
        raise ModelError(_unknown(name, bundled_folders()))
    found = cache / _cache_name(repo) if repo else None
    if found is None or not found.is_dir():
        found = _download_named(name, entry, cache, offline=False, endpoint=endpoint, progress=progress)
    return open_folder(found, name=name, entry=entry)


def open_folder(path: Path, *, name: str | None = None, entry: ManifestEntry | None = None) -> ModelFolder:
    """Check a folder's five files and compute its digest. Touches no network.

    raises  ModelError naming each missing or empty file and how to get it
    """
    files = _five_files(path)
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{_sha256(file)}\n".encode())
    return ModelFolder(
        path=path,
        name=name or path.name,
        digest=f"sha256:{digest.hexdigest()}",
        prompt=entry.prompt if entry else "",
        notice=entry.notice if entry else None,
    )


@remember
def manifest() -> Mapping[str, ManifestEntry]:
    """The named models, in the manifest's order."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - only models need YAML here

    files = [folder / "manifest.yaml" for folder in bundled_folders()]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise ModelError("models/manifest.yaml is missing from this installation; install the analyzer again")
    entries: dict[str, dict[str, Any]] = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    return {name: ManifestEntry(name=name, purpose=fields.pop("for"), **fields) for name, fields in entries.items()}


def bundled_folders() -> list[Path]:
    """Where models that come with the analyzer lie: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    return [folder for folder in (package / "_data" / "models", package.parent / "models") if folder.is_dir()]


def default_cache() -> Path:
    """The user's cache of downloaded models: $ANALYZER_CACHE/models, or the platform's place."""
    from platformdirs import user_cache_path  # noqa: PLC0415

    given = os.environ.get("ANALYZER_CACHE")
    return (Path(given) if given else user_cache_path("analyzer", appauthor=False)) / "models"


# -- finding ----------------------------------------------------------------------------------------------------------


def _find_folder(name: str, entry: ManifestEntry | None, folders: Sequence[Path], cache: Path) -> Path | None:
    path = Path(name).expanduser()
    if path.is_file():
        raise ModelError(f"{name}: a model is a folder of five files, this is a file; give the folder that holds it")
    if path.is_dir() and (entry is None or path.name != name):  # a manifest name wins over a folder that lies about
        return path
    repo = _repo(name, entry)
    places = [folder / name for folder in folders] + ([cache / _cache_name(repo)] if repo else [])
    found = next((place for place in places if place.is_dir()), None)
    if found is None and repo:
        found = _in_shared_cache(repo, entry.revision if entry else "main")
    if found is None and repo is None and entry is None:
        raise ModelError(_unknown(name, folders))
    return found


def _repo(name: str, entry: ManifestEntry | None) -> str | None:
    """The hub repository behind a name, if there is one."""
    if entry is not None:
        return entry.repo
    written_out = _REPO.fullmatch(name)
    return written_out[1] if written_out else None


def _unknown(name: str, folders: Sequence[Path]) -> str:
    close = get_close_matches(name, manifest(), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known names: {', '.join(manifest())}"
    searched = ", ".join(str(folder) for folder in folders)
    return f"model {name!r}: no such folder here or in {searched}, and no such name{hint}"


def _cache_name(repo: str) -> str:
    return repo.replace("/", "--")


def _in_shared_cache(repo: str, revision: str) -> Path | None:
    """The snapshot another Hugging Face program has downloaded, if it is whole; looks at the disk only."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy, and mostly not needed

    weights = try_to_load_from_cache(repo, "model.bin", revision=revision)
    if not isinstance(weights, str):
        return None
    folder = Path(weights).parent
    return None if _missing_files(folder) else folder


def _missing_files(folder: Path) -> list[str]:
    """Names of the five files that are absent or empty."""
    present = {file.name for file in folder.iterdir() if file.is_file() and file.stat().st_size > 0}
    missing = [name for name in REQUIRED_FILES if name not in present]
    if not present.intersection(VOCABULARY_FILES):
        missing.append("vocabulary.json")
    return missing


def _five_files(folder: Path) -> list[Path]:
    """The files a model consists of, in the order of the digest."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    if missing := _missing_files(folder):
        cures = "; ".join(f"{name} ({_HOW_TO_GET[name]})" for name in missing)
        raise ModelError(f"{folder}: not a complete model folder, missing or empty: {cures}")
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        _check_json(folder / name)
    vocabulary = next(name for name in VOCABULARY_FILES if (folder / name).is_file())
    return [folder / name for name in sorted([*REQUIRED_FILES, vocabulary])]


def _check_json(file: Path) -> None:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error}); {_HOW_TO_GET[file.name]}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{file}: holds no JSON object; {_HOW_TO_GET[file.name]}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- downloading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    """A file of a hub repository: where it is, how long, and the hash the hub promises for it."""

    name: str
    url: str
    size: int
    sha256: str | None
    git_sha1: str | None


def _download_named(
    name: str,
    entry: ManifestEntry | None,
    cache: Path,
    *,
    offline: bool,
    endpoint: str | None,
    progress: Progress | None,
) -> Path:
    repo = _repo(name, entry)
    if repo is None:
        raise ModelError(
            f"model {name!r} comes with the analyzer but its folder is missing; install the analyzer again, "
            "or train it: models/training"
        )
    if offline or _environment_says_offline():
        raise ModelError(
            f"model {name!r} is not on this machine and the network is forbidden (--offline or HF_HUB_OFFLINE); "
            f"run `analyzer model pull {name}` where there is a network, and copy {cache / _cache_name(repo)} here "
            "or give its path"
        )
    return _download(repo, entry.revision if entry else "main", cache, endpoint=endpoint, progress=progress)


def _environment_says_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _download(repo: str, revision: str, cache: Path, *, endpoint: str | None, progress: Progress | None) -> Path:
    """Fetch ``repo`` into the cache, going on where an earlier try stopped; return the finished folder."""
    endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")
    final = cache / _cache_name(repo)
    growing = cache / f"{_cache_name(repo)}.download"
    growing.mkdir(parents=True, exist_ok=True)
    with _only_one(growing):
        if final.is_dir():  # another process was quicker
            return final
        for remote in _list_files(repo, revision, endpoint):
            _fetch(remote, growing, endpoint, progress)
        _five_files(growing)
        growing.rename(final)
    return final


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time download into ``folder``; others wait and then find the work done."""
    from filelock import FileLock  # noqa: PLC0415

    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)  # whoever held the lock before may have renamed it
        yield


def _list_files(repo: str, revision: str, endpoint: str) -> list[_RemoteFile]:
    """The model files of a repository, all of one commit, small ones first so that a wrong repository fails early."""
    from huggingface_hub import HfApi, hf_hub_url  # noqa: PLC0415

    with _hub_errors(repo, endpoint):
        # token=False: a mirror is not shown the user's hub token
        info = HfApi(endpoint=endpoint, token=False).model_info(repo, revision=revision, files_metadata=True)
    wanted = {*REQUIRED_FILES, *VOCABULARY_FILES}
    files = [
        _RemoteFile(
            name=sibling.rfilename,
            url=hf_hub_url(repo, sibling.rfilename, revision=info.sha, endpoint=endpoint),
            size=sibling.size or 0,
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            git_sha1=None if sibling.lfs else sibling.blob_id,
        )
        for sibling in info.siblings or []
        if sibling.rfilename in wanted
    ]
    present = {file.name for file in files}
    missing = [name for name in REQUIRED_FILES if name not in present]
    if not present.intersection(VOCABULARY_FILES):
        missing.append("vocabulary.json")
    if missing:
        raise ModelError(
            f"{repo} at {endpoint} is not a CTranslate2 Whisper model: it has no {', '.join(missing)}; convert it with "
            "ct2-transformers-converter and give the folder"
        )
    return sorted(files, key=lambda file: (file.size, file.name))


def _fetch(remote: _RemoteFile, folder: Path, endpoint: str, progress: Progress | None) -> None:
    """Bring one file into ``folder``, keeping a partial one for the next try if the line breaks."""
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.is_file():
        return
    if part.is_file() and part.stat().st_size > remote.size:
        part.unlink()  # of another revision
    with _hub_errors(remote.name, endpoint):
        _continue_download(remote, part, progress)
    if not _is_intact(remote, part):
        part.unlink()
        raise ModelError(f"{remote.url}: what arrived is not what the hub promised (hash differs); try again")
    part.rename(target)


def _continue_download(remote: _RemoteFile, part: Path, progress: Progress | None) -> None:
    from huggingface_hub.file_download import http_get  # noqa: PLC0415

    with part.open("ab") as stream:
        done = stream.tell()
        if done < remote.size:
            http_get(
                remote.url,
                stream,
                resume_size=done,
                expected_size=remote.size,
                displayed_filename=remote.name,
                tqdm_class=_bar_that_tells(remote, progress),
            )


def _bar_that_tells(remote: _RemoteFile, progress: Progress | None) -> type[Any]:
    """The hub library reports to a tqdm class; this one draws nothing and hands its counts to ``progress``."""

    class Bar:
        def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
            self._done = initial

        def update(self, n: int) -> None:
            self._done += n
            if progress is not None:
                progress(remote.name, self._done, remote.size)

        def close(self) -> None: ...

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

    return Bar


def _is_intact(remote: _RemoteFile, file: Path) -> bool:
    if file.stat().st_size != remote.size:
        return False
    if remote.sha256 is not None:
        return _sha256(file) == remote.sha256
    if remote.git_sha1 is not None:
        return _git_sha1(file) == remote.git_sha1
    return True


def _git_sha1(file: Path) -> str:
    """The name git gives a file's content; the hub knows small files by it."""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _hub_errors(what: str, endpoint: str) -> Iterator[None]:
    """Turn whatever the hub library raises into one line with a cure.

    It has changed its HTTP library twice, and with it the exceptions of a broken line: so all are caught here.
    """
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: PLC0415

    try:
        yield
    except ModelError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(f"{what}: no such public model at {endpoint}; check the name, or give a folder") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        raise ModelError(f"{what}: {endpoint} answered {status}; try again, or a mirror (HF_ENDPOINT)") from error
    except Exception as error:
        raise ModelError(
            f"{what}: download from {endpoint} failed ({type(error).__name__}: {error}); run the same command again to "
            "go on where it stopped, choose a mirror with HF_ENDPOINT, or give a folder"
        ) from error
