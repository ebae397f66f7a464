"""What is lost where both speakers share one channel: attribution against truth, verdicts against the stereo originals.

    python -m bench.mono [--calls 13] [--seed 1] [--recogniser]

Calls: the samples as they are, and their scripts spoken by other voices (espeak-ng variants on which nothing was set),
in groups: a woman and a man, two women, two men, and any two of whom one keeps cutting in. Half have the noise of a
busy hall, half went through 8-bit mu-law. Each is mixed to one channel.

* speech put down right: of the time in which truth has one speaker talk, the share attributed to that one, to the other
  one, and left unknown; of the time in which both talk, the share left unknown.
* roles: calls whose agent was found, in which the roles were left open, in which they were reversed.
* verdicts: for each rule that says pass or violation of the stereo call, whether mono says the same, is unsure (or not
  applicable), or says the contrary. Beside it the baseline: the same call with all roles unknown (``--mono unknown``).

Without --recogniser the words are truth's: of the mixed channel one utterance per stretch of speech, holding what
either side said in it, so that only the attribution is measured. With it both sides are heard by the demo model.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from analyzer.audio import decode, find_recordings
from analyzer.catalog import load_pack
from analyzer.report import judged
from analyzer.rules import Pack
from analyzer.speakers import attribute, listen
from analyzer.transcripts import read_call
from analyzer.types import Outcome, Role, Span, Transcript, Utterance
from analyzer.vad import SAMPLE_RATE, CallDetector, Segment
from samples import generate

WOMEN = ("Alicia", "Andrea", "anika", "linda", "steph", "belinda", "steph2", "steph3", "shelby")
MEN = ("Alex", "Andy", "Michael", "Mike", "Lee", "Hugo", "Jacky", "Marco", "Mario", "Denis", "Diogo", "Henrique",
       "david", "robert", "paul", "ed", "edward", "john", "max", "victor", "travis", "pablo", "pedro")  # fmt: skip
GROUPS = ("samples", "different", "women", "men", "cutting in")
SIDES = (Role.AGENT, Role.CUSTOMER)
VERDICTS = (Outcome.PASS, Outcome.VIOLATION)
APART_DB = 8  # of pitch (espeak's scale of 100) between two of the same sex
TRUTH_KEYS = ("call_id", "direction", "duration_ms", "metadata", "turns")
Samples = NDArray[np.int16]
Legs = Mapping[Role, Samples]


# ---- calls


@dataclass(frozen=True, slots=True)
class Call:
    """legs at 16 kHz; truth as ``samples.generate`` writes it."""

    group: str
    truth: Mapping[str, Any]
    legs: Legs = field(repr=False)

    @property
    def mixed(self) -> Samples:
        both = sum((leg.astype(np.int32) for leg in self.legs.values()), np.zeros(1, np.int32))
        return np.clip(both, -32_768, 32_767).astype(np.int16)


def sample_call(call_id: str) -> Call:
    """A sample as it is in its file."""
    recording = find_recordings([generate.HERE / call_id]).recordings[0]
    blocks = list(decode(recording))
    legs = {role: np.concatenate([block.channels[role] for block in blocks]) for role in SIDES}
    return Call("samples", json.loads((generate.HERE / call_id / "truth.json").read_text(encoding="utf-8")), legs)


def script_of(call_id: str) -> dict[str, Any]:
    return copy.deepcopy(generate._read(generate.HERE / call_id / "script.yaml"))


def spoken_by_others(call_id: str, group: str, seed: int) -> Call:
    """The same words by other voices. In a process of its own: espeak-ng carries state from one call to the next."""
    chance = random.Random(f"{call_id} {group} {seed}")
    script = script_of(call_id)
    sexes = {"different": chance.sample((WOMEN, MEN), 2), "women": (WOMEN, WOMEN), "men": (MEN, MEN)}
    first, second = sexes.get(group) or chance.choices((WOMEN, MEN), k=2)
    agent = chance.choice(first)
    customer = chance.choice([voice for voice in second if voice != agent])
    pitches = chance.choice(
        [(low, high) for low in range(30, 71) for high in range(30, 71) if abs(low - high) >= APART_DB]
    )
    for role, voice, pitch in zip(generate.ROLES, (agent, customer), pitches, strict=True):
        script["voices"][role] |= {"voice": voice, "pitch": pitch}
    if group == "cutting in":
        for before, line in pairwise(script["lines"]):
            if "sound" not in before | line and before["role"] != line["role"] and chance.random() < 0.5:
                line.pop("after_ms", None)
                line["overlap_ms"] = chance.randint(300, 1500)
    if chance.random() < 0.5:
        script["noise_db"] = {role: chance.randint(-50, -40) for role in generate.ROLES}
    laid_out = generate.lay_out(call_id, script)
    legs = generate.render(laid_out)
    if chance.random() < 0.5:
        legs = through_mu_law(legs)
    wide = soxr.resample(legs.T.astype(np.float32), generate.SAMPLE_RATE, SAMPLE_RATE).T
    whole = np.clip(wide, -32_768, 32_767).astype(np.int16)
    return Call(group, json.loads(json.dumps(generate.truth(laid_out))), dict(zip(SIDES, whole, strict=True)))


def through_mu_law(legs: Samples) -> Samples:
    """G.711: 255 steps, finer where it is quiet."""
    linear = legs / 32_768
    coded = np.round(np.sign(linear) * np.log1p(255 * np.abs(linear)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * 32_767, np.int16)


def calls(per_group: int, seed: int) -> Iterator[Call]:
    ids = sorted(path.parent.name for path in generate.HERE.glob("*/script.yaml"))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh_process:
        yield from fresh_process.imap(sample_call, ids[:per_group])
        for group in GROUPS[1:]:
            chosen = [(ids[number % len(ids)], group, seed + number // len(ids)) for number in range(per_group)]
            yield from fresh_process.starmap(spoken_by_others, chosen, chunksize=1)


# ---- transcripts


def segments(legs: Legs) -> list[Segment]:
    detector = CallDetector(tuple(legs))
    found: list[Segment] = []
    for start in range(0, max(map(len, legs.values())), SAMPLE_RATE):
        found += detector.feed({role: leg[start : start + SAMPLE_RATE] for role, leg in legs.items()})
    return [segment for segment in (*found, *detector.finish()) if not segment.gated]


def activity(found: Sequence[Segment]) -> dict[Role, tuple[Span, ...]]:
    roles = dict.fromkeys(segment.role for segment in found)
    return {role: tuple(span for one in found if one.role is role for span in one.speech) for role in roles}


def stereo_of(call: Call) -> Transcript:
    transcript = read_call({key: call.truth[key] for key in TRUTH_KEYS}, "call")
    return replace(transcript, activity=activity(segments(call.legs)))


def mixed_of(stereo: Transcript, found: Sequence[Segment]) -> Transcript:
    """One utterance per segment of the mixed channel: the characters of either side that lie in it, by their time."""
    every = [
        (time, character)
        for one in stereo.utterances
        for time, character in zip(one.characters or (), one.text, strict=True)
    ]
    heard: list[list[tuple[Span, str]]] = [[] for _ in found]
    for time, character in every:  # a character no segment covers goes to the nearest
        near = min(range(len(found)), key=lambda place: _apart(found[place].span, time.midpoint_ms))
        heard[near].append((time, character))
    turns = []
    for segment, characters in zip(found, heard, strict=True):
        characters.sort(key=lambda each: each[0].start_ms)
        if characters:
            times, text = tuple(time for time, _ in characters), "".join(one for _, one in characters)
            turns.append(Utterance(Role.UNKNOWN, segment.span, text, characters=times))
    return replace(stereo, utterances=tuple(turns), activity=activity(found))


def _apart(span: Span, moment_ms: int) -> int:
    return max(0, span.start_ms - moment_ms, moment_ms - span.end_ms)


def recognised(stereo: Transcript, found: Sequence[Segment]) -> Transcript:
    """What the demo model hears of these segments."""
    from analyzer.asr import WhisperRecogniser  # noqa: PLC0415
    from analyzer.models import resolve  # noqa: PLC0415

    global _DEMO  # noqa: PLW0603 - one model for all calls
    _DEMO = _DEMO or WhisperRecogniser(resolve("demo", offline=True))
    turns: list[Utterance] = []
    for role in dict.fromkeys(segment.role for segment in found):
        packer = _DEMO.packer()
        windows = [window for one in found if one.role is role for window in packer.feed(one)]
        for heard in _DEMO.recognise([*windows, *packer.finish()]):
            turns += [utterance for utterance in heard if utterance is not None]
    turns.sort(key=lambda utterance: (utterance.span, utterance.role))
    return replace(stereo, utterances=tuple(turns), activity=activity(found))


_DEMO: Any = None


# ---- measures


@dataclass(slots=True)
class Tally:
    """ms of speech by what became of it; calls by their roles; verdicts of attribution and of the baseline."""

    speech: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    baseline: Counter[str] = field(default_factory=Counter)
    contrary: Counter[str] = field(default_factory=Counter)


def speech_tally(truth: Mapping[str, Any], mono: Transcript) -> Counter[str]:
    """Per 10 ms: right, wrong, unknown where one talks; both_unknown, both_given where both do."""
    steps = truth["duration_ms"] // 10 + 1
    talking = {role: np.zeros(steps, bool) for role in SIDES}
    for turn in truth["turns"]:
        for start, end in turn["chars"]:
            talking[Role(turn["role"])][max(0, start) // 10 : end // 10] = True
    told = {role: np.zeros(steps, bool) for role in (*SIDES, Role.UNKNOWN)}
    for role, spans in (mono.activity or {}).items():
        for span in spans:
            told[role][span.start_ms // 10 : span.end_ms // 10] = True
    agent, customer = (talking[role] for role in SIDES)
    alone, both = agent ^ customer, agent & customer
    given = told[Role.AGENT] | told[Role.CUSTOMER]
    right = alone & ((agent & told[Role.AGENT]) | (customer & told[Role.CUSTOMER]))
    counts = {
        "right": right,
        "wrong": alone & given & ~right,
        "unknown": alone & told[Role.UNKNOWN] & ~given,
        "both_given": both & given,
        "both_unknown": both & told[Role.UNKNOWN] & ~given,
    }
    return Counter({name: 10 * int(where.sum()) for name, where in counts.items()})


def outcomes(transcript: Transcript, pack: Pack) -> dict[str, Outcome]:
    return {rule: judgement.truth.outcome for rule, judgement in judged(transcript, pack).judgements.items()}


def verdict_tally(stereo: Mapping[str, Outcome], mono: Mapping[str, Outcome]) -> tuple[Counter[str], list[str]]:
    """agree, unsure or contrary for each rule that decides the stereo call; and which are contrary. A rule that does
    not apply to the stereo call and that mono calls broken is contrary too."""
    tally: Counter[str] = Counter()
    contrary = []
    for rule, outcome in stereo.items():
        other = mono[rule]
        if outcome in VERDICTS:
            kind = "agree" if other is outcome else "contrary" if other in VERDICTS else "unsure"
        elif outcome is Outcome.NOT_APPLICABLE and other is Outcome.VIOLATION:
            kind = "contrary"
        else:
            continue
        tally[kind] += 1
        contrary += [f"{rule} {outcome}→{other}"] if kind == "contrary" else []
    return tally, contrary


def measure(call: Call, pack: Pack, tally: Tally, *, with_recogniser: bool) -> None:
    found = segments({Role.UNKNOWN: call.mixed})
    stereo, truth_of_mixed = stereo_of(call), None
    if with_recogniser:
        stereo = recognised(stereo, segments(call.legs))
        truth_of_mixed = recognised(stereo, found)
    mixed = truth_of_mixed or mixed_of(stereo, found)
    mono = attribute(mixed, [listen(segment) for segment in found])
    speech = speech_tally(call.truth, mono)
    tally.speech += speech
    given = speech["right"] + speech["wrong"]
    tally.roles["open" if not given else "right" if speech["right"] > speech["wrong"] else "reversed"] += 1
    wanted = outcomes(stereo, pack)
    verdicts, contrary = verdict_tally(wanted, outcomes(mono, pack))
    tally.verdicts += verdicts
    tally.contrary.update(contrary)
    tally.baseline += verdict_tally(wanted, outcomes(mixed, pack))[0]


# ---- table


def table(tallies: Mapping[str, Tally]) -> Table:
    columns = ("", "calls", "right", "wrong", "unknown", "overlap unknown", "roles right/open/reversed",
               "verdicts agree", "unsure", "contrary", "baseline agree", "unsure", "contrary")  # fmt: skip
    shown = Table(*columns)
    for group, tally in tallies.items():
        alone = [tally.speech[name] for name in ("right", "wrong", "unknown")]
        both = [tally.speech[name] for name in ("both_unknown", "both_given")]
        kinds = ("agree", "unsure", "contrary")
        shown.add_row(
            group,
            str(tally.roles.total()),
            *(percent(part, sum(alone)) for part in alone),
            percent(both[0], sum(both)),
            "/".join(str(tally.roles[name]) for name in ("right", "open", "reversed")),
            *(percent(tally.verdicts[kind], tally.verdicts.total()) for kind in kinds),
            *(percent(tally.baseline[kind], tally.baseline.total()) for kind in kinds),
        )
    return shown


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mono", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=13, help="per group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recogniser", action="store_true", help="words as the demo model hears them")
    arguments = parser.parse_args()
    pack = load_pack("standard", "standard")
    tallies = {group: Tally() for group in GROUPS}
    for call in calls(arguments.calls, arguments.seed):
        measure(call, pack, tallies[call.group], with_recogniser=arguments.recogniser)
    console = Console(width=200)
    console.print(table(tallies))
    for group, tally in tallies.items():
        for what, count in tally.contrary.most_common():
            console.print(f"contrary, {group}: {what} ({count})")


if __name__ == "__main__":
    main()
