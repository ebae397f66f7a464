"""Many calls at once: what is promised whatever the load, the batches and the bad calls among them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from analyzer import pipeline
from analyzer.asr import Window
from analyzer.audio import Recording, find_recordings
from analyzer.catalog import load_pack
from analyzer.errors import InputError, ModelError, StoreError
from analyzer.pipeline import Scored, check_transcripts, score_recordings
from analyzer.rules import Pack
from analyzer.runs import Failure, RunFolder
from analyzer.stages import STAGES, Stages
from analyzer.types import Utterance
from tests.fake_speech import FakeCallDetector, FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack

SETTINGS = {"pack": "tiny"}


@pytest.fixture(autouse=True)
def _no_voice_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load_pack(write_tiny_pack(tmp_path_factory.mktemp("pack")))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, ...]:
    """Eight calls of different length."""
    folder = tmp_path_factory.mktemp("calls")
    for seed in range(8):
        write_call(folder / f"c{seed}.wav", seed, seconds=6 + 3 * seed)
    return find_recordings([folder]).recordings


def reports(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "reports").iterdir())}


def score_all(
    calls: tuple[Recording, ...], pack: Pack, folder: Path, recogniser: FakeRecogniser | None = None, jobs: int = 2
) -> list[Scored | Failure]:
    with RunFolder(folder, SETTINGS) as run:
        return list(score_recordings(calls, recogniser or FakeRecogniser(), pack, run, jobs=jobs))


def test_every_call_is_scored_once_and_its_report_says_what_was_heard(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    outcomes = score_all(calls, pack, tmp_path)
    assert sorted(outcome.call_id for outcome in outcomes) == [f"c{seed}" for seed in range(8)]
    assert all(isinstance(outcome, Scored) and outcome.why == "new" for outcome in outcomes)
    report = json.loads((tmp_path / "reports" / "c7.json").read_text())
    assert report["recogniser"]["notice"] == "fake (tests only)"
    assert report["duration_ms"] == 27_000
    assert len(report["turns"]) > 5
    assert {turn["role"] for turn in report["turns"]} == {"agent", "customer"}
    starts = [turn["start_ms"] for turn in report["turns"]]
    assert starts == sorted(starts)
    assert {role for role, spans in report["activity"].items() if spans} == {"agent", "customer"}


@pytest.mark.parametrize("load", [(1, 1, 1), (1, 480_000, 8), (2, 3_000, 2), (4, 20_000, 8), (8, 480_000, 100)])
def test_reports_do_not_depend_on_jobs_or_batches(
    calls: tuple[Recording, ...],
    pack: Pack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: tuple[int, int, int],
) -> None:
    jobs, backlog_ms, batch_size = load
    score_all(calls, pack, tmp_path / "one", jobs=1)
    monkeypatch.setattr(pipeline, "BACKLOG_MS", backlog_ms)
    recogniser = FakeRecogniser(delay_s=0.002, batch_size=batch_size)
    score_all(tuple(reversed(calls)), pack, tmp_path / "other", recogniser, jobs=jobs)
    assert reports(tmp_path / "one") == reports(tmp_path / "other")
    assert max(recogniser.batches) <= batch_size


def test_a_call_that_cannot_be_decoded_stops_no_other(pack: Pack, tmp_path: Path) -> None:
    for seed in range(4):
        write_call(tmp_path / "in" / f"c{seed}.wav", seed)
    (tmp_path / "in" / "c1.wav").write_bytes(b"RIFF")
    (tmp_path / "in" / "c2.wav").write_bytes(b"")
    found = find_recordings([tmp_path / "in"])
    outcomes = {outcome.call_id: outcome for outcome in score_all(found.recordings, pack, tmp_path / "run")}
    assert isinstance(outcomes["c0"], Scored)
    assert isinstance(outcomes["c3"], Scored)
    for bad in ("c1", "c2"):
        outcome = outcomes[bad]
        assert isinstance(outcome, Failure)
        assert outcome.exit_code == 3
        assert f"{bad}.wav" in outcome.message
    assert sorted(reports(tmp_path / "run")) == ["c0.json", "c3.json"]
    with RunFolder(tmp_path / "run", SETTINGS) as run:
        assert [failure.call_id for failure in run.failures()] == ["c1", "c2"]


def test_what_breaks_the_recogniser_costs_one_call_and_quotes_nobody(pack: Pack, tmp_path: Path) -> None:
    for seed in range(4):
        write_call(tmp_path / "in" / f"c{seed}.wav", seed, poison_hz=1500 if seed == 2 else None)
    found = find_recordings([tmp_path / "in"])
    recogniser = FakeRecogniser(poison_hz=1500, error=ValueError("您好，我姓王"))
    outcomes = {one.call_id: one for one in score_all(found.recordings, pack, tmp_path / "run", recogniser)}
    poisoned = outcomes.pop("c2")
    assert isinstance(poisoned, Failure)
    assert poisoned.kind == "ValueError"
    assert "fake_speech.py" in poisoned.message
    assert "姓王" not in poisoned.message
    assert all(isinstance(one, Scored) for one in outcomes.values())


def test_a_broken_model_ends_the_run_and_what_was_done_stays(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    write_call(tmp_path / "poison.wav", 99, poison_hz=1500)
    broken = FakeRecogniser(poison_hz=1500, error=ModelError("the GPU has fallen off the bus; restart it"))
    ordered = (*calls, *find_recordings([tmp_path / "poison.wav"]).recordings)
    with pytest.raises(ModelError, match="fallen off"):
        score_all(ordered, pack, tmp_path / "run", broken, jobs=1)
    with RunFolder(tmp_path / "run", SETTINGS) as run:
        done = [path.stem for path in (tmp_path / "run" / "reports").iterdir()]
        assert all(run.report_text(call_id) for call_id in done)


def test_what_is_in_the_run_is_neither_decoded_nor_recognised_again(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    score_all(calls[:5], pack, tmp_path)
    recogniser = FakeRecogniser()
    outcomes = score_all(calls, pack, tmp_path, recogniser)
    assert {one.call_id for one in outcomes if isinstance(one, Scored) and one.why} == {"c5", "c6", "c7"}
    assert {one.duration_ms for one in outcomes if isinstance(one, Scored) and one.why is None} == {0}
    assert sum(recogniser.batches) > 0
    recogniser = FakeRecogniser()
    score_all(calls, pack, tmp_path, recogniser)
    assert recogniser.batches == []


def test_a_changed_recording_is_scored_again_and_says_why(pack: Pack, tmp_path: Path) -> None:
    write_call(tmp_path / "in" / "c0.wav", 0)
    write_call(tmp_path / "in" / "c1.wav", 1)
    found = find_recordings([tmp_path / "in"]).recordings
    score_all(found, pack, tmp_path / "run")
    before = reports(tmp_path / "run")
    write_call(tmp_path / "in" / "c1.wav", 2)
    outcomes = score_all(found, pack, tmp_path / "run")
    assert {one.call_id: one.why for one in outcomes if isinstance(one, Scored)} == {
        "c0": None,
        "c1": "the recording, its channels or its metadata changed",
    }
    after = reports(tmp_path / "run")
    assert after["c0.json"] == before["c0.json"]
    assert after["c1.json"] != before["c1.json"]


def test_closing_half_way_stops_all_threads_and_keeps_what_was_done(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BACKLOG_MS", 1_000)  # listeners are blocked when the run is closed
    with RunFolder(tmp_path, SETTINGS) as run:
        scoring = score_recordings(calls, FakeRecogniser(delay_s=0.01), pack, run, jobs=4)
        first = next(scoring)
        scoring.close()
        assert json.loads(run.report_text(first.call_id))["call_id"] == first.call_id
    assert len(reports(tmp_path)) < len(calls)
    assert "part" not in {path.suffix for path in (tmp_path / "reports").iterdir()}


def test_no_recordings_is_no_work(pack: Pack, tmp_path: Path) -> None:
    assert score_all((), pack, tmp_path) == []


def test_the_backlog_makes_listeners_wait_while_it_is_full(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the recogniser, no more than the limit (and a window per channel) is ever held."""
    monkeypatch.setattr(pipeline, "BACKLOG_MS", 2_000)
    held: list[int] = []
    real_put = pipeline._Backlog.put

    def measured(self: pipeline._Backlog, item: pipeline._Item) -> None:
        real_put(self, item)
        held.append(self._held)

    monkeypatch.setattr(pipeline._Backlog, "put", measured)
    score_all(calls, pack, tmp_path, FakeRecogniser(delay_s=0.005), jobs=4)
    longest_window_ms = 2 * 1_500
    assert max(held) < 2_000 + longest_window_ms
    assert max(held) > 1_000, "it did fill up"


def test_progress_is_told_of_every_second_listened_to(calls: tuple[Recording, ...], pack: Pack, tmp_path: Path) -> None:
    told: list[int] = []
    with RunFolder(tmp_path, SETTINGS) as run:
        outcomes = list(score_recordings(calls, FakeRecogniser(), pack, run, jobs=3, on_audio=told.append))
    assert sum(told) == sum(one.duration_ms for one in outcomes if isinstance(one, Scored))
    assert max(told) <= 1_000


def test_listeners_work_ahead_of_the_recogniser(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a batch is recognised, other calls are decoded, so that the next batch is ready and large."""
    for seed in range(6):
        write_call(tmp_path / "in" / f"c{seed}.wav", seed)
    recogniser = FakeRecogniser(delay_s=0.05)
    score_all(find_recordings([tmp_path / "in"]).recordings, pack, tmp_path / "run", recogniser, jobs=4)
    assert max(recogniser.batches) > 3, "windows of several calls in one batch"


def test_heard_calls_wait_for_a_slow_analyst_in_bounded_number(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "HEARD_CALLS", 2)
    monkeypatch.setattr(pipeline, "RESULTS", 1)
    waiting: list[int] = []
    real_judge = pipeline._Analyst._judge

    def slowly(self: pipeline._Analyst, call: pipeline._Call) -> Scored | Failure:
        deadline = time.monotonic() + 20
        while not waiting and self.heard._held < 2 and time.monotonic() < deadline:
            time.sleep(0.005)  # the first call takes until others wait
        time.sleep(0.01)  # for more, if they could
        waiting.append(self.heard._held)
        return real_judge(self, call)

    monkeypatch.setattr(pipeline._Analyst, "_judge", slowly)
    assert len(score_all(calls, pack, tmp_path, jobs=4)) == len(calls)
    assert max(waiting) == 2, "it did fill up, and no further"


class TwoKinds(FakeRecogniser):
    """Windows of a single burst are rare; each call ends with one, if its bursts are odd in number."""

    def __init__(self) -> None:
        super().__init__(batch_size=4)
        self.kinds: list[set[object]] = []

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        self.kinds.append({self.kind(window) for window in windows})
        return super().recognise(windows)


def test_windows_heard_together_are_of_one_kind_and_the_rare_ones_are_not_forgotten(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    recogniser = TwoKinds()
    assert len(score_all(calls, pack, tmp_path, recogniser)) == len(calls)
    assert all(len(kinds) == 1 for kinds in recogniser.kinds)
    assert set.union(*recogniser.kinds) == {1, 2}


def test_the_time_of_every_stage_is_counted(calls: tuple[Recording, ...], pack: Pack, tmp_path: Path) -> None:
    recogniser = FakeRecogniser()
    stages = Stages(recogniser)
    began = time.process_time()
    with RunFolder(tmp_path, SETTINGS) as run:
        outcomes = list(score_recordings(calls, recogniser, pack, run, jobs=2, stages=stages))
    seconds = stages.seconds()
    assert tuple(seconds) == STAGES
    assert all(seconds[stage] > 0 for stage in ("decode", "vad", "text", "rules", "record"))
    assert sum(seconds.values()) <= time.process_time() - began + 0.05
    assert stages.audio_ms == sum(one.duration_ms for one in outcomes if isinstance(one, Scored))
    assert json.loads(json.dumps(stages.summary()))["seconds"].keys() == seconds.keys()


def test_recordings_may_still_be_arriving_while_others_are_scored(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    first_is_done = threading.Event()

    def arriving() -> Iterator[Recording]:
        yield calls[0]
        assert first_is_done.wait(10), "the first call waits for the second"
        yield from calls[1:]

    with RunFolder(tmp_path, SETTINGS) as run:
        for _ in score_recordings(arriving(), FakeRecogniser(), pack, run, jobs=3):
            first_is_done.set()
    assert len(reports(tmp_path)) == len(calls)


def test_a_supply_of_recordings_that_breaks_ends_the_run(
    calls: tuple[Recording, ...], pack: Pack, tmp_path: Path
) -> None:
    def breaking() -> Iterator[Recording]:
        yield calls[0]
        raise StoreError("the list of calls is gone")

    with RunFolder(tmp_path, SETTINGS) as run, pytest.raises(StoreError, match="list of calls"):
        list(score_recordings(breaking(), FakeRecogniser(), pack, run, jobs=2))


def test_checking_transcripts_reports_the_bad_one_and_goes_on(pack: Pack, tmp_path: Path) -> None:
    turn = {"role": "agent", "start_ms": 0, "end_ms": 2_000, "text": "您好，云岭银行"}
    good, other = (json.dumps({"call_id": call_id, "turns": [turn]}) for call_id in ("a", "b"))
    (tmp_path / "day.jsonl").write_text(f"{good}\nnot json\n{other}\n", encoding="utf-8")
    first, second, third = check_transcripts([tmp_path / "day.jsonl"], pack)
    assert isinstance(first, str)
    assert json.loads(first)["call_id"] == "a"
    assert isinstance(second, InputError)
    assert "day.jsonl:2" in str(second)
    assert isinstance(third, str)


def test_checking_a_scored_report_reproduces_it(calls: tuple[Recording, ...], pack: Pack, tmp_path: Path) -> None:
    score_all(calls, pack, tmp_path)
    again = list(check_transcripts([tmp_path / "reports"], pack))
    assert [f"{text}\n".encode() for text in again] == list(reports(tmp_path).values())


def test_sides_that_look_swapped_are_reported_and_left_as_they_are(pack: Pack, tmp_path: Path) -> None:
    greeting = {"start_ms": 0, "end_ms": 5_000, "text": "您好，工号三零一七，很高兴为您服务"}
    question = {"start_ms": 6_000, "end_ms": 8_000, "text": "我想查一下话费"}
    for name, roles in (("swapped", ("customer", "agent")), ("right", ("agent", "customer"))):
        turns = [{**turn, "role": role} for turn, role in zip((greeting, question), roles, strict=True)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"turns": turns}), encoding="utf-8")
    right, swapped = (
        json.loads(str(text)) for text in check_transcripts([tmp_path / "right.json", tmp_path / "swapped.json"], pack)
    )
    assert right["warnings"] == []
    (warning,) = swapped["warnings"]
    assert warning.startswith("声道可能接反")
    assert "--channels customer,agent" in warning
    assert [turn["role"] for turn in swapped["turns"]] == ["customer", "agent"]
    (tmp_path / "report.json").write_text(json.dumps(swapped), encoding="utf-8")
    assert [json.loads(str(text)) for text in check_transcripts([tmp_path / "report.json"], pack)] == [swapped]


def test_a_fault_of_ours_in_one_transcript_is_reported_without_its_words(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise KeyError("您好")

    turn = {"role": "agent", "start_ms": 0, "end_ms": 2_000, "text": "您好"}
    (tmp_path / "a.json").write_text(json.dumps({"turns": [turn]}), encoding="utf-8")
    monkeypatch.setattr(pipeline, "analyze", breaks)
    (fault,) = check_transcripts([tmp_path / "a.json"], pack)
    assert isinstance(fault, InputError)
    assert "KeyError" in str(fault)
    assert "您好" not in str(fault)


def test_a_slow_consumer_does_not_hold_up_the_work(calls: tuple[Recording, ...], pack: Pack, tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        for number, _ in enumerate(score_recordings(calls, FakeRecogniser(), pack, run, jobs=2)):
            if number == 0:
                time.sleep(0.2)
    assert len(reports(tmp_path)) == len(calls)
