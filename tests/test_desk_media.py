"""Recordings over HTTP: who may hear what, what is bleeped, what is noted."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select, update
from starlette.testclient import TestClient

from analyzer.audio import decode
from analyzer.media import MediaFolder, recording_of
from analyzer.store.importing import import_run
from analyzer.store.recordings import copy_recordings
from analyzer.store.tables import AuditEntry, Call, Finding
from tests.desk_calls import sample_reports, write_run
from tests.desk_stage import Stage, open_stage
from tests.sounds import chirps, write_sound

NUMBER = "一三八零零一三八零零零"
NUMBER_AT_MS = 2_000  # in the call, 200 ms each digit


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One call of the agent 3017, shared with them, in which a number is said; a second one without a recording."""
    with open_stage(tmp_path) as stage:
        sound = write_sound(tmp_path / "call.wav", chirps(12, [1.0, 3.0]), chirps(12, [5.0]))
        second, *others = (dict(report) for report in sample_reports())
        first = next(one for one in others if any(rule["findings"] for rule in one["rules"]))
        first["metadata"] = {**first["metadata"], "agent_id": "3017"}
        first["turns"] = [*first["turns"], _turn_with_number()]
        run = write_run(tmp_path / "run", [first, second], {first["call_id"]: sound})
        import_run(stage.store, run)
        with stage.store.writing() as session:
            session.execute(update(Call).values(shared_at=stage.clock()).where(Call.agent_id == "3017"))
        yield stage


def _turn_with_number() -> dict[str, object]:
    chars = [[NUMBER_AT_MS + i * 200, NUMBER_AT_MS + i * 200 + 200] for i in range(len(NUMBER))]
    return {"role": "customer", "start_ms": chars[0][0], "end_ms": chars[-1][1], "text": NUMBER, "chars": chars}


def call_of(stage: Stage) -> Call:
    with stage.store.reading() as session:
        call = session.scalar(select(Call).where(Call.recording.is_not(None)))
        assert call is not None
        return call


def audio_url(stage: Stage) -> str:
    return f"/api/desk/calls/{call_of(stage).id}/audio"


def played(stage: Stage) -> list[tuple[str, str, str]]:
    with stage.store.reading() as session:
        rows = session.execute(select(AuditEntry.actor, AuditEntry.action, AuditEntry.object))
        return [tuple(row) for row in rows if row.action in ("recording.played", "clip.played")]


def heard(content: bytes, folder: Path) -> NDArray[np.int16]:
    """int16, shape = (n_samples, 2), 16 kHz"""
    path = folder / "heard.ogg"
    path.write_bytes(content)
    copy = recording_of("copy", {"paths": [str(path)], "channels": ["agent", "customer"]})
    return np.concatenate([np.stack(list(block.channels.values()), axis=1) for block in decode(copy)])


def is_tone(sound: NDArray[np.int16]) -> bool:
    spectrum = np.abs(np.fft.rfft(sound[:3200].astype(float)))
    return bool(spectrum[190:211].sum() > 0.9 * spectrum.sum())


# ---- peaks


def test_peaks_of_a_call_are_drawn_per_side(stage: Stage) -> None:
    loud = {}
    for side in ("agent", "customer"):
        params = {"buckets": 120, "channel": side}
        answer = stage.client("reviewer").get(f"/api/desk/calls/{call_of(stage).id}/peaks", params=params)
        body = answer.json()
        assert answer.status_code == 200
        assert (body["channel"], body["duration_ms"], body["from_ms"], body["to_ms"]) == (side, 12_000, 0, 12_000)
        assert len(body["peaks"]) == 120
        loud[side] = [i for i, height in enumerate(body["peaks"]) if height > 0.4]
    assert loud == {"agent": [10, 30], "customer": [50]}


def test_one_stretch_can_be_asked_for(stage: Stage) -> None:
    params = {"buckets": 10, "channel": "agent", "from_ms": 1_000, "to_ms": 2_000}
    body = stage.client("reviewer").get(f"/api/desk/calls/{call_of(stage).id}/peaks", params=params).json()
    assert [height > 0.4 for height in body["peaks"]] == [True] + [False] * 9


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"buckets": 0}, 422),
        ({"buckets": 9_000}, 422),
        ({"from_ms": 5, "to_ms": 5}, 422),
        ({"channel": "unknown"}, 404),
    ],
)
def test_peaks_that_make_no_sense_are_refused(stage: Stage, params: dict[str, str], status: int) -> None:
    answer = stage.client("reviewer").get(f"/api/desk/calls/{call_of(stage).id}/peaks", params=params)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}


# ---- playing


def test_a_recording_is_played_in_ranges(stage: Stage) -> None:
    client, url = stage.client("admin"), audio_url(stage)
    whole = client.get(url)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/ogg")
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(url, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert client.get(url, headers={"range": "bytes=-10"}).content == whole.content[-10:]
    assert client.get(url, headers={"range": "bytes=99999999-"}).status_code == 416
    same = client.get(url, headers={"range": "bytes=0-9", "if-range": whole.headers["etag"]})
    assert same.status_code == 206
    other = client.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert (other.status_code, other.content) == (200, whole.content)
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))


def test_identifiers_are_bleeped_for_who_may_not_hear_them(stage: Stage, tmp_path: Path) -> None:
    sound = heard(stage.client("reviewer").get(audio_url(stage)).content, tmp_path)
    at = slice(NUMBER_AT_MS * 16, (NUMBER_AT_MS + 2_000) * 16)
    assert is_tone(sound[at, 0])
    assert is_tone(sound[at, 1])
    assert np.abs(sound[5 * 16_000 :][:1600, 1]).max() > 10_000


def test_who_may_unmask_hears_everything(stage: Stage, tmp_path: Path) -> None:
    sound = heard(stage.client("admin").get(audio_url(stage)).content, tmp_path)
    assert np.abs(sound[3 * 16_000 :][:1600, 0]).max() > 10_000


def test_a_clip_is_the_finding_with_a_second_before_and_two_after(stage: Stage) -> None:
    with stage.store.writing() as session:
        finding = session.scalar(select(Finding).where(Finding.call_pk == call_of(stage).id))
        assert finding is not None
        finding.start_ms, finding.end_ms = 3_000, 3_500
    for name, is_bleeped in (("admin", False), ("reviewer", True)):
        answer = stage.client(name).get(f"/api/desk/findings/{finding.id}/clip")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
        with wave.open(io.BytesIO(answer.content)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
        assert len(sound) == 3_500 * 16  # 2.0 s to 5.5 s
        assert is_tone(sound[16_000:, 0]) == is_bleeped


# ---- who


@pytest.mark.parametrize("name", ["agent", "reviewer", "lead", "admin"])
def test_these_may_listen(stage: Stage, name: str) -> None:
    assert stage.client(name).get(audio_url(stage)).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("other_agent", 404), ("service", 403), (None, 401)])
def test_nobody_else_may_listen(stage: Stage, name: str | None, status: int) -> None:
    client = stage.client(name)
    with stage.store.reading() as session:
        finding_id = session.scalar(select(Finding.id).where(Finding.call_pk == call_of(stage).id).limit(1))
    assert client.get(audio_url(stage)).status_code == status
    assert client.get(audio_url(stage).replace("audio", "peaks")).status_code == status
    assert client.get(f"/api/desk/findings/{finding_id}/clip").status_code == status
    assert played(stage) == []


def test_a_playback_is_noted_once_in_ten_minutes_per_login(stage: Stage) -> None:
    client, url = stage.client("reviewer"), audio_url(stage)
    for start in range(5):
        client.get(url, headers={"range": f"bytes={start}-"})
    assert len(played(stage)) == 1
    stage.client("reviewer").get(url)  # another login
    stage.clock.pass_(minutes=10)
    client.get(url)
    user = stage.users["reviewer"].id
    assert played(stage) == [(f"user:{user}", "recording.played", f"call:{call_of(stage).id}")] * 3


# ---- what is missing


def test_a_call_without_a_recording_says_so(stage: Stage) -> None:
    with stage.store.reading() as session:
        call_pk = session.scalar(select(Call.id).where(Call.recording.is_(None)))
    answer = stage.client("reviewer").get(f"/api/desk/calls/{call_pk}/audio")
    assert (answer.status_code, answer.json()) == (404, {"code": "not_found", "message": "这通电话没有录音"})


def test_a_recording_that_was_moved_away_says_so(stage: Stage) -> None:
    client: TestClient = stage.client("reviewer")
    recording = call_of(stage).recording
    assert recording is not None
    Path(recording["paths"][0]).unlink()
    for url in (audio_url(stage), audio_url(stage).replace("audio", "peaks")):
        answer = client.get(url)
        assert answer.status_code == 404
        assert answer.json()["message"] == "录音文件不存在、已移走或无法读取"


def test_recordings_can_be_copied_and_are_then_heard_without_their_originals(stage: Stage) -> None:
    recording = call_of(stage).recording
    assert recording is not None
    version = call_of(stage).version
    media = MediaFolder(stage.desk.media)
    assert copy_recordings(stage.store, media, on_fault=lambda fault: pytest.fail(str(fault))) == 1
    assert copy_recordings(stage.store, media, on_fault=lambda fault: pytest.fail(str(fault))) == 0
    Path(recording["paths"][0]).unlink()
    assert stage.client("reviewer").get(audio_url(stage)).status_code == 200
    assert call_of(stage).version == version  # what reviewers opened before is not out of date
