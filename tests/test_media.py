"""Peaks, playback copies and clips: times stay true, sides stay apart, identifiers cannot be heard."""

from __future__ import annotations

import io
import threading
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzer.audio import Recording, decode
from analyzer.errors import InputError, StoreError
from analyzer.media import MediaFolder, Said, bleep_spans, content_key, described, folder, heard_roles, recording_of
from analyzer.media.peaks import STEP_MS
from analyzer.types import Role, Span
from tests.sounds import chirps, write_sound

AGENT_AT, CUSTOMER_AT = [0.5, 6.25], [2.0, 7.5]


@pytest.fixture
def media(tmp_path: Path) -> MediaFolder:
    return MediaFolder(tmp_path / "media")


@pytest.fixture
def call(tmp_path: Path) -> Recording:
    path = write_sound(tmp_path / "call.wav", chirps(9.3, AGENT_AT), chirps(9.3, CUSTOMER_AT))
    return recording_of("call", {"paths": [str(path)], "channels": ["agent", "customer"]})


def samples_of(recording: Recording) -> dict[Role, NDArray[np.int16]]:
    blocks = list(decode(recording))
    return {role: np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles}


def copy_of(path: Path, recording: Recording) -> dict[Role, NDArray[np.int16]]:
    channels = [role.value for role in heard_roles(recording)]
    return samples_of(recording_of("copy", {"paths": [str(path)], "channels": channels}))


def wav(content: bytes) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(content)) as file:
        assert file.getframerate() == 16_000
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())


def delay(original: NDArray[np.int16], copy: NDArray[np.int16]) -> int:
    """By how many samples the copy is late."""
    size = 1 << 19
    spectrum = np.fft.rfft(copy.astype(float), size) * np.conj(np.fft.rfft(original.astype(float), size))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    return lag if lag < size // 2 else lag - size


# ---- peaks


def test_a_peak_is_the_furthest_from_silence_that_its_samples_get(media: MediaFolder, call: Recording) -> None:
    heights = media.peaks(call).heights(93, 0, 9_300, Role.AGENT)
    sound = np.abs(samples_of(call)[Role.AGENT].astype(int)).reshape(93, 1600).max(axis=1) / 32768
    assert heights == pytest.approx(sound, abs=1 / 128)


def test_each_side_has_its_own_peaks(media: MediaFolder, call: Recording) -> None:
    peaks = media.peaks(call)
    loud = [
        [i for i, height in enumerate(peaks.heights(93, 0, 9_300, role)) if height > 0.4]
        for role in (Role.AGENT, Role.CUSTOMER, None)
    ]
    assert loud == [[5, 62, 63], [20, 75], [5, 20, 62, 63, 75]]


@pytest.mark.parametrize(
    ("buckets", "part", "loudest"),
    [
        (1, (0, 9_300), 0.5),
        (7, (100, 5_000), 0.5),
        (500, (9_000, 9_300), 0.01),
        (8192, (0, 9_300), 0.5),
        (9, (3, 4), 0.01),
    ],
)
def test_any_part_can_be_drawn_at_any_width(
    media: MediaFolder, call: Recording, buckets: int, part: tuple[int, int], loudest: float
) -> None:
    start, end = part
    heights = media.peaks(call).heights(buckets, start, end)
    assert len(heights) == max(1, min(buckets, (end - start) // STEP_MS))
    assert max(heights) == pytest.approx(loudest, abs=0.03)


def test_beyond_the_end_there_is_silence(media: MediaFolder, call: Recording) -> None:
    peaks = media.peaks(call)
    assert peaks.heights(10, 60_000, 70_000) == [0.0] * 10
    assert [height > 0 for height in peaks.heights(4, 9_100, 9_500)] == [True, True, False, False]


def test_peaks_are_decoded_once(media: MediaFolder, call: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    first = media.peaks(call).heights(50, 0, 9_300)
    monkeypatch.setattr(folder, "decode", None)
    folder._peaks_of.cache_clear()
    assert media.peaks(call).heights(50, 0, 9_300) == first


def test_peaks_cut_short_on_disk_are_made_again(media: MediaFolder, call: Recording) -> None:
    first = media.peaks(call).heights(50, 0, 9_300)
    path = media.place(call) / "peaks"
    path.write_bytes(path.read_bytes()[:-100])
    assert media.peaks(call).heights(50, 0, 9_300) == first


# ---- playback copies


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("call.wav", "pcm_s16le", {}),
        ("call.wav", "pcm_alaw", {}),
        ("call.wav", "adpcm_ms", {}),
        ("call.wav", "adpcm_ima_wav", {}),
        ("call.m4a", "aac", {}),
        ("call.mp3", "libmp3lame", {"rate": 16_000}),
        ("call.wma", "wmav2", {"rate": 16_000}),
    ],
)
def test_a_copy_keeps_the_times_of_any_codec(
    tmp_path: Path, media: MediaFolder, name: str, codec: str, options: dict[str, int]
) -> None:
    sounds = [chirps(9.3, at, **options) for at in (AGENT_AT, CUSTOMER_AT)]
    path = write_sound(tmp_path / name, *sounds, codec=codec, **options)
    call = recording_of("call", {"paths": [str(path)], "channels": ["customer", "agent"]})
    original, copy = samples_of(call), copy_of(media.playback(call), call)
    for role in (Role.AGENT, Role.CUSTOMER):
        assert abs(delay(original[role], copy[role])) <= 16, f"{role}: more than a millisecond off"
        assert abs(len(copy[role]) - len(original[role])) <= 320


def test_a_pair_of_amr_files_becomes_a_copy_with_true_times(tmp_path: Path, media: MediaFolder) -> None:
    paths = [
        write_sound(tmp_path / f"{number}.amr", chirps(9.3, at), codec="libopencore_amrnb", bit_rate=12_200)
        for number, at in enumerate((AGENT_AT, CUSTOMER_AT))
    ]
    call = recording_of("call", {"paths": [str(path) for path in paths], "channels": ["agent", "customer"]})
    original, copy = samples_of(call), copy_of(media.playback(call), call)
    assert all(abs(delay(original[role], copy[role])) <= 16 for role in call.roles)


def test_a_muted_side_cannot_be_heard_on_the_other(tmp_path: Path, media: MediaFolder) -> None:
    path = write_sound(tmp_path / "call.wav", chirps(5, [1.0, 2.0]), 0 * chirps(5, []))
    call = recording_of("call", {"paths": [str(path)], "channels": ["agent", "customer"]})
    copy = copy_of(media.playback(call), call)
    assert np.abs(copy[Role.AGENT]).max() > 10_000
    assert np.abs(copy[Role.CUSTOMER]).max() == 0


def test_two_files_become_one_copy_with_a_channel_each(tmp_path: Path, media: MediaFolder) -> None:
    paths = [write_sound(tmp_path / f"{name}.wav", chirps(4, [at])) for name, at in (("a", 1.0), ("b", 3.0))]
    call = recording_of("call", {"paths": [str(path) for path in paths], "channels": ["agent", "customer"]})
    copy = copy_of(media.playback(call), call)
    assert np.argmax(copy[Role.AGENT]) < 2 * 16_000 < np.argmax(copy[Role.CUSTOMER])


def test_a_bleeped_stretch_holds_nothing_but_the_tone_on_either_side(media: MediaFolder, call: Recording) -> None:
    copy = copy_of(media.playback(call, [Span(400, 700), Span(1_900, 2_200)]), call)
    for role in call.roles:
        for start in (0.45, 1.95):
            spectrum = np.abs(np.fft.rfft(copy[role][int(start * 16_000) :][:3200].astype(float)))
            tone = spectrum[190:211].sum()  # 1 kHz, 5 Hz per line
            assert tone > 0.9 * spectrum.sum()
    assert np.abs(copy[Role.AGENT][int(6.25 * 16_000) :][:1600]).max() > 10_000


def test_bleeped_and_plain_copies_are_kept_apart(media: MediaFolder, call: Recording) -> None:
    plain = media.playback(call)
    bleeped = media.playback(call, [Span(0, 100)])
    assert len({plain, bleeped, media.playback(call, [Span(0, 200)])}) == 3
    assert media.playback(call, [Span(0, 100)]) == bleeped


def test_many_requests_at_once_make_one_copy(
    media: MediaFolder, call: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def write(blocks: object, roles: object, bleeps: object, path: Path) -> None:
        made.append(path)
        path.write_bytes(b"x")

    monkeypatch.setattr(folder, "write_playback", write)
    threads = [threading.Thread(target=media.playback, args=(call,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_copy_that_failed_leaves_nothing_behind(tmp_path: Path, media: MediaFolder) -> None:
    path = write_sound(tmp_path / "call.wav", chirps(2, []))
    call = recording_of("call", {"paths": [str(path)], "channels": ["agent", "customer"]})  # but it is mono
    with pytest.raises(InputError, match="1 channel where 2 were expected"):
        media.playback(call)
    assert media.files(content_key(call)) == []


def test_the_folder_is_for_its_owner_only(media: MediaFolder, call: Recording) -> None:
    path = media.playback(call)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, call: Recording) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*ANALYZER_MEDIA"):
        MediaFolder(tmp_path / "file").playback(call)


# ---- clips


@pytest.mark.parametrize("from_copy", [False, True])
@pytest.mark.parametrize("span", [Span(6_000, 6_500), Span(0, 1_000), Span(8_000, 20_000)])
def test_a_clip_holds_exactly_its_stretch(media: MediaFolder, call: Recording, span: Span, from_copy: bool) -> None:
    if from_copy:
        media.playback(call)
    clip = wav(media.clip(call, span))
    sound = np.stack(list(samples_of(call).values()), axis=1)[span.start_ms * 16 : span.end_ms * 16]
    assert abs(len(clip) - len(sound)) <= 16
    for channel in (0, 1):
        if np.abs(sound[:, channel]).max() > 10_000:
            assert abs(delay(sound[:, channel], clip[:, channel])) <= 16


def test_a_clip_is_bleeped_without_a_copy(media: MediaFolder, call: Recording) -> None:
    clip = wav(media.clip(call, Span(0, 1_000), [Span(400, 700)]))
    assert np.abs(clip[int(0.5 * 16_000) : int(0.6 * 16_000)]).max() <= 3_001
    assert media.files(content_key(call)) == []


# ---- where identifiers are said


def timed(text: str, start_ms: int = 1_000, each_ms: int = 200) -> list[list[int]]:
    return [[start_ms + i * each_ms, start_ms + (i + 1) * each_ms] for i in range(len(text))]


def test_a_bleep_covers_the_characters_of_a_number_and_a_margin() -> None:
    text = "号码一三八零零一三八零零零谢谢"
    assert bleep_spans([Said("customer", text, 1_000, 4_000, timed(text))]) == (Span(1_100, 3_900),)


def test_without_character_times_the_margin_is_wider() -> None:
    text = "号码一三八零零一三八零零零谢谢"
    (span,) = bleep_spans([Said("customer", text, 10_000, 13_000, None)])
    assert span == Span(8_900, 14_100)


def test_bleeps_that_touch_are_one() -> None:
    turns: Sequence[Said] = [
        Said("customer", "一三八零零", 0, 1_000, timed("一三八零零", 0)),
        Said("customer", "一三八零零零", 1_100, 2_300, timed("一三八零零零", 1_100)),
    ]
    assert bleep_spans(turns) == (Span(0, 2_600),)


def test_a_call_without_identifiers_has_no_bleeps() -> None:
    assert bleep_spans([Said("agent", "您好，工号3017", 0, 2_000, None)]) == ()


# ---- originals


def test_a_kept_recording_is_heard_when_the_original_is_gone(media: MediaFolder, call: Recording) -> None:
    kept = media.keep(call)
    assert not media.holds(call)
    assert media.holds(kept)
    assert content_key(kept) == content_key(call)
    call.tracks[0].path.unlink()
    assert media.playback(recording_of("call", described(kept))).exists()


def test_what_is_forgotten_is_gone_and_counted(media: MediaFolder, call: Recording) -> None:
    media.playback(call)
    files, size = media.size()
    assert files == 1
    assert media.forget(content_key(call)) == size
    assert media.size() == (0, 0)


def test_a_missing_recording_is_named(media: MediaFolder, tmp_path: Path) -> None:
    gone = recording_of("call", {"paths": [str(tmp_path / "gone.wav")], "channels": ["agent", "customer"]})
    with pytest.raises(InputError, match=r"gone\.wav"):
        media.playback(gone)


def test_a_recording_described_wrongly_is_refused() -> None:
    with pytest.raises(InputError, match="import it again"):
        recording_of("call", {"paths": ["a.wav", "b.wav"], "channels": ["agent"]})
