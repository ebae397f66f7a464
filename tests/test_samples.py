"""The sample calls: scripts, truth and recordings agree, and say what the project promises of them."""

from __future__ import annotations

import csv
import ctypes
import itertools
import json
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
CALLS = sorted(path.parent.name for path in SAMPLES.glob("*/script.yaml"))
RATE = 8_000
FIVE_RULES = {"opening", "closing", "banned_phrase", "polite_quota", "speech_rate"}
SENTENCE_END = re.compile(r"[。？！]")
WOMEN, MEN = {"f1", "f2", "f3", "f4", "f5", "Annie"}, {"m1", "m2", "m3", "m4", "m5", "m6", "m7"}

each_call = pytest.mark.parametrize("call", CALLS)


def script_of(call: str) -> dict[str, Any]:
    script: dict[str, Any] = YAML(typ="safe").load((SAMPLES / call / "script.yaml").read_text(encoding="utf-8"))
    return script


def truth_of(call: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((SAMPLES / call / "truth.json").read_text(encoding="utf-8"))
    return truth


def recording_of(call: str) -> NDArray[np.int16]:
    """The decoded recording, int16, shape (2, n_samples) at 8 kHz."""
    resampler = av.AudioResampler("s16", "stereo", RATE)
    with av.open(str(SAMPLES / call / truth_of(call)["audio"])) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1, 2).T for frame in frames], axis=1)


def han(text: str) -> str:
    return "".join(re.findall(r"[\u4e00-\u9fff]", text))


def sentences() -> set[str]:
    lines = (line["text"] for call in CALLS for line in script_of(call)["lines"] if "text" in line)
    return {han(sentence) for text in lines for sentence in SENTENCE_END.split(text)} - {""}


def test_the_samples_cover_what_a_call_centre_meets() -> None:
    truths = {call: truth_of(call) for call in CALLS}
    planted = {(found["rule"], found["category"]) for truth in truths.values() for found in truth["planted"]}
    categories = {category for rule, category in planted if rule == "banned_phrase"}
    assert len(CALLS) >= 10
    assert len(categories) >= 3
    whole = ("closing", "hold_consent", "hold_return_apology", "interruption", "loudness")
    assert planted >= {(rule, None) for rule in whole}
    assert sum(not truth["planted"] and truth["direction"] == "inbound" for truth in truths.values()) >= 2
    assert any(truth["direction"] == "outbound" for truth in truths.values())
    assert any({turn["role"] for turn in truth["turns"]} == {"agent"} for truth in truths.values())
    rates = [found["measured"]["value"] for t in truths.values() for found in t["planted"] if "measured" in found]
    assert min(rates) < 96
    assert max(rates) > 144


def test_recordings_come_in_many_codecs() -> None:
    codecs = set()
    for call in CALLS:
        with av.open(str(SAMPLES / call / truth_of(call)["audio"])) as container:
            codecs.add(container.streams.audio[0].codec_context.name)
    assert codecs >= {"pcm_s16le", "pcm_mulaw", "pcm_alaw", "flac", "mp3float", "aac", "opus"}


def test_all_samples_together_stay_under_eight_mebibytes() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) <= 8 * 2**20


def test_the_two_voices_of_a_call_differ_and_one_pair_is_of_the_same_sex() -> None:
    same_sex = 0
    for call in CALLS:
        agent, customer = (script_of(call)["voices"][role]["voice"] for role in ("agent", "customer"))
        assert agent != customer
        assert {agent, customer} <= WOMEN | MEN
        same_sex += {agent, customer} <= WOMEN or {agent, customer} <= MEN
    assert same_sex == 1


def test_no_sample_sentence_is_written_in_the_training_text() -> None:
    written = {
        han(sentence)
        for path in (ROOT / "models" / "training" / "text").glob("*.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
        for sentence in SENTENCE_END.split(line)
    }
    assert written
    assert not sentences() & written


def test_the_trainer_holds_every_sample_sentence_out() -> None:
    training_text = pytest.importorskip("models.training.text")
    assert sentences() <= training_text.held_out()


@each_call
def test_truth_repeats_the_script(call: str) -> None:
    script, truth = script_of(call), truth_of(call)
    spoken = [(line["role"], line["text"]) for line in script["lines"] if "text" in line]
    assert [(turn["role"], turn["text"]) for turn in truth["turns"]] == spoken
    assert truth["call_id"] == call
    assert truth["direction"] == script["direction"]
    assert truth["metadata"] == script["metadata"]


@each_call
def test_character_times_run_forward_inside_turn_and_call(call: str) -> None:
    truth = truth_of(call)
    for turn in truth["turns"]:
        assert len(turn["chars"]) == len(turn["text"])
        times = list(itertools.chain.from_iterable(turn["chars"]))
        assert times == sorted(times)
        assert 0 <= turn["start_ms"] == times[0] < times[-1] == turn["end_ms"] <= truth["duration_ms"]


@each_call
def test_a_turn_is_one_utterance_and_turns_of_one_role_are_apart(call: str) -> None:
    """Pauses inside a turn stay under the 700 ms that would split it; turns of one role stay further apart."""
    turns = truth_of(call)["turns"]
    for turn in turns:
        spoken = [span for span, character in zip(turn["chars"], turn["text"], strict=True) if han(character)]
        assert max((b[0] - a[1] for a, b in itertools.pairwise(spoken)), default=0) < 700
    for role in ("agent", "customer"):
        own = [turn for turn in turns if turn["role"] == role]
        assert all(later["start_ms"] - earlier["end_ms"] >= 800 for earlier, later in itertools.pairwise(own))


@each_call
def test_planted_phrases_stand_where_truth_says(call: str) -> None:
    truth = truth_of(call)
    for found in truth["planted"]:
        assert 0 <= found["start_ms"] < found["end_ms"] <= truth["duration_ms"]
        if found["phrase"] is None:
            continue
        turn = truth["turns"][found["turn"]]
        first, last = found["char_start"], found["char_end"]
        assert turn["role"] == "agent"
        assert turn["text"][first:last] == found["phrase"]
        assert [found["start_ms"], found["end_ms"]] == [turn["chars"][first][0], turn["chars"][last - 1][1]]


@each_call
def test_expected_outcomes_follow_from_what_was_planted(call: str) -> None:
    truth = truth_of(call)
    violated = {rule for rule, outcome in truth["expected"].items() if outcome == "violation"}
    assert truth["expected"].keys() == FIVE_RULES
    assert violated == {found["rule"] for found in truth["planted"]} & FIVE_RULES


@each_call
def test_an_opening_or_closing_that_passes_has_all_its_elements(call: str) -> None:
    truth = truth_of(call)
    for rule in ("opening", "closing"):
        if truth["expected"][rule] == "pass":
            missing = {name for name, element in truth["elements"][rule].items() if not element["present"]}
            assert not missing or (truth["direction"] == "outbound" and missing == {"ask_more"})
    if truth["expected"]["closing"] == "violation":
        assert not any(element["present"] for element in truth["elements"]["closing"].values())


@each_call
def test_agents_who_keep_the_written_rate_have_a_margin(call: str) -> None:
    """A recogniser that drops a character or two must not turn a pass into a violation, or the other way round."""
    truth = truth_of(call)
    if truth["expected"]["speech_rate"] == "pass":
        assert 108 <= truth["rate"]["agent"]["judged"] <= 132
    else:
        (found,) = (found for found in truth["planted"] if found["rule"] == "speech_rate")
        value = found["measured"]["value"]
        assert len(found["measured"]["bands"]) == 2
        assert all(value < 0.9 * low or value > 1.1 * high for low, high in found["measured"]["bands"])


@each_call
def test_the_recording_lasts_as_long_as_truth_says(call: str) -> None:
    duration_ms = truth_of(call)["duration_ms"]
    assert 40_000 <= duration_ms <= 150_000
    assert abs(1000 * recording_of(call).shape[1] / RATE - duration_ms) < 250  # a codec may pad its last frame


@each_call
def test_each_turn_is_loud_on_its_own_channel_only(call: str) -> None:
    """Left is the agent, right the customer, and truth's times are the recording's: speech starts and stops there."""
    truth, recording = truth_of(call), recording_of(call).astype(float)

    def level_db(role: str, start_ms: int, end_ms: int) -> float:
        heard = recording[("agent", "customer").index(role), start_ms * RATE // 1000 : end_ms * RATE // 1000]
        return float(20 * np.log10(np.sqrt(np.mean(heard**2)) / 32_768))

    noise_db = script_of(call).get("noise_db", {})
    for turn in truth["turns"]:
        other = "customer" if turn["role"] == "agent" else "agent"
        start, end = turn["start_ms"], turn["end_ms"]
        quiet_db = max(-45, noise_db.get(turn["role"], -55) + 3)
        assert level_db(turn["role"], start, end) > -32
        assert level_db(turn["role"], start - 250, start - 50) < quiet_db
        assert level_db(turn["role"], end + 200, end + 400) < quiet_db
        if not any(o["role"] == other and o["start_ms"] < end and start < o["end_ms"] for o in truth["turns"]):
            assert level_db(other, start, end) < max(-45, noise_db.get(other, -55) + 3)


def test_generating_a_call_again_gives_the_same_truth(tmp_path: Path) -> None:
    made = _generated(tmp_path)
    for name in (f"{GENERATED}/truth.json", "manifest.csv"):
        assert (made / name).read_bytes() == (SAMPLES / name).read_bytes(), name


@pytest.mark.system  # on a busy machine the sound was seen to differ now and then; why is not known
def test_generating_a_call_again_gives_the_same_recording(tmp_path: Path) -> None:
    """If this fails on a quiet machine, compare the installed versions of numpy, soxr and av with constraints.txt
    before looking for a fault in the generator.
    """
    again, shipped = (_sound(folder / GENERATED / "call.wav") for folder in (_generated(tmp_path), SAMPLES))
    assert np.array_equal(again, shipped)


GENERATED = "mall-shoe-exchange"  # uncompressed, so that no encoder version comes in


def _generated(folder: Path) -> Path:
    try:
        ctypes.CDLL("libespeak-ng.so.1")
    except OSError:
        pytest.skip("libespeak-ng.so.1 is not installed (apt-get install espeak-ng)")
    command = [sys.executable, "-m", "samples.generate", GENERATED, "--to", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder


def _sound(path: Path) -> NDArray[np.int32]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.int32)


def test_the_manifest_lists_every_call_with_what_its_script_says() -> None:
    with (SAMPLES / "manifest.csv").open(encoding="utf-8", newline="") as table:
        rows = {row.pop("call_id"): row for row in csv.DictReader(table)}
    assert list(rows) == CALLS
    for call, row in rows.items():
        script = script_of(call)
        assert (SAMPLES / row.pop("path")) == SAMPLES / call / script["audio"]
        assert row.pop("direction") == script["direction"]
        assert {key: value for key, value in row.items() if value} == {k: str(v) for k, v in script["metadata"].items()}


def test_an_unknown_call_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "samples.generate", "no-such-call"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no-such-call" in done.stderr
    assert "bank-card-limit" in done.stderr
