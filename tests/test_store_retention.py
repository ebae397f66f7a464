"""What is purged, what stays, and that nothing points to what is gone; copies of the database in use."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from analyzer.errors import ConfigError, StoreError
from analyzer.export import TABLES
from analyzer.media import MediaFolder, recording_of
from analyzer.store import Store, audit, open_store, users
from analyzer.store.archive import LIST, archive_files, restore_files
from analyzer.store.backup import back_up
from analyzer.store.calls import calls_that_say
from analyzer.store.importing import import_run
from analyzer.store.recordings import copy_recordings
from analyzer.store.retention import Retention, foresee, purge
from analyzer.store.tables import Appeal, Assignment, AuditEntry, Base, Call, Finding, Report, Turn
from tests.databases import NewDatabase, new_sqlite
from tests.desk_calls import many_reports, write_run
from tests.postgres import pg_program
from tests.sounds import Sound, chirps, write_sound

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CUT = datetime(2026, 10, 15, tzinfo=UTC)  # half of the calls began before


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """For what is in its file, and what back-ups of it are."""
    opened = open_store(new_sqlite(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def media(tmp_path: Path) -> MediaFolder:
    return MediaFolder(tmp_path / "media")


def filled(store: Store, tmp_path: Path, count: int = 28, recordings: dict[str, Path] | None = None) -> Path:
    """One call for each of the first 28 days of October."""
    run = write_run(tmp_path / "run", many_reports(count), recordings)
    import_run(store, run)
    return run


def stereo(seconds: float) -> tuple[Sound, Sound]:
    return chirps(seconds, [0.5]), chirps(seconds, [1.0])


def old(**options: bool) -> Retention:
    return Retention(CUT, **options)


def counts(store: Store) -> dict[str, int]:
    with store.reading() as session:
        found = {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.tables.values()
        }
        found["turn_search"] = session.scalar(text("SELECT count(*) FROM turn_search")) or 0
        return found


def test_a_dry_run_says_what_a_purge_then_does(store: Store, media: MediaFolder, tmp_path: Path) -> None:
    filled(store, tmp_path)
    before = counts(store)
    foreseen = foresee(store, media, old())
    assert counts(store) == before
    done = purge(store, media, old(), actor="cli", now=NOW)
    assert (done.calls, done.rows, done.kept) == (foreseen.calls, foreseen.rows, foreseen.kept)
    assert done.calls == done.rows["calls"] == 14
    after = counts(store)
    assert {name: before[name] - after[name] for name in done.rows} == dict(done.rows)
    assert after["turns"] == after["turn_search"]


def test_what_was_said_in_purged_calls_is_found_no_more(store: Store, media: MediaFolder, tmp_path: Path) -> None:
    filled(store, tmp_path, 1)
    with store.reading() as session:
        said = session.scalars(select(Turn.text)).first()
        assert said is not None
        assert len(list(session.scalars(calls_that_say(session, said)))) == 1
    purge(store, media, Retention(NOW), actor="cli", now=NOW)
    with store.reading() as session:
        assert list(session.scalars(calls_that_say(session, said))) == []


def test_words_of_purged_calls_are_not_left_in_the_file(sqlite: Store, media: MediaFolder, tmp_path: Path) -> None:
    filled(sqlite, tmp_path, 1)
    with sqlite.reading() as session:
        said = max(session.scalars(select(Turn.text)), key=len)
    purge(sqlite, media, Retention(NOW), actor="cli", now=NOW)
    sqlite.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("desk.db*"))
    assert said.encode() not in content


def test_calls_under_appeal_in_review_or_final_are_kept_and_listed(
    store: Store, media: MediaFolder, tmp_path: Path
) -> None:
    filled(store, tmp_path, 5)
    with store.writing() as session:
        ids = list(session.scalars(select(Call.id).order_by(Call.id)))
        who = users.add_user(session, name="wang", role="reviewer", password_hash="!", at=NOW)
        session.flush()
        finding = session.scalar(select(Finding).limit(1))
        assert finding is not None
        session.add(Appeal(call_pk=finding.call_pk, finding_id=finding.id, by_id=who.id, text="", at=NOW, state="open"))
        others = [one for one in ids if one != finding.call_pk]
        session.add(Assignment(call_pk=others[0], reviewer_id=who.id, created_at=NOW))
        session.execute(update(Call).where(Call.id == others[1]).values(locked_at=NOW))
    expected = sorted([(finding.call_pk, "申诉未结"), (others[0], "复核中"), (others[1], "已终审")])
    assert purge(store, media, Retention(NOW), actor="cli", now=NOW).kept == expected
    with store.reading() as session:
        assert sorted(session.scalars(select(Call.id))) == [call_pk for call_pk, _ in expected]
    assert purge(store, media, Retention(NOW, locked_too=True), actor="cli", now=NOW).calls == 1


def test_the_audit_log_stays_whole_and_tells_of_the_purge(store: Store, media: MediaFolder, tmp_path: Path) -> None:
    filled(store, tmp_path)
    with store.reading() as session:
        noted = audit.head(session)
    purge(store, media, old(), actor="user:1", now=NOW)
    with store.reading() as session:
        assert noted is not None
        assert audit.verify(session, [noted]).broken is None
        entry = session.scalar(select(AuditEntry).where(AuditEntry.action == "calls.purged"))
        assert entry is not None
        assert (entry.actor, entry.details["count"], len(entry.details["ids"])) == ("user:1", 14, 14)


def test_importing_the_run_again_does_not_bring_purged_calls_back(
    store: Store, media: MediaFolder, tmp_path: Path
) -> None:
    run = filled(store, tmp_path)
    purge(store, media, old(), actor="cli", now=NOW)
    again = import_run(store, run)
    assert (again.new, again.unchanged) == (0, 14)


def test_reports_in_run_folders_go_only_when_asked(store: Store, media: MediaFolder, tmp_path: Path) -> None:
    run = filled(store, tmp_path, 4)
    purge(store, media, Retention(datetime(2026, 10, 3, tzinfo=UTC)), actor="cli", now=NOW)
    assert len(list((run / "reports").iterdir())) == 4
    for report in (run / "reports").iterdir():  # they were live calls: their events hold every word
        events = run / "live" / report.with_suffix(".jsonl").name
        events.parent.mkdir(exist_ok=True)
        events.write_text("{}")
    for table in TABLES:  # they quote all calls of the run
        (run / table).write_text("")
    done = purge(store, media, Retention(NOW, reports_too=True), actor="cli", now=NOW)
    assert (done.calls, done.files) == (2, 4 + len(TABLES))
    assert not any((run / table).exists() for table in TABLES)
    assert len(list((run / "reports").iterdir())) == len(list((run / "live").iterdir())) == 2
    assert import_run(store, run).faults == []


def test_copied_recordings_and_what_was_made_of_them_go_but_not_the_originals(
    store: Store, media: MediaFolder, tmp_path: Path
) -> None:
    names = [report["call_id"] for report in many_reports(3)]
    paths = [write_sound(tmp_path / f"{i}.wav", chirps(2, [0.1 * i]), chirps(2, [1.0])) for i in range(2)]
    filled(store, tmp_path, 3, {names[0]: paths[0], names[1]: paths[1], names[2]: paths[1]})  # the last two share one
    assert copy_recordings(store, media, on_fault=lambda fault: pytest.fail(str(fault))) == 3
    media.playback(recording_of("x", {"paths": [str(paths[1])], "channels": ["agent", "customer"]}))
    assert media.size()[0] == 3
    day_two = Retention(datetime(2026, 10, 2, 12, tzinfo=UTC), recordings_only=True)
    foreseen = foresee(store, media, day_two)
    done = purge(store, media, day_two, actor="cli", now=NOW)
    assert (done.calls, done.files, done.bytes, done.rows) == (2, 1, foreseen.bytes, {})
    assert media.size()[0] == 2  # the third call still has it
    assert purge(store, media, Retention(NOW, recordings_only=True), actor="cli", now=NOW).files == 2
    assert all(path.exists() for path in paths)
    with store.reading() as session:
        assert list(session.scalars(select(Call.recording))) == [None] * 3
        assert session.scalar(select(func.count()).select_from(Report)) == 3


def test_files_left_over_by_an_interrupted_purge_are_swept_up(store: Store, media: MediaFolder, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "call.wav", chirps(2, []), chirps(2, [1.0]))
    media.playback(recording_of("x", {"paths": [str(path)], "channels": ["agent", "customer"]}))
    just_now = datetime.now(UTC)
    assert purge(store, media, Retention(CUT), actor="cli", now=just_now).files == 0  # it may just be in use
    assert purge(store, media, Retention(CUT), actor="cli", now=just_now + timedelta(hours=2)).files == 1
    assert media.size() == (0, 0)


# ---- back-up


@pytest.fixture
def restore(new_database: NewDatabase, tmp_path: Path) -> Iterator[Callable[[Path], Store]]:
    """Opens a back-up as docs/desk.md says to restore it, somewhere else."""
    opened: list[Store] = []

    def open_copy(copy: Path) -> Store:
        (tmp_path / "restored").mkdir()
        url = new_database(tmp_path / "restored")
        if url.startswith("postgresql"):
            command = [pg_program("pg_restore"), "--clean", "--if-exists", "--exit-on-error", f"--dbname={url}", copy]
            subprocess.run(command, check=True)
        else:
            shutil.copy(copy, url)
        opened.append(open_store(url, upgrade=False))
        return opened[0]

    yield open_copy
    for store in opened:
        store.close()


def test_a_backup_taken_under_writes_is_one_moment_and_opens_as_a_store(
    store: Store, restore: Callable[[Path], Store], tmp_path: Path
) -> None:
    run = filled(store, tmp_path, 20)
    stopping = threading.Event()

    def write() -> None:
        while not stopping.wait(0.002):
            with store.writing() as session:
                audit.append(session, "system", "test", "test:1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = back_up(store, tmp_path / "copy.db", actor="cli")
    finally:
        stopping.set()
        writer.join()
    assert done.path.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]
    restored = restore(done.path)
    with restored.reading() as session:
        assert session.scalar(select(func.count()).select_from(Call)) == 20
        assert audit.verify(session).broken is None
        said = session.scalars(select(Turn.text)).first()
        assert said is not None
        assert list(session.scalars(calls_that_say(session, said)))
    assert import_run(restored, run).unchanged == 20


def test_recordings_and_packs_backed_up_come_back_when_their_files_are_gone(sqlite: Store, tmp_path: Path) -> None:
    """As docs/desk.md says to restore."""
    wav, gone = tmp_path / "sounds" / "a.wav", tmp_path / "sounds" / "b.wav"
    wav.parent.mkdir()
    write_sound(wav, *stereo(2))
    write_sound(gone, *stereo(3))
    names = [report["call_id"] for report in many_reports(3)]
    filled(sqlite, tmp_path, 3, {names[0]: wav, names[1]: gone})
    (tmp_path / "packs" / "v2").mkdir(parents=True)
    (tmp_path / "packs" / "v2" / "pack.yaml").write_text("name: v2")
    gone.unlink()
    backup = back_up(sqlite, tmp_path / "copy.db", actor="cli").path
    done = archive_files(sqlite, backup, tmp_path / "packs", actor="cli")
    assert (done.recordings, done.packs, len(done.missing)) == (1, 1, 1)
    assert str(gone) in str(done.missing[0])
    assert [sorted(json.loads(line)) for line in (done.folder / LIST).read_text().splitlines()] == [
        ["bytes", "call", "call_id", "key"], ["call", "call_id", "missing"],
    ]  # fmt: skip
    assert done.folder.stat().st_mode & 0o077 == 0
    sound = wav.read_bytes()
    shutil.rmtree(wav.parent)

    restored, media = open_store(str(backup)), MediaFolder(tmp_path / "new" / "media")
    for _ in range(2):  # interrupted and run again, or twice
        again = restore_files(restored, done.folder, tmp_path / "new" / "packs", media, actor="cli")
        assert [str(fault) for fault in again.missing] == [
            f"{names[1]}: neither where it was nor in the back-up; its sound is lost"
        ]
    with restored.reading() as session:
        call = session.scalars(select(Call).where(Call.call_id == names[0])).one()
        there = recording_of(call.call_id, call.recording or {})
        assert media.holds(there)
        assert there.tracks[0].path.read_bytes() == sound
    assert (tmp_path / "new" / "packs" / "v2" / "pack.yaml").read_text() == "name: v2"
    restored.close()
    with pytest.raises(StoreError, match=r"ends in \.files"):
        restore_files(sqlite, tmp_path, tmp_path / "packs", media, actor="cli")


def test_a_backup_replaces_nothing_and_leaves_nothing_half_done(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        back_up(store, tmp_path / "copy.db", actor="cli")
    with pytest.raises(StoreError, match="another place"):
        back_up(store, tmp_path / "nowhere" / "copy.db", actor="cli")
    assert (tmp_path / "copy.db").read_text() == "mine"
    assert list(tmp_path.glob("*.part")) == []


def test_a_backup_of_a_damaged_database_is_refused(sqlite: Store, tmp_path: Path) -> None:
    filled(sqlite, tmp_path, 10)
    path = tmp_path / "desk.db"
    sqlite.close()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40_000] = b"\xff" * 40_000
    path.write_bytes(content)
    with pytest.raises(StoreError):
        back_up(sqlite, tmp_path / "copy.db", actor="cli")
    assert not (tmp_path / "copy.db").exists()
