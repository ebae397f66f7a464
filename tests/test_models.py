"""Names become checked folders; downloads survive broken lines; a folder never touches the network."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analyzer import models
from analyzer.errors import ModelError
from tests.fake_hub import Hub, serve

REPO = "Systran/faster-whisper-small"
CHUNK = 10 * 1024 * 1024  # the hub library hands bytes on in pieces of this size
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"model": {}}',
    "preprocessor_config.json": b'{"feature_size": 80}',
    "vocabulary.txt": b"a\nb\n",
    "model.bin": random.Random(7).randbytes(2 * CHUNK + 4321),
    "README.md": b"not wanted",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # retries wait a second each
    with serve(REPO, FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYZER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "shared"))


def write_folder(path: Path, *without: str, vocabulary: str = "vocabulary.json") -> Path:
    path.mkdir(parents=True)
    for name in {*models.REQUIRED_FILES, vocabulary} - set(without):
        (path / name).write_bytes(FILES.get(name, b"[]"))
    return path


def test_a_name_is_downloaded_whole_with_its_progress_told(hub: Hub) -> None:
    told: list[tuple[str, int, int]] = []
    folder = models.resolve("small", progress=lambda *step: told.append(step))
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(set(FILES) - {"README.md"})
    assert (folder.path / "model.bin").read_bytes() == FILES["model.bin"]
    assert folder.name == "small"
    steps = [done for name, done, total in told if name == "model.bin" and total == len(FILES["model.bin"])]
    assert steps == sorted(steps)
    assert steps[-1] == len(FILES["model.bin"])


def test_a_second_use_asks_the_hub_nothing(hub: Hub) -> None:
    first = models.resolve("small")
    hub.asked.clear()
    assert models.resolve("small") == first
    assert hub.asked == []


def test_the_mirror_given_as_an_option_wins_over_the_environment(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert models.resolve("small", endpoint=f"{hub.endpoint}/").name == "small"


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.break_after["model.bin"] = CHUNK + 99
    with pytest.raises(ModelError, match="run the same command again"):
        models.resolve("small")
    assert not (tmp_path / "cache/models/Systran--faster-whisper-small").exists()

    hub.break_after.clear()
    hub.asked.clear()
    folder = models.resolve("small")
    assert (folder.path / "model.bin").read_bytes() == FILES["model.bin"]
    assert hub.sent_from("model.bin") == [CHUNK]
    assert hub.sent_from("tokenizer.json") == []


def test_a_killed_download_goes_on_where_it_stopped(hub: Hub) -> None:
    die = (
        "import os; from analyzer import models; "
        f"models.resolve('small', progress=lambda file, done, total: done > {CHUNK} and os.kill(os.getpid(), 9))"
    )
    killed = subprocess.run([sys.executable, "-c", die], cwd=Path(__file__).parent.parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = models.resolve("small")
    assert (folder.path / "model.bin").read_bytes() == FILES["model.bin"]
    assert hub.sent_from("model.bin") == [0, CHUNK]


def test_a_line_that_breaks_once_is_mended_within_the_same_call(hub: Hub) -> None:
    hub.break_after["model.bin"] = CHUNK
    mend: Callable[..., None] = lambda name, done, total: hub.break_after.clear()  # noqa: E731
    folder = models.resolve("small", progress=lambda name, done, total: name == "model.bin" and mend(name, done, total))
    assert (folder.path / "model.bin").read_bytes() == FILES["model.bin"]
    assert hub.sent_from("model.bin") == [0, CHUNK]


def test_a_wrong_byte_is_noticed_and_fetched_again(hub: Hub) -> None:
    for name in ("tokenizer.json", "model.bin"):
        hub.corrupt = {name}
        with pytest.raises(ModelError, match=f"{name}.*hash differs"):
            models.resolve("small")
    hub.corrupt = set()
    assert (models.resolve("small").path / "model.bin").read_bytes() == FILES["model.bin"]


def test_a_partial_file_of_another_revision_does_not_survive(hub: Hub, tmp_path: Path) -> None:
    growing = tmp_path / "cache/models/Systran--faster-whisper-small.download"
    growing.mkdir(parents=True)
    (growing / "model.bin.part").write_bytes(b"x" * (len(FILES["model.bin"]) + 1))
    assert (models.resolve("small").path / "model.bin").read_bytes() == FILES["model.bin"]


def test_a_repository_the_manifest_does_not_name_is_written_out(hub: Hub) -> None:
    assert models.resolve(f"hf:{REPO}").path.name == "Systran--faster-whisper-small"


def test_an_unknown_repository_is_named(hub: Hub) -> None:
    with pytest.raises(ModelError, match="no such public model"):
        models.resolve("hf:nobody/nothing")


def test_a_repository_in_another_format_is_refused_before_its_weights_are_fetched(hub: Hub) -> None:
    del hub.files["model.bin"]
    with pytest.raises(ModelError, match=r"has no model\.bin.*ct2-transformers-converter"):
        models.resolve("small")
    assert hub.sent_from("tokenizer.json") == []


@pytest.mark.usefixtures("no_network")
class TestWithoutNetwork:
    def test_offline_says_where_to_put_the_model(self) -> None:
        with pytest.raises(ModelError, match="analyzer model pull small"):
            models.resolve("small", offline=True)

    def test_the_hub_librarys_own_switch_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
            models.resolve("small")

    @pytest.mark.parametrize("missing", [*models.REQUIRED_FILES, "vocabulary.json"])
    def test_a_missing_file_is_named_with_its_cure(self, tmp_path: Path, missing: str) -> None:
        folder = write_folder(tmp_path / "mine", missing)
        with pytest.raises(ModelError, match=rf"{missing} \((convert|copy)"):
            models.resolve(str(folder))

    def test_an_empty_file_counts_as_missing(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "mine")
        (folder / "model.bin").write_bytes(b"")
        with pytest.raises(ModelError, match=r"model\.bin"):
            models.resolve(str(folder))

    def test_a_web_page_saved_as_json_is_noticed(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "mine")
        (folder / "tokenizer.json").write_text("<html>")
        with pytest.raises(ModelError, match=r"tokenizer\.json: cannot be read as JSON"):
            models.resolve(str(folder))

    @pytest.mark.parametrize("vocabulary", models.VOCABULARY_FILES)
    def test_a_whole_folder_needs_nothing_else(self, tmp_path: Path, vocabulary: str) -> None:
        folder = write_folder(tmp_path / "mine", vocabulary=vocabulary)
        found = models.resolve(str(folder))
        assert (found.path, found.name, found.prompt, found.notice) == (folder, "mine", "", None)

    def test_the_weights_alone_are_not_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="give the folder"):
            models.resolve(str(write_folder(tmp_path / "mine") / "model.bin"))

    def test_a_mistyped_path_is_no_repository(self) -> None:
        with pytest.raises(ModelError, match="no such folder"):
            models.resolve("models/dmeo")

    def test_a_mistyped_name_is_put_right(self) -> None:
        with pytest.raises(ModelError, match="did you mean 'large-v3-turbo'"):
            models.resolve("large-v3-turob")

    def test_a_folder_of_models_serves_names_on_a_machine_without_network(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "carried/small")
        found = models.resolve("small", folders=[tmp_path / "carried"], offline=True)
        assert (found.path, found.name) == (folder, "small")
        assert found.prompt == models.manifest()["small"].prompt

    def test_another_programs_download_is_used(self, tmp_path: Path) -> None:
        snapshot = tmp_path / "shared/models--Systran--faster-whisper-small/snapshots/abc"
        write_folder(snapshot)
        refs = tmp_path / "shared/models--Systran--faster-whisper-small/refs"
        refs.mkdir()
        (refs / "main").write_text("abc")
        assert models.resolve("small", offline=True).path == snapshot

    def test_another_programs_partial_download_is_not(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "shared/models--Systran--faster-whisper-small/snapshots/abc", "tokenizer.json")
        (tmp_path / "shared/models--Systran--faster-whisper-small/refs").mkdir()
        (tmp_path / "shared/models--Systran--faster-whisper-small/refs/main").write_text("abc")
        with pytest.raises(ModelError, match="not on this machine"):
            models.resolve("small", offline=True)


def test_the_digest_covers_names_and_contents_of_the_five_files_only(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    lines = "".join(
        f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in sorted(folder.iterdir())
    )
    before = models.open_folder(folder).digest
    assert before == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    (folder / models.CALIBRATION_FILE).write_text("{}")
    assert models.open_folder(folder).digest == before
    (folder / "config.json").write_text(json.dumps({"lang_ids": [1]}))
    assert models.open_folder(folder).digest != before


def test_the_manifest_names_what_a_buyer_needs() -> None:
    entries = models.manifest()
    assert {"demo", "small", "large-v3-turbo", "belle"} <= set(entries)
    for entry in entries.values():
        assert entry.purpose
        assert entry.licence
        assert (entry.repo is None) == (entry.name == "demo")
    assert entries["demo"].notice == "demo (synthetic voices only)"
