"""Every format keeps channels apart and times true; every bad file ends in one clear line or an honest mark."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from analyzer.audio import Decoder, Recording, Track, decode, recording_digest
from analyzer.errors import InputError
from analyzer.types import Role

AGENT, CUSTOMER = Role.AGENT, Role.CUSTOMER
STEREO = (AGENT, CUSTOMER)
SECONDS = 6


def call(rate: int, seconds: float = SECONDS) -> NDArray[np.float32]:
    """A 0.2 s tone at every full second on the agent's channel, at every half second on the customer's."""
    t = np.arange(int(rate * seconds)) / rate
    agent = 0.5 * np.sin(2 * np.pi * 500 * t) * (t % 1 < 0.2)
    customer = 0.5 * np.sin(2 * np.pi * 900 * t) * ((t + 0.5) % 1 < 0.2)
    return np.stack([agent, customer]).astype(np.float32)


def write(path: Path, codec: str, rate: int, sound: NDArray[np.float32] | None = None, **options: str) -> Path:
    sound = call(rate) if sound is None else sound
    layout = "stereo" if len(sound) == 2 else "mono"
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        if codec.startswith("wma"):
            stream.bit_rate = 128_000
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for start in range(0, sound.shape[1], 1000):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, start : start + 1000]), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


def wav(sound: NDArray[np.float32], rate: int = 8000, size: int | None = None) -> bytes:
    data = np.rint(sound.T * 32767).astype("<i2").tobytes()
    n_channels = len(sound)
    head = struct.pack("<IHHIIHH", 16, 1, n_channels, rate, rate * 2 * n_channels, 2 * n_channels, 16)
    declared = struct.pack("<I", len(data) if size is None else size)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + head + b"data" + declared + data


def read(path: Path, *roles: Role) -> tuple[dict[Role, NDArray[np.int16]], Decoder]:
    decoder = Decoder(Recording("call", (Track(path, roles or STEREO),)))
    blocks = list(decoder.blocks())
    assert [block.start_ms for block in blocks] == [1000 * index for index in range(len(blocks))]
    return {role: np.concatenate([block.channels[role] for block in blocks]) for role in blocks[0].channels}, decoder


def tones(samples: NDArray[np.int16]) -> list[float]:
    """Where tones begin, in seconds."""
    peaks = np.abs(samples[: len(samples) // 16 * 16].astype(int)).reshape(-1, 16).max(axis=1)
    loud = np.flatnonzero(peaks > 3300) / 1000
    return [float(at) for index, at in enumerate(loud) if index == 0 or at - loud[index - 1] > 0.05]


def assert_tones_at(samples: NDArray[np.int16], expected: list[float], within: float = 0.02) -> None:
    found = tones(samples)
    assert len(found) == len(expected), found
    assert np.allclose(found, expected, atol=within), found


def fault(path: Path, *roles: Role) -> str:
    with pytest.raises(InputError) as error:
        list(decode(Recording("call", (Track(path, roles or STEREO),))))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert ";" in message, "no cure"
    return message


FORMATS = [
    ("pcm_u8", 8000, "wav"),
    ("pcm_s16le", 8000, "wav"),
    ("pcm_s24le", 44100, "wav"),
    ("pcm_s32le", 48000, "wav"),
    ("pcm_f32le", 16000, "wav"),
    ("pcm_f64le", 22050, "wav"),
    ("pcm_mulaw", 8000, "wav"),
    ("pcm_alaw", 8000, "wav"),
    ("adpcm_ima_wav", 8000, "wav"),
    ("libmp3lame", 44100, "mp3"),
    ("libmp3lame", 8000, "mp3"),
    ("aac", 16000, "m4a"),
    ("alac", 16000, "m4a"),
    ("libopus", 48000, "opus"),
    ("libopus", 48000, "ogg"),
    ("libopus", 48000, "webm"),
    ("flac", 16000, "flac"),
    ("wmav2", 44100, "wma"),
]


@pytest.mark.parametrize(("codec", "rate", "suffix"), FORMATS)
def test_every_format_keeps_channels_apart_and_times_true(tmp_path: Path, codec: str, rate: int, suffix: str) -> None:
    channels, decoder = read(write(tmp_path / f"call.{suffix}", codec, rate))
    within = 0.1 if suffix == "wma" else 0.005  # FFmpeg's Windows Media runs a frame late and lacks the first two
    assert_tones_at(channels[AGENT], [0, 1, 2, 3, 4, 5], within)
    assert_tones_at(channels[CUSTOMER], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5], within)
    assert not decoder.truncated
    assert decoder.warnings == ()
    assert abs(decoder.duration_ms - SECONDS * 1000) < 150


@pytest.mark.parametrize(("codec", "rate", "suffix"), [("libopencore_amrnb", 8000, "amr"), ("g722", 16000, "wav")])
def test_mono_telephone_codecs_decode_for_one_speaker(tmp_path: Path, codec: str, rate: int, suffix: str) -> None:
    channels, decoder = read(write(tmp_path / f"call.{suffix}", codec, rate, call(rate)[:1]), AGENT)
    assert_tones_at(channels[AGENT], [0, 1, 2, 3, 4, 5])
    assert not decoder.truncated


def test_sixteen_kilohertz_sixteen_bit_passes_unchanged(tmp_path: Path) -> None:
    ramp = np.linspace(-1, 1, 20_000, dtype=np.float32)
    path = tmp_path / "call.wav"
    path.write_bytes(wav(np.stack([ramp, -ramp[::-1] / 2]), 16_000))
    channels, _ = read(path)
    assert np.array_equal(channels[AGENT], np.rint(ramp * 32767).astype(np.int16))


def test_float_samples_beyond_full_scale_or_not_a_number_are_clipped(tmp_path: Path) -> None:
    sound = np.zeros((2, 16_000), dtype=np.float32)
    sound[0, 100:200], sound[0, 300], sound[1, 400] = 3.0, np.nan, -np.inf
    channels, _ = read(write(tmp_path / "call.wav", "pcm_f32le", 16_000, sound))
    assert channels[AGENT][150] == 32767
    assert channels[AGENT][300] == 0
    assert channels[CUSTOMER][400] == -32768


def test_the_customer_may_be_on_the_first_channel(tmp_path: Path) -> None:
    channels, _ = read(write(tmp_path / "call.wav", "pcm_s16le", 8000), CUSTOMER, AGENT)
    assert_tones_at(channels[CUSTOMER], [0, 1, 2, 3, 4, 5], 0.005)


def test_two_files_make_one_call_and_the_shorter_is_silent_at_its_end(tmp_path: Path) -> None:
    agent = write(tmp_path / "a.wav", "pcm_s16le", 8000, call(8000)[:1])
    customer = write(tmp_path / "c.mp3", "libmp3lame", 44100, call(44100, 3)[1:])
    decoder = Decoder(Recording("call", (Track(agent, (AGENT,)), Track(customer, (CUSTOMER,)))))
    blocks = list(decoder.blocks())
    assert all(len(block.channels[AGENT]) == len(block.channels[CUSTOMER]) for block in blocks)
    assert_tones_at(np.concatenate([block.channels[AGENT] for block in blocks]), [0, 1, 2, 3, 4, 5])
    assert_tones_at(np.concatenate([block.channels[CUSTOMER] for block in blocks]), [0.5, 1.5, 2.5])
    assert len(decoder.warnings) == 1
    assert "长度不一（坐席 6.0 秒，客户 3.0 秒）" in decoder.warnings[0]


def write_two_tracks(path: Path, codec: str, first: NDArray[np.float32], second: NDArray[np.float32]) -> Path:
    """Each speaker, shape (1, n) at 16 kHz, on a mono track of their own."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=16_000, layout="mono") for _ in range(2)]
        for start in range(0, first.shape[1], 1000):
            for stream, sound in zip(streams, (first, second), strict=True):
                samples = np.rint(sound[:, start : start + 1000] * 32_767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("mka", "pcm_s16le"), ("mkv", "flac")])
def test_two_mono_tracks_in_one_file_are_two_channels_in_their_order(tmp_path: Path, suffix: str, codec: str) -> None:
    sound = call(16_000)
    path = write_two_tracks(tmp_path / f"call.{suffix}", codec, sound[:1], sound[1:])
    channels, decoder = read(path)
    assert_tones_at(channels[AGENT], [0, 1, 2, 3, 4, 5])
    assert_tones_at(channels[CUSTOMER], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    assert not decoder.truncated
    assert decoder.warnings == ()
    swapped, _ = read(path, CUSTOMER, AGENT)
    assert_tones_at(swapped[CUSTOMER], [0, 1, 2, 3, 4, 5])


def test_two_tracks_of_the_same_sound_are_refused_like_two_channels(tmp_path: Path) -> None:
    sound = call(16_000)[:1]
    assert "the same sound" in fault(write_two_tracks(tmp_path / "call.mka", "pcm_s16le", sound, sound))


def test_two_files_of_the_same_sound_are_refused_too(tmp_path: Path) -> None:
    sound = call(8000)[:1]
    one, other = (write(tmp_path / f"{side}.wav", "pcm_s16le", 8000, sound) for side in ("agent", "customer"))
    recording = Recording("call", (Track(one, (AGENT,)), Track(other, (CUSTOMER,))))
    with pytest.raises(InputError, match=r"agent\.wav: the same sound as .*customer\.wav"):
        list(Decoder(recording).blocks())


def test_two_tracks_are_refused_where_one_speaker_was_expected(tmp_path: Path) -> None:
    sound = call(16_000)
    path = write_two_tracks(tmp_path / "call.mka", "pcm_s16le", sound[:1], sound[1:])
    assert "2 sound tracks" in fault(path, AGENT)


def test_blocks_are_the_same_however_the_codec_cuts_its_frames(tmp_path: Path) -> None:
    one, _ = read(write(tmp_path / "a.wav", "pcm_s16le", 8000))
    other, _ = read(write(tmp_path / "a.flac", "flac", 8000))
    assert all(np.array_equal(one[role], other[role]) for role in STEREO)


def test_memory_does_not_grow_with_the_call(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    minute = np.random.default_rng(1).normal(0, 0.1, (2, 60 * 8000)).astype(np.float32)
    path.write_bytes(wav(np.tile(minute, 30)))  # 29 MB; 115 MB once at 16 kHz
    tracemalloc.start()
    try:
        assert sum(1 for _ in decode(Recording("call", (Track(path, STEREO),)))) == 30 * 60
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("codec", "rate", "suffix"), FORMATS)
def test_random_damage_ends_in_blocks_or_in_one_line(tmp_path: Path, codec: str, rate: int, suffix: str) -> None:
    whole = write(tmp_path / f"call.{suffix}", codec, rate, call(rate, 2)).read_bytes()
    random = np.random.default_rng(2)
    for _ in range(12):
        raw = np.frombuffer(whole, dtype=np.uint8).copy()
        at = random.integers(0, len(raw), size=20)
        raw[at] = random.integers(0, 256, size=20)
        (tmp_path / f"bad.{suffix}").write_bytes(raw.tobytes())
        with suppress(InputError):
            assert 0 < len(list(decode(Recording("call", (Track(tmp_path / f"bad.{suffix}", STEREO),))))) < 100


# Damage


@pytest.mark.parametrize(
    ("codec", "rate", "suffix"),
    [*FORMATS[:10], ("libopus", 48000, "ogg"), ("libopus", 48000, "webm"), ("flac", 16000, "flac")],
)
def test_a_file_cut_off_decodes_to_the_cut_and_is_truncated(tmp_path: Path, codec: str, rate: int, suffix: str) -> None:
    path = write(tmp_path / f"call.{suffix}", codec, rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    channels, decoder = read(path)
    assert decoder.truncated
    assert "请重新复制或导出" in decoder.warnings[0]
    assert_tones_at(channels[AGENT][: 3 * 16_000], [0, 1, 2])


@pytest.mark.parametrize(
    ("codec", "rate", "suffix", "within"),
    [
        ("libmp3lame", 44100, "mp3", 0.05),
        ("libmp3lame", 8000, "mp3", 0.1),
        ("aac", 16000, "m4a", 0.005),
        ("libopus", 48000, "ogg", 0.005),
        ("flac", 16000, "flac", 0.005),
        ("wmav2", 44100, "wma", 0.1),
    ],
)
def test_sound_after_a_damaged_stretch_keeps_its_time(
    tmp_path: Path, codec: str, rate: int, suffix: str, within: float
) -> None:
    path = write(tmp_path / f"call.{suffix}", codec, rate, call(rate, 12))
    raw = bytearray(path.read_bytes())
    start, end = len(raw) * 40 // 100, len(raw) * 50 // 100
    raw[start:end] = bytes(end - start)
    path.write_bytes(raw)
    channels, decoder = read(path)
    assert decoder.truncated
    after = tones(channels[AGENT])[-2:]
    assert np.allclose(after, [10, 11], atol=within), after


def test_damage_in_the_middle_of_constant_rate_amr_keeps_later_times(tmp_path: Path) -> None:
    path = write(tmp_path / "call.amr", "libopencore_amrnb", 8000, call(8000, 12)[:1])
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 40 // 100 : len(raw) // 2] = bytes(len(raw) // 2 - len(raw) * 40 // 100)
    path.write_bytes(raw)
    channels, decoder = read(path, AGENT)
    assert decoder.truncated
    assert np.allclose(tones(channels[AGENT])[-2:], [10, 11], atol=0.1)


@pytest.mark.parametrize(
    ("codec", "suffix", "early"),
    [("aac", "aac", True), ("libmp3lame", "mp3", True), ("libopencore_amrnb", "amr", True), ("flac", "flac", False)],
)
@pytest.mark.parametrize("filler", [b"", b"\0"])
def test_damage_in_a_format_without_a_clock_says_that_later_times_may_be_early(
    tmp_path: Path, codec: str, suffix: str, early: bool, filler: bytes
) -> None:
    path = write(tmp_path / f"call.{suffix}", codec, 8_000, call(8_000, 12)[:1])
    raw = path.read_bytes()
    start, end = len(raw) * 40 // 100, len(raw) // 2
    path.write_bytes(raw[:start] + filler * (end - start) + raw[end:])
    _, decoder = read(path, AGENT)
    assert decoder.truncated
    assert ("之后的时间可能偏早" in decoder.warnings[0]) == early


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_streamed_wav_that_never_learnt_its_length_is_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(wav(call(8000), size=size))
    _, decoder = read(path)
    assert decoder.duration_ms == SECONDS * 1000
    assert not decoder.truncated


# Files that hold no call


def silent(path: Path) -> None:
    path.write_bytes(wav(np.zeros((2, 16_000), dtype=np.float32)))


def test_a_silent_recording_decodes_and_says_so(tmp_path: Path) -> None:
    silent(tmp_path / "call.wav")
    _, decoder = read(tmp_path / "call.wav")
    assert decoder.warnings[0].startswith("整段录音没有声音")
    assert not decoder.truncated


def test_one_silent_channel_is_named(tmp_path: Path) -> None:
    sound = call(8000)
    sound[1] = 0
    (tmp_path / "call.wav").write_bytes(wav(sound))
    _, decoder = read(tmp_path / "call.wav")
    assert decoder.warnings[0].startswith("客户声道没有声音")


def test_one_channel_where_two_were_expected_is_refused_with_the_option_to_use(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(wav(call(8000)[:1]))
    assert "--mono agent" in fault(tmp_path / "call.wav")


def test_stereo_where_one_speaker_was_expected_is_refused_unless_both_channels_are_one_sound(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(wav(call(8000)))
    assert "--channels" in fault(tmp_path / "call.wav", AGENT)
    (tmp_path / "twin.wav").write_bytes(wav(np.repeat(call(8000)[:1], 2, axis=0)))
    channels, _ = read(tmp_path / "twin.wav", AGENT)
    assert_tones_at(channels[AGENT], [0, 1, 2, 3, 4, 5])


def test_mono_saved_as_stereo_is_never_shared_out_to_two_speakers(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(wav(np.repeat(call(8000)[:1], 2, axis=0)))
    assert "--mono mixed" in fault(tmp_path / "call.wav")


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(wav(np.repeat(call(8000), 3, axis=0)))
    assert "6 channels" in fault(tmp_path / "call.wav")


def video_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))


def cut_inside_m4a(path: Path) -> None:
    whole = write(path.with_suffix(".whole.m4a"), "aac", 16_000)
    path.write_bytes(whole.read_bytes()[:5000])


def bytes_of(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


NO_CHANNEL = struct.pack("<IHHIIHH", 16, 1, 0, 8000, 0, 2, 16)
ZERO_CHANNELS = b"RIFF\xff\xff\xff\xffWAVEfmt " + NO_CHANNEL + b"data\x10\0\0\0" + bytes(16)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("empty.wav", bytes_of(b""), "empty (0 bytes)"),
        ("header.wav", bytes_of(wav(np.zeros((2, 0), np.float32))), "holds no sound"),
        ("text.wav", bytes_of(b"not a recording\n" * 100), "no sound file of a known kind"),
        ("notes.txt", bytes_of(b"not a recording\n" * 100), "no sound file of a known kind"),
        ("headerless.wav", bytes_of(wav(call(8000))[44:]), "no sound file of a known kind"),
        ("headerless.ul", bytes_of(bytes(range(256)) * 100), "headerless"),
        ("zero.wav", bytes_of(ZERO_CHANNELS), "0 channels"),
        ("list.m3u8", bytes_of(b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"), "no sound file of a known kind"),
        ("video.mp4", video_only, "video but no sound"),
        ("cut.m4a", cut_inside_m4a, "index (moov) is missing"),
        ("folder.wav", Path.mkdir, "is a folder"),
        ("missing.wav", lambda path: None, "no such file"),
        ("pipe.wav", os.mkfifo, "not a regular file"),
    ],
)
def test_a_file_that_holds_no_call_is_one_line_with_file_problem_and_cure(
    tmp_path: Path, name: str, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / name)
    assert says in fault(tmp_path / name)


def test_an_unreadable_file_is_one_line_with_file_problem_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    silent(path)
    path.chmod(0)
    tmp_path.chmod(0o711)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o711)
    if os.geteuid() == 0:  # root may read anything: become nobody for a moment
        os.seteuid(65534)
        try:
            assert "permission denied" in fault(path)
        finally:
            os.seteuid(0)
    else:
        assert "permission denied" in fault(path)


@pytest.mark.parametrize("suffix", ["mp3", "txt", "ogg"])
def test_a_wrong_extension_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "call.wav", "pcm_s16le", 8000).rename(tmp_path / f"call.{suffix}")
    channels, _ = read(path)
    assert_tones_at(channels[AGENT], [0, 1, 2, 3, 4, 5])


def test_a_colon_or_foreign_bytes_in_the_name_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("10:30.wav").write_bytes(wav(call(8000)))
    read(Path("10:30.wav"))
    gbk = Path(os.fsdecode("通话.wav".encode("gbk")))
    gbk.write_bytes(wav(call(8000)))
    read(gbk)


def test_the_digest_covers_bytes_layout_and_attributes(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    silent(path)
    base = Recording("call", (Track(path, STEREO),))
    swapped = Recording("call", (Track(path, (CUSTOMER, AGENT)),))
    described = Recording("call", (Track(path, STEREO),), metadata={"ring_ms": 4000})
    digests = {recording_digest(base), recording_digest(swapped), recording_digest(described)}
    path.write_bytes(path.read_bytes() + b"\0")
    assert len(digests | {recording_digest(base)}) == 4
    assert recording_digest(Recording("other name", base.tracks)) == recording_digest(base)
