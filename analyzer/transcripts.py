"""Transcripts in: our JSON (docs/metadata.md, docs/schemas/transcript.schema.json), reports, the ``call.txt`` notation,
SRT and VTT, and what faster-whisper, WhisperX, FunASR, Alibaba and Tencent write.

A file may hold several calls (JSONL). What is wrong with one of them is handed out in its place, as an InputError that
names file, place and cure; the rest go on.
"""

from __future__ import annotations

import glob
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from analyzer.errors import InputError
from analyzer.metadata import KEYS, read_metadata
from analyzer.normalize import syllables
from analyzer.rules import did_you_mean
from analyzer.types import Direction, Role, Span, Transcript, Utterance

SUFFIXES = (".json", ".jsonl", ".txt", ".srt", ".vtt")
SYLLABLE_MS = 250  # a line of the notation without an end: 240 字/分钟
LONGEST_MS = 24 * 3600 * 1000  # no call lasts a day; later times are clock times or in another unit
_LINE_GAP_MS = 500  # and without a start: half a second after the line before

_ROLES = {
    "agent": Role.AGENT, "坐席": Role.AGENT, "客服": Role.AGENT, "座席": Role.AGENT,
    "customer": Role.CUSTOMER, "客户": Role.CUSTOMER, "用户": Role.CUSTOMER,
    "system": Role.SYSTEM, "系统": Role.SYSTEM,
    "unknown": Role.UNKNOWN, "未知": Role.UNKNOWN,
}  # fmt: skip
_CHANNELS = (Role.AGENT, Role.CUSTOMER)  # by channel number, where both occur
_HEADER_KEYS = ("call_id", "direction", "duration", "truncated")
_CALL_KEYS = (
    "schema", "call_id", "direction", "duration_ms", "metadata", "turns", "activity", "truncated",
    "recording_offset_ms",
)  # fmt: skip
_REPORT_SCHEMA = "analyzer.report/"


def read_transcripts(*sources: str | Path) -> Iterator[Transcript | InputError]:
    """Every call of ``sources`` (files, folders searched for SUFFIXES, globs), in order of path.

    A call's id is its own, else the file's path relative to its source, without extension; the second call of an id is
    an error.
    """
    seen: dict[str, str] = {}
    for path, name in transcript_files(sources):
        if isinstance(path, InputError):
            yield path
            continue
        for place, call in read_file(path, name):
            if isinstance(call, InputError):
                yield call
            elif call.call_id in seen:
                yield InputError(
                    f"{place}: call_id {call.call_id!r} was used by {seen[call.call_id]} already; "
                    "give each call its own"
                )
            else:
                seen[call.call_id] = place
                yield call


def transcript_files(sources: Iterable[str | Path]) -> Iterator[tuple[Path | InputError, str]]:
    """The files of ``sources`` in order, each with the id of a call in it that brings none."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                yield InputError(f"{path}: no transcript in this folder; looked for {', '.join(SUFFIXES)}"), ""
            yield from ((file, file.relative_to(path).with_suffix("").as_posix()) for file in found)
        elif path.exists():
            yield path, path.stem
        elif matches := sorted(glob.glob(str(source), recursive=True)):
            yield from ((Path(match), Path(match).stem) for match in matches)
        else:
            yield InputError(f"{path}: no such file or folder; check the path"), ""


def read_file(path: Path, name: str) -> Iterator[tuple[str, Transcript | InputError]]:
    """Each call of a file with its place in it, for messages."""
    reader = _READERS.get(path.suffix.lower(), _json)
    try:
        text = _decode(path)
        calls: Iterable[tuple[str, Callable[[], Transcript]]] = reader(text, name)
    except InputError as error:
        yield str(path), InputError(f"{path}: {error}")
        return
    try:
        for place, read in calls:
            yield f"{path}{place}", _call_or_error(f"{path}{place}", read)
    except InputError as error:  # the file as a whole
        yield str(path), InputError(f"{path}: {error}")


def _call_or_error(where: str, read: Callable[[], Transcript]) -> Transcript | InputError:
    try:
        return read()
    except InputError as error:
        return InputError(f"{where}: {error}")


def _decode(path: Path) -> str:
    try:
        return text_of(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}); check the file and its permissions") from None


def text_of(content: bytes) -> str:
    """UTF-8, UTF-16 with a byte order mark, or GB18030. raises InputError"""
    if not content.strip():
        raise InputError("the file is empty; transcribe the call again")
    encodings = ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError("the text is neither UTF-8 nor GB18030; save it as UTF-8")


# --- JSON -------------------------------------------------------------------------------------------------------------

_Calls = Iterator[tuple[str, Callable[[], Transcript]]]


def _json(text: str, name: str) -> _Calls:
    """One call, or a list of calls."""
    fields = parse_json(text)
    if not _first_has("turns")(fields):
        yield "", lambda: read_call(fields, name)
        return
    for index, call in enumerate(fields):
        yield f"[{index}]", partial(read_call, call, f"{name}#{index + 1}")


def _jsonl(text: str, name: str) -> _Calls:
    # not splitlines(): JSON may hold U+2028
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        own_name = name if len(lines) == 1 else f"{name}#{number}"
        yield f":{number}", partial(_read_line, line, own_name)


def _read_line(line: str, name: str) -> Transcript:
    return read_call(parse_json(line), name)


def parse_json(text: str) -> Any:
    """raises InputError naming the place"""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise InputError("nested too deeply to be a transcript") from None


def _no_constant(name: str) -> float:
    raise InputError(f"{name} is no number of JSON")


def read_call(fields: Any, name: str) -> Transcript:
    """One call from parsed JSON of any known shape; ``name`` is its id unless it brings one.

    raises InputError naming the culprit inside the call
    """
    for is_shape, read in _SHAPES:
        if is_shape(fields):
            try:
                return read(fields, name)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                # other people's formats: a word without its time, a number where text was
                raise InputError(f"not the form its recogniser documents ({type(error).__name__}: {error})") from None
    known = "turns (ours), segments (faster-whisper, WhisperX), sentence_info (FunASR), Sentences or transcripts " \
            "(Alibaba), ResultDetail (Tencent)"  # fmt: skip
    raise InputError(f"no transcript in this JSON; known are {known}")


def _own(fields: Mapping[str, Any], name: str) -> Transcript:
    """Our own form, which reports repeat. A report's warnings are those of its making: reading it adds none."""
    is_report = str(fields.get("schema", "")).startswith(_REPORT_SCHEMA)
    warnings = [_unknown_key(key, _CALL_KEYS) for key in fields if key not in _CALL_KEYS]
    turns = _list(fields["turns"], "turns")
    utterances = tuple(_own_turn(turn, f"turns[{index}]") for index, turn in enumerate(turns))
    metadata, unknown = read_metadata(_mapping(fields.get("metadata") or {}, "metadata"))
    warnings += [_unknown_attribute(key) for key in unknown]
    last = max((utterance.span.end_ms for utterance in utterances), default=0)
    duration = _optional(_ms, fields.get("duration_ms"), "duration_ms")
    if duration is not None and duration < last:
        warnings.append(f"通话时长 duration_ms {duration} 早于最后一句话的结束时间 {last}，请核对")
    if is_report:
        warnings = list(fields.get("warnings") or ())
    recogniser = fields.get("recogniser") if is_report else None
    return Transcript(
        call_id=_call_id(fields.get("call_id"), name),
        utterances=utterances,
        direction=_direction(fields.get("direction")),
        duration_ms=last if duration is None else duration,
        metadata=metadata,
        activity=_activity(fields.get("activity"), "activity"),
        truncated=metadata.get("truncated") is True or _flag(fields.get("truncated"), "truncated"),
        recording_offset_ms=_optional(_ms, fields.get("recording_offset_ms"), "recording_offset_ms") or 0,
        recogniser=_mapping(recogniser, "recogniser") if recogniser is not None else None,
        warnings=tuple(dict.fromkeys(map(str, warnings))),
    )


def _own_turn(fields: Any, place: str) -> Utterance:
    fields = _mapping(fields, place)
    for key in ("role", "start_ms", "end_ms", "text"):
        if fields.get(key) is None:
            raise InputError(f"{place} has no {key!r}")
    span = _span(fields["start_ms"], fields["end_ms"], place)
    text = _text(fields["text"], f"{place}.text")
    chars = fields.get("chars")
    characters = None
    if chars is not None:
        pairs = _list(chars, f"{place}.chars")
        if len(pairs) != len(text):
            raise InputError(f"{place}.chars has {len(pairs)} times for {len(text)} characters of text")
        characters = tuple(_pair(pair, f"{place}.chars[{index}]") for index, pair in enumerate(pairs))
    return Utterance(
        role=_role(fields["role"], f"{place}.role"),
        span=span,
        text=text,
        confidence=_optional(_share, fields.get("confidence"), f"{place}.confidence"),
        characters=characters,
        interpolated=_flag(fields.get("interpolated"), f"{place}.interpolated"),
        level_db=_optional(_number, fields.get("level_db"), f"{place}.level_db"),
        role_confidence=_optional(_share, fields.get("role_confidence"), f"{place}.role_confidence"),
        estimated=_flag(fields.get("estimated"), f"{place}.estimated"),
    )


def _unknown_key(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key, known, n=1)
    return f"不认识的字段 {key!r}，未使用" + (f"；是否应为 {near[0]!r}？" if near else "")


def _unknown_header(key: str) -> str:
    is_attribute = key in KEYS
    return f"{key!r} 未使用：通话属性要写成 'metadata.{key}'" if is_attribute else _unknown_key(key, _HEADER_KEYS)


def _unknown_attribute(key: str) -> str:
    return f"通话属性 {key!r} 不在已知之列，标准规则不会使用"


def _call_id(given: Any, name: str) -> str:
    if given is None or given == "":
        return name
    if not isinstance(given, str | int) or isinstance(given, bool):
        raise InputError(f"call_id must be text, not {given!r}")
    return str(given)


def _direction(given: Any) -> Direction:
    if given is None:
        return Direction.UNKNOWN
    if given not in set(Direction):
        raise InputError(f"direction is {given!r}; it is inbound, outbound or unknown")
    return Direction(given)


def _role(given: Any, place: str) -> Role:
    role = _ROLES.get(given.strip().lower()) if isinstance(given, str) else None
    if role is None:
        raise InputError(
            f"{place} is {given!r}; it is agent, customer, system or unknown{did_you_mean(str(given), _ROLES)}"
        )
    return role


def _activity(given: Any, place: str) -> dict[Role, tuple[Span, ...]] | None:
    if given is None:
        return None
    return {
        _role(role, place): tuple(
            _pair(p, f"{place}.{role}[{i}]") for i, p in enumerate(_list(pairs, f"{place}.{role}"))
        )
        for role, pairs in _mapping(given, place).items()
    }


# --- other recognisers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What all recognisers' sentences have in common. Words are (text, start, end, confidence)."""

    text: str
    start_ms: int
    end_ms: int
    speaker: Any = None
    channel: Any = None
    confidence: float | None = None
    words: Sequence[tuple[str, int, int]] = ()


def _transcript_of(sentences: Sequence[_Sentence], name: str, call_id: Any = None) -> Transcript:
    """Sides by channel where two occur, by speaker where the label says agent or customer, else unknown."""
    channels = sorted({str(sentence.channel) for sentence in sentences if sentence.channel is not None})
    roles = dict(zip(channels, _CHANNELS, strict=False)) if len(channels) == len(_CHANNELS) else {}
    utterances = tuple(_utterance(sentence, roles) for sentence in sentences if sentence.text.strip())
    end = max((utterance.span.end_ms for utterance in utterances), default=0)
    warnings: tuple[str, ...] = ()
    if any(utterance.role is Role.UNKNOWN for utterance in utterances):
        warnings = ("没有标明谁是坐席、谁是客户，只针对一方的规则无法判定",)
    return Transcript(_call_id(call_id, name), utterances, duration_ms=end, warnings=warnings)


def _utterance(sentence: _Sentence, roles: Mapping[str, Role]) -> Utterance:
    text = sentence.text.strip()
    role = _ROLES.get(str(sentence.speaker).strip().lower()) or roles.get(str(sentence.channel), Role.UNKNOWN)
    start, end = sentence.start_ms, max(sentence.start_ms, sentence.end_ms)
    characters = _character_times(text, sentence.words)
    return Utterance(role, Span(start, end), text, sentence.confidence, characters, characters is not None)


def _character_times(text: str, words: Sequence[tuple[str, int, int]]) -> tuple[Span, ...] | None:
    """Word times spread over the words' characters; None where the words do not spell the text in order."""
    times: list[Span] = []
    position = 0
    for word, start, end in words:
        spoken = word.strip()
        found = text.find(spoken, position) if spoken else position
        if found < 0:
            return None
        reached = times[-1].end_ms if times else max(0, start)
        begin, stop = max(start, reached), max(start, end, reached)
        times += [Span(reached, reached)] * (found - position)
        times += [
            Span(begin + (stop - begin) * i // len(spoken), begin + (stop - begin) * (i + 1) // len(spoken))
            for i in range(len(spoken))
        ]
        position = found + len(spoken)
    if not times:
        return None
    return (*times, *[Span(times[-1].end_ms, times[-1].end_ms)] * (len(text) - position))


def _whisper(fields: Any, name: str) -> Transcript:
    """faster-whisper and WhisperX: seconds, words with a leading space, speakers if diarised."""
    segments = fields if isinstance(fields, list) else fields["segments"]
    return _transcript_of(
        [_whisper_segment(s, f"segments[{i}]") for i, s in enumerate(_list(segments, "segments"))], name
    )


def _whisper_segment(fields: Any, place: str) -> _Sentence:
    fields = _mapping(fields, place)
    words = [
        (_text(word.get("word", ""), f"{place}.words"), _seconds(word["start"], place), _seconds(word["end"], place))
        for word in fields.get("words") or ()
        if word.get("start") is not None and word.get("end") is not None  # WhisperX leaves digits untimed
    ]
    scores = [s for word in fields.get("words") or () if (s := word.get("probability", word.get("score"))) is not None]
    confidence = sum(scores) / len(scores) if scores else None
    if confidence is None and fields.get("avg_logprob") is not None:
        confidence = math.exp(min(0.0, _number(fields["avg_logprob"], f"{place}.avg_logprob")))
    return _Sentence(
        _text(fields.get("text", ""), f"{place}.text"),
        _seconds(_needed(fields, "start", place), f"{place}.start"),
        _seconds(_needed(fields, "end", place), f"{place}.end"),
        speaker=fields.get("speaker"),
        channel=fields.get("channel"),
        confidence=None if confidence is None else round(min(1.0, max(0.0, confidence)), 4),
        words=words,
    )


def _funasr(fields: Any, name: str) -> Transcript:
    """FunASR: milliseconds; ``sentence_info`` with speakers, or one text with a time per token."""
    result = _mapping(fields[0] if isinstance(fields, list) else fields, "result")
    if result.get("sentence_info") is None:
        return _transcript_of([_funasr_whole(result)], name, result.get("key"))
    sentences = [
        _Sentence(
            _text(s.get("text", s.get("sentence", "")), f"sentence_info[{i}].text"),
            _ms(_needed(s, "start", f"sentence_info[{i}]"), f"sentence_info[{i}].start"),
            _ms(_needed(s, "end", f"sentence_info[{i}]"), f"sentence_info[{i}].end"),
            speaker=s.get("spk"),
        )
        for i, s in enumerate(_list(result["sentence_info"], "sentence_info"))
    ]
    return _transcript_of(sentences, name, result.get("key"))


def _funasr_whole(result: Mapping[str, Any]) -> _Sentence:
    text = _text(result.get("text", ""), "text")
    times = [_pair(pair, f"timestamp[{i}]") for i, pair in enumerate(_list(result.get("timestamp") or [], "timestamp"))]
    tokens = re.findall(r"[A-Za-z0-9']+|[^\W_]", text)
    words = [(t, s.start_ms, s.end_ms) for t, s in zip(tokens, times, strict=True)] if len(tokens) == len(times) else []
    first, last = (times[0].start_ms, times[-1].end_ms) if times else (0, 0)
    return _Sentence(text, first, last, words=words)


def _alibaba(fields: Mapping[str, Any], name: str) -> Transcript:
    """Alibaba file transcription: ``Result.Sentences`` with channel and, if asked for, speaker."""
    result = fields.get("Result", fields)
    words = result.get("Words") or ()
    sentences = [
        _Sentence(
            _text(s.get("Text", ""), f"Sentences[{i}].Text"),
            _ms(_needed(s, "BeginTime", f"Sentences[{i}]"), f"Sentences[{i}].BeginTime"),
            _ms(_needed(s, "EndTime", f"Sentences[{i}]"), f"Sentences[{i}].EndTime"),
            channel=s.get("ChannelId"),
            words=[
                (w["Word"], w["BeginTime"], w["EndTime"])
                for w in words
                if w.get("ChannelId") == s.get("ChannelId") and s["BeginTime"] <= w["BeginTime"] < s["EndTime"]
            ],
        )
        for i, s in enumerate(_list(result["Sentences"], "Sentences"))
    ]
    return _transcript_of(sentences, name)


def _dashscope(fields: Mapping[str, Any], name: str) -> Transcript:
    """Alibaba Model Studio: ``transcripts`` by channel, sentences with words."""
    sentences = [
        _Sentence(
            _text(s.get("text", ""), f"transcripts[{t}].sentences[{i}].text"),
            _ms(_needed(s, "begin_time", f"sentences[{i}]"), f"sentences[{i}].begin_time"),
            _ms(_needed(s, "end_time", f"sentences[{i}]"), f"sentences[{i}].end_time"),
            channel=channel.get("channel_id"),
            words=[(w["text"], w["begin_time"], w["end_time"]) for w in s.get("words") or ()],
        )
        for t, channel in enumerate(_list(fields["transcripts"], "transcripts"))
        for i, s in enumerate(_list(channel.get("sentences") or [], f"transcripts[{t}].sentences"))
    ]
    return _transcript_of(sentences, name)


def _tencent(fields: Mapping[str, Any], name: str) -> Transcript:
    """Tencent: ``ResultDetail``; words are timed from the sentence's start; on stereo SpeakerId is the channel."""
    details = _list(_tencent_data(fields)["ResultDetail"], "ResultDetail")
    sentences = [
        _Sentence(
            _text(s.get("FinalSentence", ""), f"ResultDetail[{i}].FinalSentence"),
            start := _ms(_needed(s, "StartMs", f"ResultDetail[{i}]"), f"ResultDetail[{i}].StartMs"),
            _ms(_needed(s, "EndMs", f"ResultDetail[{i}]"), f"ResultDetail[{i}].EndMs"),
            channel=s.get("SpeakerId"),
            words=[(w["Word"], start + w["OffsetStartMs"], start + w["OffsetEndMs"]) for w in s.get("Words") or ()],
        )
        for i, s in enumerate(details)
    ]
    return _transcript_of(sentences, name)


def _tencent_data(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("Response", "Data"):
        fields = fields[key] if isinstance(fields.get(key), Mapping) else fields
    return fields


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda fields: isinstance(fields, Mapping) and any(isinstance(fields.get(key), list) for key in keys)


def _first_has(*keys: str) -> Callable[[Any], bool]:
    return lambda fields: isinstance(fields, list) and bool(fields) and isinstance(fields[0], Mapping) and all(
        key in fields[0] for key in keys
    )  # fmt: skip


def _is_alibaba(fields: Any) -> bool:
    return isinstance(fields, Mapping) and _has("Sentences")(fields.get("Result", fields))


def _is_tencent(fields: Any) -> bool:
    return isinstance(fields, Mapping) and _has("ResultDetail")(_tencent_data(fields))


_SHAPES: Sequence[tuple[Callable[[Any], bool], Callable[[Any, str], Transcript]]] = (
    (lambda fields: isinstance(fields, Mapping) and "turns" in fields, _own),
    (_has("segments"), _whisper),
    (_first_has("start", "end", "text"), _whisper),
    (_has("sentence_info"), _funasr),
    (_first_has("sentence_info"), _funasr),
    (_first_has("text", "timestamp"), _funasr),
    (_has("timestamp"), _funasr),
    (_is_alibaba, _alibaba),
    (_has("transcripts"), _dashscope),
    (_is_tencent, _tencent),
)


# --- fields -----------------------------------------------------------------------------------------------------------


def _needed(fields: Any, key: str, place: str) -> Any:
    value = _mapping(fields, place).get(key)
    if value is None:
        raise InputError(f"{place} has no {key!r}")
    return value


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{place} must be an object")
    return value


def _list(value: Any, place: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise InputError(f"{place} must be a list")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place} must be text")
    if any("\ud800" <= letter <= "\udfff" for letter in value):  # JSON allows half a pair, no text encoding does
        raise InputError(f"{place} holds half of a surrogate pair; write the text again from its source")
    return value


def _flag(value: Any, place: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{place} is {value!r}; it must be true or false")
    return bool(value)


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{place} is {value!r}; it must be a number")
    return value


def _share(value: Any, place: str) -> float:
    if not 0 <= _number(value, place) <= 1:
        raise InputError(f"{place} is {value!r}; it must lie between 0 and 1")
    return float(value)


def _ms(value: Any, place: str) -> int:
    number = _number(value, place)
    if number < 0:
        raise InputError(f"{place} is {value!r}; time counts from 0, when the call was answered")
    return _in_call(round(number), f"{place} is {value!r}")


def _in_call(ms: int, given: str) -> int:
    if ms > LONGEST_MS:
        raise InputError(
            f"{given}, more than 24 hours; time counts from 0, when the call was answered, and *_ms in milliseconds"
        )
    return ms


def _seconds(value: Any, place: str) -> int:
    return _ms(_number(value, place) * 1000, place)


def _pair(value: Any, place: str) -> Span:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"{place} must be [start_ms, end_ms]")
    return _span(value[0], value[1], place)


def _span(start: Any, end: Any, place: str) -> Span:
    first, last = _ms(start, f"{place}.start_ms"), _ms(end, f"{place}.end_ms")
    if first > last:
        raise InputError(f"{place} starts at {first} ms, after its end at {last} ms")
    return Span(first, last)


def _optional(read: Callable[[Any, str], Any], value: Any, place: str) -> Any:
    return None if value is None else read(value, place)


# --- the call.txt notation --------------------------------------------------------------------------------------------

_CLOCK = r"(?:\d+:)?\d{1,3}:[0-5]\d(?:[.,]\d{1,3})?"
_LINE = re.compile(
    rf"\s*(?:(?P<start>{_CLOCK})(?:\s*-\s*(?P<end>{_CLOCK}))?\s+)?(?P<role>[^\s\d:：(（][^\s:：(（]*)\s*"
    r"(?:[(（](?P<confidence>[\d.]+)?(?:(?(confidence)[,，]\s*)(?P<level>-[\d.]+)\s*dB)?[)）])?"
    r"\s*[:：]\s*(?P<text>.*?)\s*"
)
_HEADER = re.compile(r"#\s*(?P<key>[a-z_]+(?:\.[a-z_]+)?)\s*[:：]\s*(?P<value>.*?)\s*")
_MARK = re.compile(r"\[\[(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class MarkedCall:
    """A call in the notation of rule cases. ``marks`` are what a rule must find: (turn, char_start, char_end)."""

    transcript: Transcript
    marks: tuple[tuple[int, int, int], ...]


def read_call_text(text: str, name: str = "") -> MarkedCall:
    """A call as people write it (docs/rule-files.md, "Cases"). Raises InputError naming the line."""
    header: dict[str, str] = {}
    lines: list[tuple[int, re.Match[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if found := _HEADER.fullmatch(line):
            header[found["key"]] = found["value"]
        elif line.strip() and not line.startswith("#"):
            lines.append((number, _notation_line(line, number)))
    utterances, marks = _timed(lines)
    return MarkedCall(_with_header(utterances, header, name), marks)


def _notation_line(line: str, number: int) -> re.Match[str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise InputError(f"line {number}: expected '00:12.4 坐席: 您好', found {line.strip()[:20]!r}")
    return found


def _timed(
    lines: Sequence[tuple[int, re.Match[str]]],
) -> tuple[tuple[Utterance, ...], tuple[tuple[int, int, int], ...]]:
    utterances: list[Utterance] = []
    marks: list[tuple[int, int, int]] = []
    reached = 0
    starts = [_clock(found["start"]) if found["start"] else None for _, found in lines]
    for turn, (number, found) in enumerate(lines):
        text, ranges = _unmarked(found["text"])
        marks += [(turn, start, end) for start, end in ranges]
        given = starts[turn]
        start = reached + (_LINE_GAP_MS if turn else 0) if given is None else given
        following = next((s for s in starts[turn + 1 : turn + 2] if s is not None and s > start), None)
        end = _clock(found["end"]) if found["end"] else start + SYLLABLE_MS * sum(syllables(text))
        if not found["end"] and following is not None:
            end = min(end, following)
        place = f"line {number}"
        confidence = _share(float(found["confidence"]), place) if found["confidence"] else None
        level = float(found["level"]) if found["level"] else None
        span = _span(start, end, place)
        role, is_estimated = _role(found["role"], place), not found["end"]
        utterances.append(Utterance(role, span, text, confidence, level_db=level, estimated=is_estimated))
        reached = max(reached, end)
    return tuple(utterances), tuple(marks)


def _unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    plain, ranges, position = "", [], 0
    for found in _MARK.finditer(text):
        plain += text[position : found.start()]
        ranges.append((len(plain), len(plain) + len(found[1])))
        plain += found[1]
        position = found.end()
    return plain + text[position:], ranges


def _clock(text: str) -> int:
    *hours, minutes, seconds = text.replace(",", ".").split(":")
    whole, _, fraction = seconds.partition(".")
    total = (int(hours[0]) if hours else 0) * 3600 + int(minutes) * 60 + int(whole)
    return _in_call(total * 1000 + int(fraction.ljust(3, "0") or 0), f"the time is {text}")


def _with_header(utterances: Sequence[Utterance], header: Mapping[str, str], name: str) -> Transcript:
    metadata, unknown = read_metadata(
        {key.removeprefix("metadata."): value for key, value in header.items() if key.startswith("metadata.")}
    )
    others = [key for key in header if "." not in key and key not in _HEADER_KEYS]
    warnings = [
        *(_unknown_attribute(key) for key in unknown),
        *map(_unknown_header, others),
    ]
    end = max((utterance.span.end_ms for utterance in utterances), default=0)
    return Transcript(
        call_id=header.get("call_id") or name,
        utterances=tuple(utterances),
        direction=_direction(header.get("direction")),
        duration_ms=_clock(header["duration"]) if header.get("duration") else end,
        metadata=metadata,
        truncated=header.get("truncated") in ("true", "yes", "是") or metadata.get("truncated") is True,
        warnings=tuple(warnings),
    )


def _call_text(text: str, name: str) -> _Calls:
    yield "", lambda: read_call_text(text, name).transcript


# --- subtitles --------------------------------------------------------------------------------------------------------

_CUE = re.compile(r"(?P<start>(?:\d+:)?\d{1,3}:\d{2}[.,]\d{1,3})\s*-->\s*(?P<end>(?:\d+:)?\d{1,3}:\d{2}[.,]\d{1,3})")
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+(?P<role>[^>]+)>")
_TAG = re.compile(r"</?[a-z][^>]*>|\{\\[^}]*\}")
_SPEAKER = re.compile(
    r"\s*[\[【(（]?(?P<role>[^\s:：\[\]【】()（）]{1,12})[\]】)）]?\s*[:：]\s*(?P<text>.*)", re.DOTALL
)


def _subtitles(text: str, name: str) -> _Calls:
    yield "", lambda: _read_subtitles(text, name)


def _read_subtitles(text: str, name: str) -> Transcript:
    sentences = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        cue = _CUE.search(block)
        if cue:
            sentences.append(_subtitle(cue, block[cue.end() :].partition("\n")[2]))
    if not sentences:
        raise InputError("no cue like '00:00:01,000 --> 00:00:03,000' in this file")
    return _transcript_of(sentences, name)


def _subtitle(cue: re.Match[str], words: str) -> _Sentence:
    voice = _VOICE.search(words)
    speaker = voice["role"] if voice else None
    text = _TAG.sub("", words).replace("\n", " ").strip()
    named = _SPEAKER.fullmatch(text)
    if named and named["role"].lower() in _ROLES:
        speaker, text = named["role"], named["text"].strip()
    return _Sentence(text, _clock(cue["start"]), _clock(cue["end"]), speaker=speaker)


_READERS: Mapping[str, Callable[[str, str], _Calls]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".txt": _call_text,
    ".srt": _subtitles,
    ".vtt": _subtitles,
}


def read_case(call: str, **facts: Any) -> MarkedCall:
    """A rule's case: its call with the facts the case states (direction, metadata, duration_ms, truncated).

    raises InputError for a call out of notation, a mark without its other half, and attributes that are none
    """
    marked = read_call_text(call, "case")
    for turn in marked.transcript.utterances:
        for bracket in ("[[", "]]"):
            if bracket in turn.text:
                raise InputError(f"{bracket} without its other half in {turn.text!r}; mark words as [[words]]")
    given = {key: value for key, value in facts.items() if value is not None}
    if "metadata" in given:
        given["metadata"] = _case_metadata(given["metadata"])
    return replace(marked, transcript=replace(marked.transcript, **given))


def _case_metadata(fields: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("call_id", "direction", "duration_ms"):
        if key in fields:
            raise InputError(f"{key} is no attribute of 'metadata'; it is a key of the case itself")
    return read_metadata(fields)[0]
