"""A worker by itself, without Ray: lots in, results out, one pipeline over all of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer import pipeline
from analyzer.audio import Recording, find_recordings
from analyzer.catalog import load_pack, pack_bytes
from analyzer.cluster.worker import Assignment, News, Order, Worker
from analyzer.errors import ConfigError, ModelError
from analyzer.pipeline import Scored
from analyzer.runs import Failure, RunFolder, Standing
from tests.fake_node import load_fake
from tests.fake_speech import FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack

NEW = Standing("new")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(pipeline, "CallDetector", pipeline.CallDetector)  # load_fake changes it
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, ...]:
    folder = tmp_path_factory.mktemp("calls")
    for seed in range(6):
        write_call(folder / f"c{seed}.wav", seed, seconds=6)
    (folder / "bad.wav").write_bytes(b"not a recording")
    return find_recordings([folder]).recordings


def order_for(pack: Path, **changed: object) -> Order:
    fields = {"load": load_fake, "pack": pack_bytes(pack), "digest": load_pack(pack).digest, "profile": "standard"}
    return Order(**(fields | {"jobs": 2} | changed))  # type: ignore[arg-type]


def drained(worker: Worker, news: News, n: int) -> list[News]:
    told = [news]
    while sum(len(one.results) for one in told) < n:
        told.append(worker.exchange([], has_more=False))
    return told


def test_results_of_several_lots_are_the_bytes_of_one_machine(
    worker: Worker, calls: tuple[Recording, ...], pack: Path, tmp_path: Path
) -> None:
    assert worker.prepare(order_for(pack), cores=1)["name"] == "fake"
    told = drained(worker, worker.exchange([Assignment(call, NEW) for call in calls[:3]], has_more=True), 3)
    told += drained(worker, worker.exchange([Assignment(call, NEW) for call in calls[3:]], has_more=False), 4)
    results = {result.outcome.call_id: result for news in told for result in news.results}
    with RunFolder(tmp_path, {}) as run:
        outcomes = list(pipeline.score_recordings(calls, load_fake(), load_pack(pack), run, jobs=2))
        assert {one.call_id for one in outcomes} == set(results)
        for outcome in outcomes:
            result = results[outcome.call_id]
            if isinstance(outcome, Failure):
                assert result.outcome == outcome
            else:
                assert result.report == run.report_text(outcome.call_id)
                assert result.recording[0]["path"].endswith(f"{outcome.call_id}.wav")
                assert run.why_score(outcome.call_id, result.input_digest) is None
    assert sum(news.audio_ms for news in told) == 6 * 6_000
    pickle.loads(pickle.dumps(told))


def test_what_the_run_holds_already_comes_back_untouched(
    worker: Worker, calls: tuple[Recording, ...], pack: Path, tmp_path: Path
) -> None:
    with RunFolder(tmp_path, {}) as run:
        list(pipeline.score_recordings(calls[1:3], load_fake(), load_pack(pack), run, jobs=1))
        lot = [Assignment(call, run.standing(call.call_id)) for call in calls[1:4]]
    worker.prepare(order_for(pack), cores=2)
    told = drained(worker, worker.exchange(lot, has_more=False), 3)
    why = {one.outcome.call_id: (one.outcome.why, one.report is None) for news in told for one in news.results
           if isinstance(one.outcome, Scored)}  # fmt: skip
    assert why == {"c0": (None, True), "c1": (None, True), "c2": ("new", False)}


def test_it_says_how_many_calls_it_has_room_for(worker: Worker, calls: tuple[Recording, ...], pack: Path) -> None:
    worker.prepare(order_for(pack, jobs=1), cores=8)
    assert worker.exchange([], has_more=True).wanted == 2
    news = worker.exchange([Assignment(calls[1], NEW)], has_more=False)
    assert news.wanted == 2


def test_another_version_of_the_analyzer_is_refused(worker: Worker, pack: Path) -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.1 where the run was started; install the same"):
        worker.prepare(order_for(pack, version="0.0.1"), cores=1)


def test_a_pack_edited_between_reading_and_sending_is_refused(worker: Worker, pack: Path) -> None:
    with pytest.raises(ConfigError, match="edited meanwhile"):
        worker.prepare(order_for(pack, digest="sha256:other"), cores=1)


def broken() -> FakeRecogniser:
    load_fake()
    return FakeRecogniser(poison_hz=1500, error=ModelError("the GPU has fallen off the bus; restart it"))


def test_what_ends_the_pipeline_is_told_to_whoever_asks(worker: Worker, pack: Path, tmp_path: Path) -> None:
    write_call(tmp_path / "poison.wav", 1, poison_hz=1500)
    worker.prepare(order_for(pack, load=broken), cores=1)
    poison = [Assignment(one, NEW) for one in find_recordings([tmp_path]).recordings]
    with pytest.raises(ModelError, match="fallen off the bus"):
        drained(worker, worker.exchange(poison, has_more=False), 1)
