"""The real engine on planted models: right characters at right times, whatever shares the batch."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from analyzer import models
from analyzer.asr import WhisperRecogniser, Window, windows
from analyzer.asr.engine import Draft, Engine, Task
from analyzer.errors import ConfigError, ModelError
from analyzer.types import Role, Span, Utterance
from analyzer.vad import Segment
from tests import random_whisper
from tests.random_whisper import Geometry

TEXT = "您好，这里是云岭银行。"
FOLDERS = {
    "80 mels, three tokens a 汉字": {},
    "128 mels, mixed tokens": {"geometry": Geometry(mels=128), "whole": ("您", "好", "这里", "银行")},
}


def segment(start_ms: int, end_ms: int, role: Role = Role.AGENT, *, gated: bool = False) -> Segment:
    """Noise, voiced but for 200 ms at both ends."""
    samples = np.random.default_rng(start_ms + end_ms).normal(0, 900, (end_ms - start_ms) * 16).astype(np.int16)
    return Segment(role, Span(start_ms, end_ms), samples, (Span(start_ms + 200, end_ms - 200),), -31.24, gated)


def recogniser(folder: Path, **options: object) -> WhisperRecogniser:
    return WhisperRecogniser(models.open_folder(folder), device="cpu", workers=2, threads=1, **options)  # type: ignore[arg-type]


def recognise(model: WhisperRecogniser, *segments: Segment) -> list[Utterance | None]:
    return [utterance for window in model.recognise(list(windows(segments, model.packer()))) for utterance in window]


def evenly(n_tokens: int, start: float, end: float) -> list[float]:
    return [float(time) for time in np.linspace(start, end, n_tokens + 1)]


def n_tokens(text: str, whole: Sequence[str] = ()) -> int:
    return len(random_whisper.byte_level_tokenizer(whole).encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spells TEXT evenly from 0.4 to 2.6 s of its window."""
    folder = tmp_path_factory.mktemp("planted")
    random_whisper.build(folder, TEXT, token_times=evenly(n_tokens(TEXT), 0.4, 2.6))
    return folder


@pytest.mark.parametrize("window", ["safe", 500])
@pytest.mark.parametrize("kind", FOLDERS)
def test_characters_come_out_whole_at_the_planted_times(tmp_path: Path, kind: str, window: str | int) -> None:
    options = FOLDERS[kind]
    count = n_tokens(TEXT, options.get("whole", ()))  # type: ignore[arg-type]
    random_whisper.build(tmp_path, TEXT, token_times=evenly(count, 0.4, 2.6), **options)  # type: ignore[arg-type]
    (utterance,) = recognise(recogniser(tmp_path, window=window), segment(60_000, 63_000))
    assert utterance is not None
    assert utterance.text == TEXT
    assert utterance.characters is not None
    edges = [edge for span in utterance.characters for edge in (span.start_ms, span.end_ms)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (utterance.span.start_ms, utterance.span.end_ms)
    assert utterance.span.start_ms >= 60_200
    middle = utterance.characters[TEXT.index("云")].start_ms  # planted at its share of the way from 0.4 to 2.6 s
    before = n_tokens(TEXT[: TEXT.index("云")], options.get("whole", ()))  # type: ignore[arg-type]
    assert middle == pytest.approx(60_400 + 2200 * before / count, abs=350)
    assert (utterance.role, utterance.level_db) == (Role.AGENT, -31.2)
    assert utterance.confidence == pytest.approx(1.0, abs=0.05)


def test_one_window_of_two_segments_is_cut_into_two_utterances(tmp_path: Path) -> None:
    first, second = "请问您贵姓？", "免贵姓王。"
    times = evenly(n_tokens(first), 0.4, 2.4)[:-1] + evenly(n_tokens(second), 4.0, 6.0)
    random_whisper.build(tmp_path, first + second, token_times=times)
    model = recogniser(tmp_path, window="safe")
    spoken = [segment(5_000, 8_000), segment(9_000, 10_000, gated=True), segment(21_000, 24_000)]
    assert len(list(windows(spoken, model.packer()))) == 1
    one, cross_talk, two = recognise(model, *spoken)
    assert one is not None
    assert two is not None
    assert (one.text, cross_talk, two.text) == (first, None, second)
    assert 5_200 <= one.span.start_ms < one.span.end_ms <= 7_800
    assert 21_200 <= two.span.start_ms < two.span.end_ms <= 23_800


def test_numpy_computes_on_one_thread_once_a_model_is_loaded(tmp_path: Path) -> None:
    """Else the last digit of a confidence depends on the machine's cores and the environment."""
    random_whisper.build(tmp_path, TEXT)
    with threadpool_limits(limits=2, user_api="blas"):
        recogniser(tmp_path)
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_results_do_not_depend_on_what_shares_the_batch(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, None, geometry=Geometry(width=128, heads=4), seed=3)
    tasks = [
        Task(segment(0, length_ms, Role.CUSTOMER).samples, tail_ms, beam)
        for length_ms, tail_ms, beam in (
            *((length_ms, 500, beam) for length_ms in (700, 720, 790, 1190) for beam in (1, 2)),
            (700, None, 1),
            (1190, None, 1),
        )
    ]
    alone = [engine_of(tmp_path, batch_size=1).decode([task])[0] for task in tasks]
    assert len({draft.mean_log_prob for draft in alone}) > len(tasks) / 2, "the audio must matter for this to mean much"
    together = engine_of(tmp_path, batch_size=8).decode(tasks)
    backwards = engine_of(tmp_path, batch_size=3).decode(tasks[::-1])[::-1]
    assert together == alone
    assert backwards == alone


def engine_of(folder: Path, *, batch_size: int) -> Engine:
    return Engine(models.open_folder(folder), device="cpu", workers=2, threads=1, batch_size=batch_size)


def test_a_model_that_never_stops_is_stopped_and_not_believed(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, None)
    engine = engine_of(tmp_path, batch_size=1)
    (draft,) = engine.decode([Task(segment(0, 1000).samples, 500)])
    assert draft.exhausted
    assert len(draft.text.encode()) <= 3 * (12 * 1 + 8) * 3
    assert recognise(recogniser(tmp_path), segment(0, 1000)) == [None]


def test_a_short_window_that_goes_wrong_gets_a_second_look_at_thirty_seconds(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, TEXT, only_in_full_windows=True)
    hurt = recogniser(tmp_path, window=500)
    assert TEXT not in [text for text, _ in hurt.first_look([segment(0, 3000)])]
    (utterance,) = recognise(hurt, segment(0, 3000))
    assert utterance is not None
    assert utterance.text == TEXT


def test_a_loop_keeps_two_rounds_and_little_confidence(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, "好的。" + "请您稍等一下。" * 4)
    (utterance,) = recognise(recogniser(tmp_path), segment(0, 8000))
    assert utterance is not None
    assert utterance.text == "好的。" + "请您稍等一下。" * 2
    assert utterance.confidence == 0.3


def test_more_text_than_time_is_dropped(planted: Path) -> None:
    assert recognise(recogniser(planted), segment(0, 900)) == [None]


def test_video_endings_are_dropped_from_a_faint_voice_only(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, "谢谢观看")
    model = recogniser(tmp_path)
    loud = segment(0, 2000)
    faint = Segment(loud.role, loud.span, loud.samples, (Span(800, 1300),), -55.0)
    kept, dropped = recognise(model, loud), recognise(model, faint)
    assert [utterance and utterance.text for utterance in kept] == ["谢谢观看"]
    assert dropped == [None]


def test_traditional_characters_become_simplified_one_for_one(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, "請問著名的頭髮")
    (utterance,) = recognise(recogniser(tmp_path), segment(0, 4000))
    assert utterance is not None
    assert utterance.text == "请问著名的头发"


def test_a_model_that_cannot_time_its_words_spreads_them_over_the_voice(tmp_path: Path) -> None:
    random_whisper.build(tmp_path, TEXT, alignment=False)
    model = recogniser(tmp_path)
    spoken = [segment(1000, 4000), segment(6000, 9000)]
    assert len(list(windows(spoken, model.packer()))) == 2
    for utterance, one in zip(recognise(model, *spoken), spoken, strict=True):
        assert utterance is not None
        assert utterance.interpolated
        assert utterance.span == one.speech[0]


def test_the_fixed_prompt_stands_before_every_window_and_is_no_utterance(tmp_path: Path) -> None:
    prompt = "以下是普通话的客服通话。"
    random_whisper.build(tmp_path / "heard", "您好，银行。", after_prompt=prompt)
    (utterance,) = recognise(recogniser(tmp_path / "heard", prompt=prompt), segment(0, 4000))
    assert utterance is not None
    assert utterance.text == "您好，银行。"
    random_whisper.build(tmp_path / "leaks", prompt)
    assert recognise(recogniser(tmp_path / "leaks"), segment(0, 4000))[0] is not None
    leaking = recogniser(tmp_path / "leaks")
    leaking._prompt = prompt
    assert recognise(leaking, segment(0, 4000)) == [None]


def test_what_the_report_says_of_the_recogniser_names_no_place(planted: Path) -> None:
    info = recogniser(planted, beam_size=3).info
    assert info["window"] == "30s"
    assert info["digest"].startswith("sha256:")
    assert info["beam_size"] == 3
    assert str(planted.parent) not in json.dumps(dict(info), ensure_ascii=False)


def test_nothing_to_hear_gives_nothing(planted: Path) -> None:
    model = recogniser(planted)
    assert model.recognise([]) == []
    assert model.recognise([Window((segment(0, 900, gated=True),))]) == [(None,)]


def test_words_stay_out_of_reprs(planted: Path) -> None:
    (utterance,) = recognise(recogniser(planted), segment(0, 3000))
    assert "银行" not in repr(utterance)


class TestLoading:
    def test_touches_no_network(self, planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        assert recognise(recogniser(planted), segment(0, 3000)) != [None]

    def test_a_file_of_another_model_is_named(self, tmp_path: Path) -> None:
        random_whisper.build(tmp_path, geometry=Geometry(mels=128))
        (tmp_path / "preprocessor_config.json").write_text('{"feature_size": 80}')
        with pytest.raises(ModelError, match="says 80 mels, the model takes 128"):
            recogniser(tmp_path)

    def test_damaged_weights_are_named(self, tmp_path: Path) -> None:
        random_whisper.build(tmp_path)
        weights = tmp_path / "model.bin"
        weights.write_bytes(weights.read_bytes()[:2000])
        with pytest.raises(ModelError, match="does not load"):
            recogniser(tmp_path)

    def test_a_model_without_chinese_is_refused(self, tmp_path: Path) -> None:
        random_whisper.build(tmp_path)
        tokenizer = tmp_path / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text().replace("<|zh|>", "<|de|>"))
        with pytest.raises(ModelError, match=r"no <\|zh\|>.*knows Chinese"):
            recogniser(tmp_path)

    def test_an_unknown_device_is_a_configuration_error(self, planted: Path) -> None:
        with pytest.raises(ConfigError, match="auto, cpu or cuda"):
            WhisperRecogniser(models.open_folder(planted), device="tpu")


def test_drafts_are_values() -> None:
    assert Draft("", (), 0.0, 0.0, False) == Draft("", (), 0.0, 0.0, False)
