"""What the server does by itself: what is too old goes once a day, recordings are ready before they are heard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from analyzer.media import MediaFolder, recording_of
from analyzer.serve.chores import Chores
from analyzer.settings import Recordings, Retention, Settings
from analyzer.store import audit, reviews
from analyzer.store.recordings import bleeps_of
from analyzer.store.tables import AuditEntry, Call
from analyzer.store.users import Principal
from tests.desk_review import add_call
from tests.desk_stage import Stage, open_stage
from tests.many_calls import NOW, add_calls
from tests.sounds import chirps, write_sound


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Calls of the last 24 days, to be kept for 12, deleted an hour after the clock's first moment."""
    hour = (NOW + timedelta(hours=1)).astimezone().hour
    with open_stage(tmp_path, settings=Settings(retention=Retention(days=12, hour=hour))) as stage:
        stage.clock.now = NOW.replace(minute=0)
        with stage.store.writing() as session:
            add_calls(session, 28, days=24, decided=0)
        yield stage


def calls(stage: Stage) -> int:
    with stage.store.reading() as session:
        return session.scalar(select(func.count()).select_from(Call)) or 0


def test_what_is_too_old_goes_once_a_day_at_its_hour_and_is_noted(stage: Stage) -> None:
    chores, admin = Chores(stage.desk), stage.client("admin")
    shown = admin.get("/api/desk/data").json()["retention"]
    assert (shown["days"], shown["last_at"]) == (12, None)
    chores.keep_retention()
    assert calls(stage) == 28
    stage.clock.pass_(hours=2)
    chores.keep_retention()
    left = calls(stage)
    assert 28 - left == shown["due_calls"] > 0
    shown = stage.client("admin").get("/api/desk/data").json()["retention"]
    assert shown["last_calls"] == 28 - left
    assert datetime.fromisoformat(shown["next_at"]) - stage.clock.now < timedelta(days=1)
    chores.keep_retention()
    stage.clock.pass_(days=1)
    chores.keep_retention()
    with stage.store.reading() as session:
        runs = session.scalars(select(AuditEntry).where(AuditEntry.action == "retention.run")).all()
        assert [run.details["calls"] for run in runs] == [28 - left, left - calls(stage)]
        assert audit.verify(session).broken is None


def test_a_server_started_after_its_hour_catches_up(stage: Stage) -> None:
    stage.clock.pass_(hours=3)
    Chores(stage.desk).keep_retention()
    assert calls(stage) < 28


def test_nothing_goes_by_itself_unless_it_is_set(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        with stage.store.writing() as session:
            add_calls(session, 3, days=3, decided=0)
        stage.clock.now = datetime(2036, 1, 1, tzinfo=UTC)
        Chores(stage.desk).keep_retention()
        assert calls(stage) == 3
        assert stage.client("admin").get("/api/desk/data").json()["retention"] is None
        assert "没有开启" in stage.client("admin").get("/admin/data").text


@pytest.mark.parametrize("prepare", [True, False])
def test_the_recordings_of_assigned_calls_are_ready_before_they_are_heard(tmp_path: Path, prepare: bool) -> None:
    sound, lost = tmp_path / "a.wav", tmp_path / "lost.wav"
    write_sound(sound, chirps(2, [0.5]), chirps(2, [1.0]))
    with open_stage(tmp_path, settings=Settings(recordings=Recordings(prepare=prepare))) as stage:
        for number, path in enumerate((sound, lost, sound)):
            call_pk = add_call(stage.store, name=f"c{number}")
            place = {"paths": [str(path)], "channels": ["agent", "customer"]}
            with stage.store.writing() as session:
                session.get_one(Call, call_pk).recording = place
        lead = Principal(stage.users["lead"].id, "lead", "", "lead")
        for call_pk in (1, 2):
            with stage.store.writing() as session:
                reviews.assign(session, lead, call_pk, stage.users["reviewer"].id, at=stage.clock())
        chores = Chores(stage.desk)
        assert [chores.prepare(), chores.prepare()] == ([2, 0] if prepare else [0, 0])
        media = MediaFolder(stage.desk.media)
        with stage.store.reading() as session:
            call, other = session.get_one(Call, 1), session.get_one(Call, 3)
            recording = recording_of(call.call_id, call.recording or {})
            assert media.has_playback(recording, bleeps_of(session, 1)) is prepare
            assert (call.media_id is not None, other.media_id) == (prepare, None)
