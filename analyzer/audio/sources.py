"""One file of any container and codec -> its samples, each at its true place in time.

Theory of operation. FFmpeg's easy path stops at the first damaged packet and drops the rest without a word, and it
forgets when each frame was meant to sound, so a lost packet shifts all that follows. Here packets are read and decoded
one at a time; what fails is counted and left out, and every frame is placed by its timestamp, with silence where
nothing could be decoded. Timestamps are believed only as far as they can be true:

- small disagreements are jitter of containers that count in milliseconds, and are ignored;
- a step back of more than a second, or forward beyond the end the header declares, is a broken clock: the frame goes
  where the last one ended;
- MP3 and AMR carry no clock at all. FFmpeg counts one frame for a stretch of rubbish however long it was; its length
  is estimated from its bytes.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from analyzer.audio.headers import has_frame_count, ogg_is_complete, read_wav_header
from analyzer.errors import InputError

av.logging.set_level(av.logging.PANIC)  # what FFmpeg mutters about damage is reported once, by us

FloatSamples = NDArray[np.float32]

JITTER_MS = 50  # timestamps of ASF and of WebM from browsers wander by tens of milliseconds
CLOCK_STEP_BACK_MS = 1_000  # further back than this is another clock, not an overlap
LONGEST_GAP_MS = 600_000  # believed where no header says how long the recording is
SHORT_BY_MS = 500  # a recording may end this much before its declared end: encoders round and pad
STREAM_CUT_MS = 60_000  # a first timestamp later than this is the clock of a longer broadcast, not silence
MAX_READ_FAILURES = 50  # in a row, without a packet between: the rest of the file is lost
SAMPLE_RATES = range(2_000, 768_001)  # Hz

# FFmpeg opens these by the file's name alone and guesses 44.1 kHz mono; the result is noise
_HEADERLESS = frozenset(
    (
        *("alaw", "mulaw", "vidc", "g726", "g726le", "s8", "u8", "s16le", "s16be", "u16le", "u16be", "s24le", "s24be"),
        *("u24le", "u24be", "s32le", "s32be", "u32le", "u32be", "f32le", "f32be", "f64le", "f64be"),
    )
)
_CLOCK_STARTS_LATE = frozenset({"mp3", "mpegts", "mpeg"})  # the first timestamp is an encoder's delay or arbitrary
_DECLARES_LENGTH = frozenset({"flac", "mov", "matroska", "asf", "aiff", "au", "caf", "w64", "ogg"})
_CLOCKLESS = frozenset({"mp3", "amr"})
_TELLS_NO_TIME = _CLOCKLESS | {"aac"}  # in raw AAC the demuxer skips rubbish without a trace of its length
_AMR_QUALITY_BIT, _AMR_PADDING_BITS = 0x04, 0x83  # RFC 4867 §5.3: first byte of a frame

_WAV_PACKET_BYTES = 1 << 15  # by default 64 ms of telephone audio: thousands of needless rounds

_WRAP = "ffmpeg -f s16le -ar 8000 -ac 2 -i RAW OUT.wav"


class Frame(NamedTuple):
    """Decoded samples, float32 in [-1, 1], shape = (n_samples, n_channels); ``start`` in samples, None = unknown."""

    start: int | None
    samples: FloatSamples


@dataclass(slots=True)
class Damage:
    """What was wrong with one file; complete once its samples have been read to the end.

    bad_packets  packets that could not be decoded and were followed by sound
    filled       samples of silence put where sound is missing
    short_by_ms  how much earlier the sound ends than the header declares
    cut_off      the file stops inside a packet or before its end mark
    later_early  sound follows the damage in a format without a clock: it may stand earlier than it was spoken
    """

    bad_packets: int = 0
    filled: int = 0
    short_by_ms: int = 0
    cut_off: bool = False
    later_early: bool = False

    @property
    def any(self) -> bool:
        return bool(self.bad_packets or self.filled or self.cut_off or self.short_by_ms > SHORT_BY_MS)


class SoundFile:
    """One open sound track of a file. A context manager; ``samples`` can be read once.

    index      which of the file's sound tracks
    n_tracks   how many it is expected to have
    raises InputError, naming file, problem and cure, when there is nothing to decode
    """

    def __init__(self, path: Path, index: int = 0, n_tracks: int = 1) -> None:
        self.path = path
        self.damage = Damage()
        _check_is_readable(path)
        wav = read_wav_header(path)
        if wav is not None and (wav.channels == 0 or wav.rate == 0):
            missing = "0 channels" if wav.channels == 0 else "a sample rate of 0 Hz"
            raise InputError(f"{path}: its header declares {missing}; repair the header or export the recording again")
        self._container = _open(path)
        try:
            self._stream = _audio_stream(path, self._container, index, n_tracks)
            self.rate = _sample_rate(path, self._stream)
        except InputError:
            self._container.close()
            raise
        self._format = self._container.format.name.split(",")[0]
        self._declared_ms = _declared_ms(path, self._container, self._stream)
        self._present = wav.present if wav else 1.0
        self._origin = _origin(self._format, self._stream)
        self._damaged_since_last_frame = False
        self._bad_at_end = 0
        self._n_channels = 0  # of the first frame: headers of AAC may say one where two come out
        self._tick = float(self._stream.time_base)  # seconds
        self._lost_clock = 0.0  # seconds of rubbish that the demuxer did not count
        self._recent: deque[tuple[int, int]] = deque(maxlen=100)  # (bytes, ticks) of good packets

    def __enter__(self) -> SoundFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self._container.close()

    def samples(self) -> Iterator[FloatSamples]:
        """The recording from its start, gaps filled with zeros, in pieces of at most about a second.

        yields  float32 in [-1, 1], shape = (n_samples, n_channels), at ``rate``
        """
        placed = 0
        clock_offset = 0
        for start, samples in self._frames():
            if start is None:
                gap = 0
            else:
                gap = start + clock_offset - placed
                if self._clock_is_broken(gap, placed):
                    clock_offset -= gap
                    gap = 0
            gap = self._believe(gap)
            if placed or gap > self._to_samples(SHORT_BY_MS):  # less than that at the start is a codec warming up
                self.damage.filled += max(0, gap)
            yield from _silence(gap, self.rate, samples.shape[1])
            kept = samples[max(0, -gap) :]
            placed += max(0, gap) + len(kept)
            if len(kept):
                yield kept
        if placed == 0:
            raise InputError(f"{self.path}: {self._why_nothing()}")
        self._judge_end(placed)

    def _believe(self, gap: int) -> int:
        """The part of a disagreement between clock and samples that is more than jitter, in samples."""
        if self._damaged_since_last_frame or abs(gap) > self._to_samples(JITTER_MS):
            self._damaged_since_last_frame = False
            return gap
        return 0

    def _clock_is_broken(self, gap: int, placed: int) -> bool:
        if gap < -self._to_samples(CLOCK_STEP_BACK_MS):
            return True
        if self._declared_ms:
            return placed + gap > self._to_samples(self._declared_ms + JITTER_MS + SHORT_BY_MS) and gap > self.rate
        return gap > self._to_samples(LONGEST_GAP_MS)

    def _judge_end(self, placed: int) -> None:
        decoded_ms = placed * 1000 // self.rate
        if self._declared_ms is None:
            self.damage.bad_packets += self._bad_at_end
            self.damage.short_by_ms = round(decoded_ms / self._present - decoded_ms)
        else:
            self.damage.short_by_ms = self._declared_ms - decoded_ms
        if self._format == "ogg" and not ogg_is_complete(self.path):
            self.damage.cut_off = True

    def _why_nothing(self) -> str:
        tried = self.damage.bad_packets + self._bad_at_end
        if tried:
            return f"none of its {tried} packets could be decoded (damaged or encrypted); export the recording again"
        return "holds no sound, only a header; copy or export the recording again"

    def _frames(self) -> Iterator[Frame]:
        for packet in self._packets():
            frames = self._decode(packet) if packet is not None else None
            if frames is None:
                self._bad_at_end += 1
                self._damaged_since_last_frame = True
                if packet is not None:
                    self._count_rubbish(packet)
                continue
            for frame in frames:
                if self._bad_at_end and self._format in _TELLS_NO_TIME:
                    self.damage.later_early = True
                self.damage.bad_packets += self._bad_at_end
                self._bad_at_end = 0
                yield Frame(self._start(frame), _to_float(frame))

    def _packets(self) -> Iterator[Any]:
        """Packets in file order; None where the container could not be read."""
        failures = 0
        while failures < MAX_READ_FAILURES:
            packets = self._container.demux(self._stream)
            try:
                for packet in packets:
                    failures = 0
                    yield packet
            except av.FFmpegError:
                failures += 1
                yield None
            else:
                return

    def _decode(self, packet: Any) -> list[Any] | None:
        """The frames of a packet, or None if it cannot be decoded. The empty packet at the end flushes the decoder."""
        if self._stream.codec_context.name.startswith("amr") and packet.size and not _is_sound_amr(packet):
            return None
        try:
            frames = self._stream.codec_context.decode(packet if packet.size else None)
        except av.EOFError:
            return []
        except av.FFmpegError:
            return None
        if packet.is_corrupt and self._format != "wav":  # wav: headers of streams declare more than there is
            self.damage.cut_off = True
        if packet.size and frames and packet.duration:
            self._recent.append((packet.size, packet.duration))
        return list(frames) if all(map(self._continues, frames)) else None

    def _continues(self, frame: Any) -> bool:
        """Whether a frame has the shape of those before; rubbish may decode to another rate or channel count."""
        n_channels = len(frame.layout.channels)
        self._n_channels = self._n_channels or n_channels
        return bool(frame.sample_rate == self.rate and n_channels == self._n_channels)

    def _count_rubbish(self, packet: Any) -> None:
        if self._format not in _CLOCKLESS or not self._recent or not packet.duration:
            return
        size, ticks = map(sum, zip(*self._recent, strict=True))
        self._lost_clock += (packet.size * ticks / size - packet.duration) * self._tick

    def _start(self, frame: Any) -> int | None:
        if frame.pts is None:
            return None
        seconds: float = frame.pts * self._tick - self._origin + self._lost_clock
        return round(seconds * self.rate)

    def _to_samples(self, ms: int) -> int:
        return ms * self.rate // 1000


def _check_is_readable(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder, not a recording; name the recording in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file; copy the recording to disk first")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{path}: permission denied; make it readable (chmod +r)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); check disk and path") from None
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy the recording again")


def _open(path: Path) -> Any:
    """The container. Only plain files are followed: a play list must not make us open an address on the network."""
    try:
        return av.open(
            "file:" + os.fspath(path),
            metadata_errors="replace",  # tags in GBK are common and of no interest
            options={"protocol_whitelist": "file", "max_size": str(_WAV_PACKET_BYTES)},
        )
    except (av.FFmpegError, UnicodeError) as error:
        raise InputError(f"{path}: {_why_unopenable(error)}") from None


def _is_text_or_picture(format_name: str) -> bool:
    """FFmpeg calls a text file a video of a terminal, and a picture a film of one frame."""
    return format_name in ("tty", "image2") or format_name.endswith("_pipe")


def _why_unopenable(error: Exception | None = None) -> str:
    if "moov atom not found" in str(error):
        return "its index (moov) is missing: the recorder was cut off before finishing it; copy or export it again"
    return (
        "is no sound file of a known kind, or its header is damaged; copy or export it again, "
        f"and wrap headerless audio first ({_WRAP})"
    )


def has_two_mono_tracks(path: Path) -> bool:
    """Whether the file holds each speaker on a sound track of their own. raises InputError for an unusable file"""
    _check_is_readable(path)
    with _open(path) as container:
        audio = container.streams.audio
        return len(audio) == 2 and all(s.codec_context is not None and s.codec_context.channels == 1 for s in audio)


def _audio_stream(path: Path, container: Any, index: int, n_tracks: int) -> Any:
    audio = container.streams.audio
    if _is_text_or_picture(container.format.name):
        raise InputError(f"{path}: {_why_unopenable()}")
    if not audio:
        kind = "video but no sound" if container.streams.video else "no sound track"
        raise InputError(f"{path}: holds {kind}; export the sound of the call")
    if len(audio) != n_tracks:
        raise InputError(
            f"{path}: holds {len(audio)} sound tracks; one track, or under --channels two of one channel each, "
            "can be used: export it so"
        )
    if container.format.name in _HEADERLESS:
        raise InputError(
            f"{path}: is headerless audio, its rate and channels are unknown; wrap it in a header first ({_WRAP})"
        )
    stream = audio[index]
    if stream.codec_context is None:
        raise InputError(f"{path}: its codec is not supported; convert it to WAV")
    stream.codec_context.thread_count = 1  # telephone audio is too small to share, and cores are busy recognising
    return stream


def _sample_rate(path: Path, stream: Any) -> int:
    rate = int(stream.codec_context.sample_rate or 0)
    if rate not in SAMPLE_RATES:
        raise InputError(f"{path}: its header declares a sample rate of {rate} Hz; repair the header")
    return rate


def _declared_ms(path: Path, container: Any, stream: Any) -> int | None:
    """How long the header says the recording is; None where it does not, or only guesses from the file's size."""
    format_name = container.format.name.split(",")[0]
    if format_name not in _DECLARES_LENGTH and not (format_name == "mp3" and has_frame_count(path)):
        return None
    if stream.duration is not None:
        return int(stream.duration * stream.time_base * 1000)
    if container.duration is not None and not container.streams.video:
        return int(container.duration * 1000 / av.time_base)
    return None


def _origin(format_name: str, stream: Any) -> float:
    """The timestamp, in seconds, at which the recording begins."""
    first = float((stream.start_time or 0) * stream.time_base)
    if format_name in _CLOCK_STARTS_LATE or first * 1000 > STREAM_CUT_MS:
        return first
    return 0.0


def _is_sound_amr(packet: Any) -> bool:
    first = bytes(packet)[0]
    return bool(first & _AMR_QUALITY_BIT) and not first & _AMR_PADDING_BITS


_FULL_SCALE = {"u8": 1 << 7, "s16": 1 << 15, "s32": 1 << 31, "s64": 1 << 63}


def _to_float(frame: Any) -> FloatSamples:
    """float32 in [-1, 1], shape = (n_samples, n_channels), from any sample format, planar or packed."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels))
    kind = frame.format.packed.name
    if kind == "u8":
        values = values.astype(np.int16) - 128
    if kind not in _FULL_SCALE:  # floats may hold anything
        values = np.clip(np.nan_to_num(values, nan=0.0), -1.0, 1.0)
    samples: FloatSamples = values.astype(np.float32) * np.float32(1 / _FULL_SCALE.get(kind, 1))
    return samples


def _silence(n_samples: int, rate: int, n_channels: int) -> Iterator[FloatSamples]:
    for start in range(0, n_samples, rate):
        yield np.zeros((min(rate, n_samples - start), n_channels), dtype=np.float32)
