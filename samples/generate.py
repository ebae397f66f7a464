"""Turn every samples/<call-id>/script.yaml into a recording and the truth about it, and list them in manifest.csv.

    python -m samples.generate [CALL_ID ...] [--to FOLDER]

The script says what is spoken and which violations are planted; espeak-ng says when each character sounds. Both are
known before any analysis, so ``truth.json`` owes nothing to the analyzer. Every call is made in a process of its own:
espeak-ng carries state from one synthesis to the next, and a fresh one always starts alike, so that running this again
gives the same truth and, but for encoder versions, the same bytes.

The script, besides its metadata:

voices       per role: espeak-ng variant, pitch, rate (wpm), extra gap between characters (10 ms at normal rate)
lines        spoken in order; each starts `gap_ms` (or its own `after_ms`) after the one before has ended, or
             `overlap_ms` before that end, `level_db` louder or softer than its speaker's usual self; a line with
             `sound` is hold music or a ring-back tone on that role's leg
opening,     element -> the words that fulfil it, in the first three (outbound: four) or last three agent turns of talk;
closing      or `not_applicable`
planted      violations, of one line or of the whole call; nothing else in the call breaks opening, closing,
             banned_phrase, polite_quota, speech_rate, interruption or loudness
crosstalk_db what one leg hears of the other
noise_db     role -> level of that leg's background, a hall full of other people's work; else faint line noise
end_ms       line noise after the last line
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray
from ruamel.yaml import YAML

from models.training.espeak import SAMPLE_RATE as ESPEAK_RATE
from models.training.espeak import Espeak, is_han

HERE = Path(__file__).parent
ROLES = ("agent", "customer")  # left, right
SAMPLE_RATE = 8_000
Samples = NDArray[np.float64]

START_MS = 800  # line noise before the first word
GAP_MS = 700  # from one line's last syllable to the next line's first
END_MS = 1_200  # line noise after the last word
SPEECH_DB = {"agent": -20.0, "customer": -22.0}  # mean level of voiced samples, relative to full scale
NOISE_DB = -55.0
SOUND_DB = -22.0
TELEPHONE_BAND_HZ = (300, 3400)

UTTERANCE_GAP_MS = 700  # same-role speech closer than this is one utterance (design §3)
RATE_TARGET, RATE_TOLERANCE = 120, 0.2  # 字/分钟 (design §5)
RATE_MIN_SYLLABLES, RATE_MIN_MS, RATE_MIN_UTTERANCE = 30, 10_000, 5
POLITE_TERMS = ("您好", "请", "谢谢", "感谢", "对不起", "抱歉", "不好意思", "再见", "麻烦您")
NOT_POLITE = ("申请", "请假", "邀请")  # 请 inside another word
POLITE_QUOTA = 3
OPENING_ELEMENTS = {
    "inbound": ("greeting", "company", "offer_help", "agent_id", "glad_to_serve"),
    "outbound": ("greeting", "self_intro", "purpose", "confirm_customer", "time_consent"),
}
CLOSING_ELEMENTS = ("thanks", "farewell", "ask_more", "blessing")

# extension -> container format, codec, bit rate of both channels together (None: lossless or fixed);
# below 32 kbit/s opus codes the channels jointly and one leg is heard on the other
ENCODINGS: dict[str, tuple[str, str, int | None]] = {
    ".wav": ("wav", "pcm_s16le", None),
    ".flac": ("flac", "flac", None),
    ".mp3": ("mp3", "libmp3lame", 24_000),
    ".m4a": ("ipod", "aac", 24_000),
    ".ogg": ("ogg", "libopus", 32_000),
    ".webm": ("webm", "libopus", 32_000),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One spoken line in call time: `chars` spans every code point of `text`, punctuation with zero length."""

    role: str
    text: str
    chars: tuple[tuple[int, int], ...]
    samples: Samples = field(repr=False)
    first_sample: int
    level_db: float = 0
    planted: Sequence[Mapping[str, Any]] = ()

    @property
    def start_ms(self) -> int:
        return self.chars[0][0]

    @property
    def end_ms(self) -> int:
        return self.chars[-1][1]


@dataclass(frozen=True, slots=True)
class Sound:
    """Music or a tone on one leg."""

    role: str
    name: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Call:
    """A script laid out in time."""

    call_id: str
    script: Mapping[str, Any]
    turns: tuple[Turn, ...]
    sounds: tuple[Sound, ...]
    duration_ms: int


def lay_out(call_id: str, script: Mapping[str, Any]) -> Call:
    """Speak every line and give it its place in the call."""
    espeak = Espeak()
    gap_ms = script.get("gap_ms", GAP_MS)
    turns: list[Turn] = []
    sounds: list[Sound] = []
    end_ms = START_MS - gap_ms
    for line in script["lines"]:
        start_ms = end_ms - line["overlap_ms"] if "overlap_ms" in line else end_ms + line.get("after_ms", gap_ms)
        if "sound" in line:
            sounds.append(Sound(line["role"], line["sound"], start_ms, start_ms + line["duration_ms"]))
            end_ms = sounds[-1].end_ms
        else:
            turns.append(_speak(espeak, line, script["voices"][line["role"]], start_ms))
            end_ms = max(end_ms, turns[-1].end_ms)
    return Call(call_id, script, tuple(turns), tuple(sounds), end_ms + script.get("end_ms", END_MS))


def _speak(espeak: Espeak, line: Mapping[str, Any], voice: Mapping[str, Any], start_ms: int) -> Turn:
    speech = espeak.say(line["text"], voice["voice"], voice["wpm"], voice["pitch"], voice.get("gap", 0))
    offset_ms = start_ms - speech.characters[0].start_ms
    timed = {spoken.index: (spoken.start_ms + offset_ms, spoken.end_ms + offset_ms) for spoken in speech.characters}
    chars: list[tuple[int, int]] = []
    for i in range(len(line["text"])):
        chars.append(timed[i] if i in timed else (chars[-1][1], chars[-1][1]))
    samples = np.asarray(soxr.resample(speech.samples / 32_768, ESPEAK_RATE, SAMPLE_RATE), np.float64)
    level_db = line.get("level_db", 0)
    first_sample = offset_ms * SAMPLE_RATE // 1000
    return Turn(line["role"], line["text"], tuple(chars), samples, first_sample, level_db, line.get("planted", ()))


# ---- sound ----------------------------------------------------------------------------------------------------------


def render(call: Call) -> NDArray[np.int16]:
    """The call as a telephone line delivers it: int16, shape (2, n_samples), agent first."""
    n_samples = call.duration_ms * SAMPLE_RATE // 1000
    draw = np.random.default_rng(zlib.crc32(call.call_id.encode()))
    legs = {role: _speech(call, role, n_samples) for role in ROLES}
    for sound in call.sounds:
        first = sound.start_ms * SAMPLE_RATE // 1000
        heard = _SOUNDS[sound.name]((sound.end_ms - sound.start_ms) * SAMPLE_RATE // 1000)
        legs[sound.role][first : first + len(heard)] += heard * _gain(SOUND_DB) / _level(heard)
    bleed = _gain(call.script["crosstalk_db"]) if "crosstalk_db" in call.script else 0.0
    heard_by = {role: legs[role] + bleed * legs[other] for role, other in zip(ROLES, reversed(ROLES), strict=True)}
    noise = {role: draw.normal(size=n_samples) for role in ROLES}
    noise_db = {role: call.script.get("noise_db", {}).get(role, NOISE_DB) for role in ROLES}
    lines = [_telephone(heard_by[role]) + _gain(noise_db[role]) * _unit(_telephone(noise[role])) for role in ROLES]
    return np.clip(np.round(np.stack(lines) * 32_767), -32_768, 32_767).astype(np.int16)


def _speech(call: Call, role: str, n_samples: int) -> Samples:
    leg = np.zeros(n_samples)
    for turn in call.turns:
        if turn.role == role:
            skip = max(0, -turn.first_sample)
            heard = turn.samples[skip : n_samples - turn.first_sample]
            leg[turn.first_sample + skip : turn.first_sample + skip + len(heard)] += heard
    if not leg.any():
        return leg
    usual = _gain(SPEECH_DB[role]) / _level(leg)
    gain = np.full(n_samples, usual)
    for turn in call.turns:
        if turn.role == role and turn.level_db:
            gain[turn.first_sample : turn.first_sample + len(turn.samples)] *= _gain(turn.level_db)
    return leg * gain


def _gain(db: float) -> float:
    return float(10 ** (db / 20))


def _level(sound: Samples) -> float:
    """Root mean square of what is not silence."""
    loud = sound[np.abs(sound) > 1e-3 * np.abs(sound).max()]
    return float(np.sqrt(np.mean(loud**2)))


def _unit(sound: Samples) -> Samples:
    return sound / np.sqrt(np.mean(sound**2))


def _telephone(sound: Samples) -> Samples:
    """The telephone band alone, without moving anything in time (a symmetric windowed-sinc filter)."""
    reach = np.arange(-128, 129)
    low, high = (2 * edge / SAMPLE_RATE for edge in TELEPHONE_BAND_HZ)
    taps = (high * np.sinc(high * reach) - low * np.sinc(low * reach)) * np.hamming(len(reach))
    return np.convolve(sound, taps, "same")


def _hold_music(n_samples: int) -> Samples:
    """Broken chords on something like a piano, two notes a second."""
    chords = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
    step = SAMPLE_RATE // 2
    t = np.arange(2 * step) / SAMPLE_RATE
    music = np.zeros(n_samples + len(t))
    for i, first in enumerate(range(0, n_samples, step)):
        pitch = 2 * chords[i // 6 % 4][(0, 1, 2, 1, 2, 1)[i % 6]]
        partials = (np.sin(2 * np.pi * pitch * k * t) * np.exp(-2.5 * k * t) / k for k in range(1, 5))
        music[first : first + len(t)] += sum(partials)
    return music[:n_samples]


def _ring_back(n_samples: int) -> Samples:
    """The Chinese ring-back tone: 450 Hz, one second on, four seconds off."""
    t = np.arange(n_samples) / SAMPLE_RATE
    return np.where(t % 5 < 1, np.sin(2 * np.pi * 450 * t), 0.0)


_SOUNDS = {"hold_music": _hold_music, "ring_back": _ring_back}


def encode(legs: NDArray[np.int16], path: Path, codec: str | None = None) -> None:
    """Write 8 kHz stereo in the container of the path's extension, free of dates and library versions."""
    container_format, usual_codec, bit_rate = ENCODINGS[path.suffix]
    with av.open(path, "w", format=container_format, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec or usual_codec, SAMPLE_RATE, layout="stereo")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        interleaved = np.ascontiguousarray(legs.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


# ---- truth ----------------------------------------------------------------------------------------------------------


def truth(call: Call) -> dict[str, Any]:
    """What is so about the call, from script and synthesiser alone; its `turns` are also a transcript to check."""
    script = call.script
    rates = {role: _rate(call, role) for role in ROLES}
    planted = list(_planted(call, rates))
    return {
        "schema": "analyzer.truth/1",
        "call_id": call.call_id,
        "title": script["title"],
        "audio": script["audio"],
        "direction": script["direction"],
        "duration_ms": call.duration_ms,
        "metadata": dict(script["metadata"]),
        "rate": rates,
        "elements": {"opening": _opening(call), "closing": _closing(call)},
        "polite_terms": _polite_terms(call),
        "expected": _expected(call, rates, {found["rule"] for found in planted}),
        "planted": planted,
        "sounds": [{"role": s.role, "name": s.name, "start_ms": s.start_ms, "end_ms": s.end_ms} for s in call.sounds],
        "turns": [
            {"role": t.role, "start_ms": t.start_ms, "end_ms": t.end_ms, "text": t.text, "chars": t.chars}
            for t in call.turns
        ],
    }


def _utterances(call: Call, role: str) -> list[tuple[int, int, int]]:
    """(syllables, start_ms, end_ms) of the role's utterances: lines less than 700 ms apart are one."""
    found: list[tuple[int, int, int]] = []
    for turn in (turn for turn in call.turns if turn.role == role):
        syllables = sum(map(is_han, turn.text))
        if found and turn.start_ms - found[-1][2] < UTTERANCE_GAP_MS:
            before = found.pop()
            found.append((before[0] + syllables, before[1], turn.end_ms))
        else:
            found.append((syllables, turn.start_ms, turn.end_ms))
    return found


def _rate(call: Call, role: str) -> dict[str, float]:
    """字/分钟 from first to last syllable of each utterance: `turn` of all, `judged` of those of five 字 and more."""
    spoken = _utterances(call, role)
    judged = [utterance for utterance in spoken if utterance[0] >= RATE_MIN_UTTERANCE]
    return {
        "turn": _per_minute(spoken),
        "judged": _per_minute(judged),
        "syllables": sum(count for count, _, _ in spoken),
        "judged_syllables": sum(count for count, _, _ in judged),
        "judged_ms": sum(end - start for _, start, end in judged),
    }


def _per_minute(utterances: Sequence[tuple[int, int, int]]) -> float:
    spoken_ms = sum(end - start for _, start, end in utterances)
    return round(60_000 * sum(count for count, _, _ in utterances) / spoken_ms, 1) if spoken_ms else 0.0


def _bands(rates: Mapping[str, Mapping[str, float]]) -> list[tuple[float, float]]:
    """The rates the agent may speak at: about 120, or about the customer's if enough of it was heard."""
    customer = rates["customer"]
    enough = customer["judged_syllables"] >= RATE_MIN_SYLLABLES and customer["judged_ms"] >= RATE_MIN_MS
    centres = [RATE_TARGET, customer["judged"]] if enough else [RATE_TARGET]
    return [(round(c * (1 - RATE_TOLERANCE), 1), round(c * (1 + RATE_TOLERANCE), 1)) for c in centres]


def _agent_talk(call: Call) -> list[list[Turn]]:
    """The agent's turns of talk: what the agent says until the customer speaks."""
    talk: list[list[Turn]] = []
    last_role = "customer"
    for turn in call.turns:
        if turn.role == "agent":
            if last_role != "agent":
                talk.append([])
            talk[-1].append(turn)
        last_role = turn.role
    return talk


def _opening(call: Call) -> dict[str, Any]:
    direction = call.script["direction"]
    window = _agent_talk(call)[: 3 if direction == "inbound" else 4]
    return _elements(OPENING_ELEMENTS[direction], call.script["opening"], window)


def _closing(call: Call) -> dict[str, Any] | None:
    if call.script["closing"] == "not_applicable":
        return None
    return _elements(CLOSING_ELEMENTS, call.script["closing"], _agent_talk(call)[-3:])


def _elements(names: Sequence[str], words: Mapping[str, str], talk: Sequence[Sequence[Turn]]) -> dict[str, Any]:
    if unknown := words.keys() - set(names):
        raise ValueError(f"unknown elements {sorted(unknown)}; known: {sorted(names)}")
    window = [turn for turns in talk for turn in turns]
    return {name: _element(words.get(name), window) for name in names}


def _element(quote: str | None, window: Sequence[Turn]) -> dict[str, Any]:
    if quote is None:
        return {"present": False, "at_ms": None, "quote": None}
    turn = next((turn for turn in window if quote in turn.text), None)
    if turn is None:
        raise ValueError(f"{quote!r} is not said where it should be")
    return {"present": True, "at_ms": turn.chars[turn.text.index(quote)][0], "quote": quote}


def _polite_terms(call: Call) -> int:
    text = "。".join(turn.text for turn in call.turns if turn.role == "agent")
    for word in NOT_POLITE:
        text = text.replace(word, "")
    return sum(map(text.count, POLITE_TERMS))


def _expected(call: Call, rates: Mapping[str, Mapping[str, float]], planted: set[str]) -> dict[str, str]:
    """Outcome of the five rules: where a planted violation can be measured, the measurement decides."""
    polite, rate = _polite_terms(call), rates["agent"]
    bands = _bands(rates)
    fits = any(low <= rate["judged"] <= high for low, high in bands)
    judgeable = rate["judged_syllables"] >= RATE_MIN_SYLLABLES and rate["judged_ms"] >= RATE_MIN_MS
    closing = "not_applicable" if _closing(call) is None else _broken("closing" in planted)
    return {
        "opening": _broken("opening" in planted),
        "closing": closing,
        "banned_phrase": _broken("banned_phrase" in planted),
        "polite_quota": _broken(polite < POLITE_QUOTA),
        "speech_rate": _broken(not fits) if judgeable else "not_applicable",
    }


def _broken(violated: bool) -> str:
    return "violation" if violated else "pass"


def _planted(call: Call, rates: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    for index, turn in enumerate(call.turns):
        for plant in turn.planted:
            yield _in_turn(plant, index, turn)
    talk = _agent_talk(call)[-3:]
    for plant in call.script.get("planted", ()):
        if plant["rule"] == "speech_rate":
            measured = {"value": rates["agent"]["judged"], "unit": "字/分钟", "bands": _bands(rates)}
            yield _finding(plant["rule"], start_ms=0, end_ms=call.duration_ms, measured=measured)
        else:
            window = {"start_ms": talk[0][0].start_ms, "end_ms": talk[-1][-1].end_ms}
            yield _finding(plant["rule"], missing=plant["missing"], **window)


def _in_turn(plant: Mapping[str, Any], index: int, turn: Turn) -> dict[str, Any]:
    phrase = plant.get("phrase")
    if phrase is None:
        return _finding(plant["rule"], turn=index, start_ms=turn.start_ms, end_ms=turn.end_ms)
    first = turn.text.index(phrase)
    last = first + len(phrase)
    times = {"start_ms": turn.chars[first][0], "end_ms": turn.chars[last - 1][1]}
    place = {"turn": index, "char_start": first, "char_end": last}
    return _finding(plant["rule"], category=plant.get("category"), phrase=phrase, **place, **times)


def _finding(rule: str, **fields: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("category", "phrase", "turn", "char_start", "char_end"))
    return {"rule": rule, **nothing, **fields}


# ---- command --------------------------------------------------------------------------------------------------------


def generate(call_id: str, folder: Path) -> str:
    """Write one call's recording and truth into `folder`; returns a line to print."""
    script = _read(HERE / call_id / "script.yaml")
    call = lay_out(call_id, script)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth.json").write_text(_one_line_per_turn(truth(call)), encoding="utf-8")
    audio = folder / script["audio"]
    encode(render(call), audio, script.get("codec"))
    (folder / "SOURCE.md").write_text("Synthetic speech (espeak-ng), made by samples/generate.py. Apache-2.0.\n")
    rate = _rate(call, "agent")["judged"], _rate(call, "customer")["judged"]
    return f"{call_id}: {call.duration_ms / 1000:.1f} s, {audio.stat().st_size:,} bytes, 字/分钟 {rate[0]} / {rate[1]}"


def manifest() -> str:
    """All calls as a CSV manifest: the recording and what a telephone system would know of it."""
    scripts = {path.parent.name: _read(path) for path in sorted(HERE.glob("*/script.yaml"))}
    columns = [
        "call_id",
        "path",
        "direction",
        *sorted({key for script in scripts.values() for key in script["metadata"]}),
    ]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for call_id, script in scripts.items():
        place = {"call_id": call_id, "path": f"{call_id}/{script['audio']}", "direction": script["direction"]}
        writer.writerow(place | script["metadata"])
    return table.getvalue()


def _read(path: Path) -> dict[str, Any]:
    script: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return script


def _one_line_per_turn(document: Mapping[str, Any]) -> str:
    """JSON with a line per field and per list item: short, and readable as a diff."""

    def compact(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    fields = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            body = "[\n" + ",\n".join("    " + compact(item) for item in value) + "\n  ]"
        else:
            body = compact(value)
        fields.append(f"  {compact(name)}: {body}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m samples.generate", description=__doc__.split("\n")[0])
    parser.add_argument("calls", nargs="*", metavar="CALL_ID", help="default: all")
    parser.add_argument("--to", type=Path, default=HERE, metavar="FOLDER", help="write FOLDER/<call-id>/ instead")
    arguments = parser.parse_args()
    known = sorted(path.parent.name for path in HERE.glob("*/script.yaml"))
    calls = arguments.calls or known
    if unknown := sorted(set(calls) - set(known)):
        parser.error(f"no script for {', '.join(unknown)}; there are: {', '.join(known)}")
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1, maxtasksperchild=1) as fresh_process:
        for line in fresh_process.starmap(generate, [(call, arguments.to / call) for call in calls], chunksize=1):
            print(line)
    (arguments.to / "manifest.csv").write_text(manifest(), encoding="utf-8")


if __name__ == "__main__":
    main()
