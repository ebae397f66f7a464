"""The desk's settings file."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from analyzer import settings
from analyzer.errors import ConfigError
from analyzer.settings import Settings, read_settings
from analyzer.store_options import desk_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "desk.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_in_the_docs_is_a_settings_file_with_the_defaults() -> None:
    example = Settings.model_validate(tomllib.loads(settings.__doc__.partition("\n\n")[2]))
    assert example.masking.own_numbers == {"4008208820", "02161001000"}
    assert example.retention.days == 180
    shown = example.model_copy(update={"masking": Settings().masking, "retention": Settings().retention})
    assert shown == Settings()


def test_nothing_is_deleted_by_itself_unless_days_are_given(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, "[retention]\nhour = 2\n")).retention.days is None


def test_times_are_as_they_were_written(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, "[login]\nidle_minutes = 5\nlongest_hours = 8\n[review]\nappeal_days = 3"))
    assert (found.login.idle, found.login.longest) == (timedelta(minutes=5), timedelta(hours=8))
    assert found.review.appeal_within == timedelta(days=3)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("[login]\nidle_minute = 5", "login.idle_minute"),
        ("[retention]\ndays = 0", "retention.days"),
        ('[masking]\nown_numbers = ["call us"]', "'call us' is no telephone number"),
        ("[login", "not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, culprit: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=culprit) as error:
        read_settings(path)
    assert str(path) in str(error.value)


def test_the_file_in_the_data_folder_is_read_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANALYZER_SETTINGS", raising=False)
    monkeypatch.setenv("ANALYZER_DATA", str(tmp_path))
    assert desk_settings() == Settings()
    written(tmp_path, "[review]\nappeal_days = 2")
    assert desk_settings().review.appeal_days == 2
    with pytest.raises(ConfigError, match="nowhere"):
        desk_settings(tmp_path / "nowhere.toml")
