"""A recording -> one 16 kHz stream per speaker, in Blocks of at most a second; memory does not grow with the call.

What was wrong is known once the blocks have been read: what could be decoded keeps its place in time, gaps are silence,
and ``truncated`` says that something of the call is not there to be judged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import soxr
from numpy.typing import NDArray

from analyzer.audio.recordings import STEREO, Recording, Track
from analyzer.audio.sources import SHORT_BY_MS, FloatSamples, SoundFile, has_two_mono_tracks
from analyzer.errors import InputError
from analyzer.labels import ROLES
from analyzer.types import Role

SAMPLE_RATE = 16_000  # Hz: what Whisper and the speech detectors take
BLOCK_SAMPLES = SAMPLE_RATE
FULL_SCALE = 1 << 15
SILENT_BELOW = 33  # peak, of 32768: -60 dBFS; an idle A-law line idles at 8
SAME_SOUND_RATIO = 1e-3  # energy of the difference over energy of the sum: two lossy copies differ by about this
UNEVEN_MS = 1_000  # two files of one call usually differ by less

log = logging.getLogger(__name__)

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Block:
    """At most a second of a call: int16 mono samples at 16 kHz per role, all of the same length.

    Blocks follow one another without a gap; all but the last hold 16000 samples.
    """

    start_ms: int
    channels: dict[Role, Samples] = field(repr=False)


def decode(recording: Recording) -> Iterator[Block]:
    """The blocks of a recording, for callers that do not ask what was damaged: see ``Decoder``."""
    return Decoder(recording).blocks()


class Decoder:
    """Decodes one recording once.

    truncated    part of the call is missing: packets that could not be decoded, gaps, an early end
    warnings     what a person should know, in Chinese and without file names: damage, silence, files of unequal length
    duration_ms  how much has been decoded

    All three are complete when ``blocks`` is exhausted.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._n_samples = 0
        self._peaks = dict.fromkeys(recording.roles, 0)
        self.truncated = False
        self.warnings: tuple[str, ...] = ()

    @property
    def duration_ms(self) -> int:
        return self._n_samples * 1000 // SAMPLE_RATE

    def blocks(self) -> Iterator[Block]:
        """raises InputError, naming file, problem and cure: at once, or where the recording proves unusable"""
        with ExitStack() as files:
            tracks = [one for track in self._recording.tracks for one in _open_channels(track, files)]
            likeness = _Likeness() if len(tracks) == len(STEREO) else None
            for seconds in zip_longest(*(track.seconds() for track in tracks)):
                block = Block(self.duration_ms, _side_by_side(tracks, seconds))
                self._measure(block)
                if likeness:
                    likeness.add(np.stack(list(block.channels.values()), axis=1))
                yield block
            if likeness and likeness.same:
                raise _same_sound(*{track.file.path: track.file for track in tracks}.values())
            self._judge(tracks)

    def _measure(self, block: Block) -> None:
        for role, samples in block.channels.items():
            self._peaks[role] = max(self._peaks[role], peak(samples))
        self._n_samples += len(next(iter(block.channels.values())))

    def _judge(self, tracks: list[_Channels]) -> None:
        self.truncated = any(track.file.damage.any for track in tracks)
        damage = [_describe_damage(track, len(tracks) > 1) for track in tracks if track.file.damage.any]
        self.warnings = (*damage, *self._uneven(tracks), *silence_warnings(self._peaks))

    def _uneven(self, tracks: list[_Channels]) -> Iterator[str]:
        lengths = [track.n_samples * 1000 // SAMPLE_RATE for track in tracks]
        if max(lengths) - min(lengths) > UNEVEN_MS:
            spoken = "，".join(
                f"{ROLES[track.roles[0]]} {length / 1000:.1f} 秒" for track, length in zip(tracks, lengths, strict=True)
            )
            yield f"双方的录音长度不一（{spoken}）；请核对是否属于同一通电话"


def _open_channels(track: Track, files: ExitStack) -> list[_Channels]:
    """A file's channels: those of its one sound track, or two mono tracks in the order of the file."""
    if len(track.roles) == 2 and has_two_mono_tracks(track.path):
        return [
            _Channels((role,), files.enter_context(SoundFile(track.path, index, n_tracks=2)))
            for index, role in enumerate(track.roles)
        ]
    return [_Channels(track.roles, files.enter_context(SoundFile(track.path)))]


class _Channels:
    """One sound track resampled to 16 kHz, a second at a time, its channels kept apart and counted."""

    def __init__(self, roles: tuple[Role, ...], file: SoundFile) -> None:
        self.file = file
        self.roles = roles
        self.n_samples = 0
        self._likeness = _Likeness()

    def seconds(self) -> Iterator[Samples]:
        """yields int16, shape = (n_samples, n_roles); 16000 samples, fewer only at the end"""
        for second in _regroup(_resample(self.file.samples(), self.file.rate)):
            self._check(second)
            self.n_samples += len(second)
            yield second[:, : len(self.roles)]
        if len(self.roles) == 2 and self._likeness.same:
            raise _same_sound(self.file)

    def _check(self, second: Samples) -> None:
        expected, found = len(self.roles), second.shape[1]
        if found == 2:
            self._likeness.add(second)
            if expected == 1 and self._likeness.different:
                raise InputError(
                    f"{self.file.path}: 2 channels that differ, where one ({self.roles[0]}) was expected; "
                    "use --channels agent,customer"
                )
        elif found != expected:
            raise InputError(f"{self.file.path}: {_wrong_count(found, self.roles)}")


def _same_sound(file: SoundFile, *other: SoundFile) -> InputError:
    if other:
        problem = f"the same sound as {other[0].path}, so the speakers cannot be told apart; name each side's own file"
    else:
        problem = "both channels carry the same sound, so the speakers cannot be told apart; use --mono mixed"
    return InputError(f"{file.path}: {problem}")


@dataclass(slots=True)
class _Likeness:
    """Whether two channels are one sound: recorders save mono as stereo, and then nobody can be told apart."""

    difference: float = 0.0
    total: float = 0.0

    def add(self, pair: Samples) -> None:
        left, right = pair[:, 0].astype(np.float64), pair[:, 1].astype(np.float64)
        self.difference += float(np.sum((left - right) ** 2)) / 2
        self.total += float(np.sum(left**2) + np.sum(right**2))

    @property
    def _audible(self) -> bool:
        return self.total > SILENT_BELOW**2 * BLOCK_SAMPLES

    @property
    def same(self) -> bool:
        return self._audible and self.difference <= self.total * SAME_SOUND_RATIO

    @property
    def different(self) -> bool:
        return self._audible and self.difference > self.total * SAME_SOUND_RATIO


class Resampler:
    """One sound to int16 at 16 kHz, a piece at a time; the same bytes however the input is cut.

    Sound that is at 16 kHz already passes as it is.
    """

    def __init__(self, rate: int, n_channels: int) -> None:
        self._n_channels = n_channels
        self._stream: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, n_channels, dtype="float32", quality="HQ")

    def feed(self, samples: FloatSamples) -> Samples:
        """samples  float32 in [-1, 1], shape = (n_samples, n_channels); returns what is ready of the same shape"""
        if self._stream is None:
            return _to_int16(samples)
        return _to_int16(self._stream.resample_chunk(np.ascontiguousarray(samples)))

    def finish(self) -> Samples:
        """No more input: what was still inside."""
        rest = np.zeros((0, self._n_channels), dtype=np.float32)
        return _to_int16(rest if self._stream is None else self._stream.resample_chunk(rest, last=True))


def _resample(pieces: Iterable[FloatSamples], rate: int) -> Iterator[Samples]:
    """int16 at 16 kHz, shape = (n_samples, n_channels)."""
    resampler: Resampler | None = None
    for piece in pieces:
        resampler = resampler or Resampler(rate, piece.shape[1])
        yield resampler.feed(piece)
    if resampler is not None:
        yield resampler.finish()


def _to_int16(samples: FloatSamples) -> Samples:
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _regroup(pieces: Iterable[Samples]) -> Iterator[Samples]:
    """The same samples in blocks of 16000, the last one shorter."""
    waiting: list[Samples] = []
    n_waiting = 0
    for piece in pieces:
        waiting.append(piece)
        n_waiting += len(piece)
        if n_waiting < BLOCK_SAMPLES:
            continue
        joined = np.concatenate(waiting)
        whole = n_waiting - n_waiting % BLOCK_SAMPLES
        for start in range(0, whole, BLOCK_SAMPLES):
            yield joined[start : start + BLOCK_SAMPLES]
        waiting, n_waiting = [joined[whole:]], n_waiting - whole
    if n_waiting:
        yield np.concatenate(waiting)


def _side_by_side(tracks: Sequence[_Channels], seconds: tuple[Samples | None, ...]) -> dict[Role, Samples]:
    """Each role's samples; a file that ended before the other is silent from there on."""
    length = max(len(second) for second in seconds if second is not None)
    channels = {}
    for track, second in zip(tracks, seconds, strict=True):
        for index, role in enumerate(track.roles):
            samples = np.zeros(length, dtype=np.int16)
            if second is not None:
                samples[: len(second)] = second[:, index]
            channels[role] = samples
    return channels


def silence_warnings(peaks: Mapping[Role, int]) -> tuple[str, ...]:
    """What to tell of channels on which nothing can be heard, from the loudest sample of each."""
    silent = [role for role, loudest in peaks.items() if loudest < SILENT_BELOW]
    if len(silent) == len(peaks):
        return ("整段录音没有声音，只有静音；请检查录音设备的接线",)
    return tuple(f"{ROLES[role]}声道没有声音，只有静音；请检查录音设备的接线" for role in silent)


def peak(samples: Samples) -> int:
    """The loudest sample, 0 to 32768."""
    return int(np.max(np.abs(samples.astype(np.int32)), initial=0))


def _wrong_count(found: int, roles: tuple[Role, ...]) -> str:
    if found == 1:
        return (
            f"1 channel where 2 were expected ({', '.join(roles)}); use --mono agent, --mono customer or --mono mixed, "
            "or give each speaker's file with --pair"
        )
    return f"{found} channels where {len(roles)} ({', '.join(roles)}) can be used; export one channel per speaker"


def _describe_damage(track: _Channels, one_of_two: bool) -> str:
    """What a listener must know, in Chinese; the bare figures go to the log."""
    damage = track.file.damage
    log.info("%s: %s", track.file.path, damage)
    faults = []
    if damage.bad_packets:
        faults.append(f"有 {damage.bad_packets} 个数据包无法解码")
    if damage.filled:
        faults.append(f"缺失 {damage.filled / track.file.rate:.2f} 秒，已用静音补齐")
    if damage.short_by_ms > SHORT_BY_MS:
        faults.append(f"声音比文件声明的长度早结束 {damage.short_by_ms / 1000:.1f} 秒")
    if damage.cut_off:
        faults.append("文件不完整，被截断")
    if damage.later_early:
        faults.append("这种格式不带时间戳，损坏处之后的时间可能偏早")
    which = f"{ROLES[track.roles[0]]}的录音" if one_of_two else "录音"
    return f"{which}已损坏：{'；'.join(faults)}；请重新复制或导出"
