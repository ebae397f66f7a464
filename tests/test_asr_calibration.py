"""Exact windows only for models that stand them, measured on the operator's own segments."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer import models
from analyzer.asr import Sample, calibrate, label, write_calibration
from analyzer.asr import calibration as calibration_module
from analyzer.asr.calibration import TAILS_MS, read_calibration
from analyzer.errors import ConfigError, ModelError
from analyzer.types import Role, Span, Transcript, Utterance
from tests import random_whisper
from tests.test_asr_whisper import recogniser, segment

TEXT = "您好，这里是云岭银行。"
SPOKEN = [segment(10_000 * number, 10_000 * number + 2500) for number in range(3)]


@pytest.fixture(autouse=True)
def little_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "FEWEST_CHARACTERS", 20)


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says the same whatever the window."""
    folder = tmp_path_factory.mktemp("sturdy")
    random_whisper.build(folder, TEXT)
    return folder


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says nothing of use unless the window is 30 s long, like a model trained on nothing else."""
    folder = tmp_path_factory.mktemp("frail")
    random_whisper.build(folder, TEXT, only_in_full_windows=True)
    return folder


@pytest.mark.parametrize("text", [None, TEXT])
def test_a_model_that_stands_short_windows_gets_the_cheapest(sturdy: Path, text: str | None) -> None:
    found = calibrate(recogniser(sturdy), [Sample(one, text) for one in SPOKEN])
    assert found.fit
    assert found.tail_ms == min(TAILS_MS)
    assert found.labelled == (text is not None)
    assert [row.tail_ms for row in found.table] == [*TAILS_MS, None]
    assert found.table[0].cpu_s_per_audio_s < found.table[-1].cpu_s_per_audio_s


def test_a_model_trained_with_thirty_second_padding_only_is_found_unfit(frail: Path) -> None:
    found = calibrate(recogniser(frail), [Sample(one) for one in SPOKEN])
    assert not found.fit
    assert all(row.loss > 0.5 for row in found.table[:-1])
    write_calibration(models.open_folder(frail), found)
    assert recogniser(frail).info["window"] == "30s"


def test_the_recogniser_uses_what_was_measured_beside_its_model(sturdy: Path) -> None:
    folder = models.open_folder(sturdy)
    found = calibrate(recogniser(sturdy), [Sample(one, TEXT) for one in SPOKEN])
    write_calibration(folder, found)
    assert read_calibration(folder) == found
    assert recogniser(sturdy).info["window"] == "exact+500ms"
    assert json.loads(folder.calibration.read_text())["fit"] is True
    folder.calibration.unlink()
    assert recogniser(sturdy).info["window"] == "30s"


def test_a_calibration_of_other_weights_does_not_count(sturdy: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = models.open_folder(sturdy)
    found = calibrate(recogniser(sturdy), [Sample(one, TEXT) for one in SPOKEN])
    write_calibration(folder, replace(found, model="sha256:another"))
    with caplog.at_level(logging.WARNING):
        assert read_calibration(folder).tail_ms is None
    assert "made for other weights" in caplog.text
    folder.calibration.unlink()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "analyzer.calibration/2"}', "not json"])
def test_a_damaged_calibration_is_named(sturdy: Path, content: str) -> None:
    folder = models.open_folder(sturdy)
    folder.calibration.write_text(content)
    with pytest.raises(ModelError, match=r"calibration\.json: not a calibration"):
        read_calibration(folder)
    folder.calibration.unlink()


def test_too_little_speech_to_tell_is_refused(sturdy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "FEWEST_CHARACTERS", 1000)
    with pytest.raises(ConfigError, match="needs 1000 recognised characters"):
        calibrate(recogniser(sturdy), [Sample(one) for one in SPOKEN])


# ---- transcripts of the operator's own


def test_characters_with_times_go_to_the_segment_that_holds_their_middle() -> None:
    times = (Span(200, 400), Span(2_300, 2_800), Span(2_400, 2_900), Span(9_000, 9_200))
    said = Utterance(Role.AGENT, Span(200, 9_200), "您好请问", characters=times)
    other = Utterance(Role.CUSTOMER, Span(0, 2_500), "喂")
    kept = [segment(0, 2_600), segment(2_600, 5_000), segment(0, 2_500, Role.CUSTOMER)]
    labelled = label(kept, Transcript("call", (said, other)))
    assert [sample.text for sample in labelled] == ["您好", "请", "喂"]
    assert [sample.segment for sample in labelled] == kept


def test_an_utterance_timed_as_a_whole_is_spread_over_the_voiced_time_it_covers() -> None:
    said = Utterance(Role.AGENT, Span(0, 6_000), "一二三四五六")
    kept = [segment(0, 2_400), segment(3_000, 4_400), segment(7_000, 8_000)]  # 2 s and 1 s voiced, and one after it
    assert [sample.text for sample in label(kept, Transcript("call", (said,)))] == ["一二三四", "五六", ""]


def test_leaked_speech_gets_none_of_the_words() -> None:
    said = Utterance(Role.AGENT, Span(0, 2_000), "您好")
    assert label([segment(0, 2_000, gated=True)], Transcript("call", (said,)))[0].text == ""
