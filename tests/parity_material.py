"""Calls and a pack for the parity tests: a rule or more of every kind of check, and talk that keeps and breaks it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from analyzer.rules import Pack, Pattern, Phrase, PhraseSet, Profile, WordList, Words, parse_rule
from analyzer.rules.patterns import parse
from analyzer.rules.said import character_times
from analyzer.rules.spans import VOICE_GAP_MS, joined
from analyzer.types import Direction, Role, Span, Transcript, Utterance

AGENT, CUSTOMER, SYSTEM, UNKNOWN = Role.AGENT, Role.CUSTOMER, Role.SYSTEM, Role.UNKNOWN

# --- the pack ---------------------------------------------------------------------------------------------------------

_SLOTS = {"姓氏": parse("[王李张]", {})}
_LISTS: Mapping[str, Sequence[str]] = {
    "ask": ["请[您你]?稍等"],
    "order": ["^等一下$"],
    "lookup": ["帮您查"],
    "question": ["好吗"],
    "assent": ["^好的?$", "^可以$"],
    "back": ["久等"],
    "patience": ["还在查"],
    "callback": ["回电"],
    "asks": ["多少$$", "请报"],
    "busy": ["我找一下"],
    "music": ["音乐"],
    "over": ["再见"],
    "there": ["^喂$"],
    "prompts": ["有什么可以帮您", "听得到吗"],
    "no_sound": ["听不到您的声音"],
    "call_again": ["再打"],
    "used": ["{姓氏}(先生|女士)"],
    "called": ["^{姓氏}(先生|女士)"],
    "given": ["我姓{姓氏}"],
    "requests": ["贵姓"],
    "declined": ["不方便说"],
}
_HOLD = {
    "kind": "hold",
    "ask_in": ["ask"],
    "order_in": ["order"],
    "lookup_in": ["lookup"],
    "reason_in": ["lookup"],
    "question_in": ["question"],
    "assent_in": ["assent"],
    "back_in": ["back"],
    "patience_in": ["patience"],
    "callback_in": ["callback"],
    "asked_in": ["asks"],
    "busy_in": ["busy"],
    "music_in": ["music"],
    "nudges": [{"after_ms": 5000, "say": "回来先致歉"}],
}
_ADDRESS = {"kind": "address", "used_in": ["used"], "called_in": ["called"], "given_in": ["given"]}
_SORRY = {"sorry": {"title": "致歉", "any_of": ["抱歉", "对不起"]}}
_COMPLAINT = {"speaker": "customer", "any_of": ["投诉", "太慢了"]}
_SILENCE = {
    "kind": "silence",
    "announced_in": ["ask", "lookup"],
    "asked_in": ["asks"],
    "busy_in": ["busy"],
    "over_in": ["over"],
    "anyone_there_in": ["there"],
    "longer_than_ms": 8000,
    "nudge_ms": 4000,
}

RULES: Mapping[str, Mapping[str, Any]] = {
    "banned": {
        "kind": "forbid",
        "any_of": ["不归我管", "不清楚", "没办法", "别烦我"],
        "allow": ["不归我管也帮您"],
        "exemptions": {
            "step": {"every": True, "utterance": ["帮您核实"], "next_within_ms": 5000},
            "quoted": {"every": True, "before": ["您说"], "after": ["是吗"], "need": "all"},
        },
    },
    "banned_late": {"kind": "forbid", "any_of": ["随便你", "不清楚"], "window": {"last_turns": 2}, "unit": "次"},
    "banned_at_end": {"kind": "forbid", "any_of": ["随便你", "没办法"], "window": {"last_ms": 20_000}},
    "banned_early": {"kind": "forbid", "any_of": ["等一下", "不清楚"], "window": {"first_ms": 20_000}},
    "banned_unless_asked": {
        "kind": "forbid",
        "any_of": ["没办法", "随便你"],
        "not_applicable_when": [{"said": {"speaker": "customer", "any_of": ["投诉"]}}],
    },
    "banned_outbound": {"kind": "forbid", "any_of": ["没办法"], "directions": ["outbound"]},
    "banned_on_trial": {"kind": "forbid", "any_of": ["随便你"], "status": "trial"},
    "banned_after_complaint": {"kind": "forbid", "any_of": ["没办法", "等一下"], "anchor": {"said": _COMPLAINT}},
    "opening": {
        "kind": "require",
        "window": {"first_turns": 2},
        "elements": {
            "greeting": {"title": "问候", "core": True, "any_of": ["您好"]},
            "company": {"title": "单位", "metadata": "company"},
            "offer": {"title": "询问", "any_in": ["prompts"]},
        },
        "levels": {"pass": {"core": "all", "supporting": 2}, "partial": {"core": "all"}},
        "capped_by": ["banned"],
        "nudge_ms": 8000,
    },
    "closing": {
        "kind": "require",
        "window": {"last_turns": 2},
        "order": True,
        "elements": {"thanks": {"title": "致谢", "any_of": ["感谢"]}, "bye": {"title": "道别", "any_of": ["再见"]}},
    },
    "sorry_anchored": {"kind": "require", "elements": _SORRY, "anchor": {"said": _COMPLAINT, "within_turns": 1}},
    "sorry_after_banned": {"kind": "require", "elements": _SORRY, "anchor": {"rule": "banned", "within_ms": 12_000}},
    "quiet_after_banned": {**_SILENCE, "anchor": {"said": {"any_of": ["不清楚", "没办法"]}}},
    "please": {"kind": "quota", "any_of": ["请"], "min": 1},
    "thanks_per_minute": {"kind": "quota", "any_of": ["谢谢", "感谢"], "per": "minute", "max": 4},
    "you_per_utterance": {"kind": "quota", "any_of": ["您"], "per": "utterance", "min": 0.2, "max": 2},
    "pace": {
        "kind": "rate",
        "target": 200,
        "customer_tolerance": 0.2,
        "min_syllables": 12,
        "min_speech_ms": 2000,
    },
    "voiced_pace": {
        "kind": "rate",
        "denominator": "articulation",
        "low": 150,
        "high": 320,
        "min_syllables": 12,
        "min_speech_ms": 2000,
    },
    "polite_you": {"kind": "ratio", "any_of": ["您"], "to": {"any_of": ["您", "你"]}, "min": 0.7, "at_least": 2},
    "same_again": {"kind": "repeat", "max": 1, "min_characters": 4},
    "pet_phrase": {"kind": "repeat", "any_of": ["那个", "就是说"], "max_share": 0.3, "min_utterances": 2},
    "amount_told": {"kind": "entity", "entity": "amount", "about": {"any_of": ["费用", "多少"]}, "within_turns": 1},
    "number_echoed": {"kind": "echo", "entity": "number", "within_turns": 1},
    "surname_used": {**_ADDRESS, "requests_in": ["requests"], "declined_in": ["declined"], "min": 1, "min_turns": 2},
    "surname_right": {**_ADDRESS, "requests_in": ["requests"], "demands": "accuracy"},
    "summed_up": {"kind": "turn", "of": "customer", "min_characters": 12, "within_turns": 1, "any_of": ["您的意思"]},
    "hung_up": {
        "kind": "metadata",
        "attributes": {"hung_up_by": {"none_of": ["agent"]}, "quiet_end_ms": {"at_most": 5000}},
        "at_end": True,
    },
    "complaint_answered": {"kind": "respond", "cue": _COMPLAINT, "elements": _SORRY, "nudge_ms": 2000},
    "complaint_soothed": {
        "kind": "respond",
        "cue": _COMPLAINT,
        "where": "around",
        "within_ms": 9000,
        "elements": _SORRY,
        "ahead_of": ["帮您核实"],
    },
    "promise": {"kind": "script", "sentences": ["我马上帮您核实一下并给您回电"], "similarity": 70, "unsure_from": 60},
    "nobody_there": {
        "kind": "silent_call",
        "prompts_in": ["prompts"],
        "no_sound_in": ["no_sound"],
        "call_again_in": ["call_again"],
    },
    "quiet": _SILENCE,
    "hold_asked": {**_HOLD, "aspect": "consent"},
    "hold_back": {**_HOLD, "aspect": "return", "limit_ms": 5000},
    "hold_long": {**_HOLD, "aspect": "duration", "limit_ms": 15_000},
    "hold_callback": {**_HOLD, "aspect": "callback", "limit_ms": 10_000},
    "cut_in": {"kind": "overlap"},
    "cut_in_again": {"kind": "overlap", "at_most": 1},
    "loud": {"kind": "loudness", "high_db": 6, "usual_from_s": 2},
    "louder_on_request": {
        "kind": "loudness",
        "low_db": 2,
        "usual_from_s": 2,
        "utterances": 1,
        "cue": {"speaker": "customer", "any_of": ["大声点"], "window": {"last_turns": 3}},
    },
    "share": {"kind": "talk_ratio", "low": 0.3, "high": 0.7, "least_ms": 3000},
    "length": {"kind": "duration", "high": 40},
    "answer_time": {"kind": "response_time", "high": 3, "excused_in": ["ask"]},
    "long_speech": {"kind": "monologue", "high": 9},
    "all_well": {
        "kind": "all",
        "members": [
            {"kind": "forbid", "any_of": ["没办法", "等一下"]},
            {"kind": "forbid", "any_of": ["没办法了", "别烦我"]},
            {**_SILENCE, "longer_than_ms": 9000},
            _SILENCE,
        ],
    },
    "any_farewell": {
        "kind": "any",
        "members": [
            {"kind": "require", "elements": {"bye": {"title": "道别", "any_of": ["再见"]}}},
            {"kind": "script", "sentences": ["祝您生活愉快"], "window": {"last_turns": 1}},
        ],
    },
    "no_promise": {"kind": "not", "members": [{"kind": "script", "sentences": ["我马上帮您核实一下并给您回电"]}]},
}


@cache
def pack() -> Pack:
    lists = {
        name: WordList(name, name, "", "", tuple(Phrase(Pattern(text, _SLOTS), term=text) for text in texts))
        for name, texts in _LISTS.items()
    }
    words = Words(lists, _SLOTS)
    common = {"title": "规则", "severity": "major", "status": "stable", "message": "{value}{missing}{quote}{count}"}
    rules = tuple(parse_rule({**common, **fields, "id": name}, words) for name, fields in RULES.items())
    back_channel = PhraseSet([Phrase(Pattern("嗯")), Phrase(Pattern("好的"))])
    return Pack("parity", "1", "sha256:0", rules, Profile("standard"), back_channel)


# --- the calls --------------------------------------------------------------------------------------------------------

Line = tuple[Role, int, str]  # who, ms after the end of the line before (negative: while it is said), what

_SCENES: Sequence[Sequence[Line]] = (
    ((AGENT, 500, "您好，云岭银行，请问有什么可以帮您？"), (CUSTOMER, 900, "我想查一下余额")),
    ((AGENT, 500, "喂，那个你说"), (CUSTOMER, 600, "你们太慢了，我要投诉"), (AGENT, 700, "没办法")),
    ((CUSTOMER, 800, "我要投诉"), (AGENT, 800, "非常抱歉，我马上帮您核实一下，再给您回电")),
    ((AGENT, 900, "这个不清楚"), (AGENT, 2000, "我帮您核实一下"), (CUSTOMER, 400, "嗯")),
    ((AGENT, 900, "这个不清楚"), (CUSTOMER, 9500, "喂"), (AGENT, 2500, "对不起，不归我管也帮您")),
    ((AGENT, 600, "不归"), (AGENT, 800, "我管，随便你"), (CUSTOMER, 700, "您说不归我管是吗")),
    ((AGENT, 600, "您说不归我管是吗，别烦我"), (CUSTOMER, 600, "好的")),
    ((AGENT, 900, "我帮您查一下，请您稍等好吗"), (CUSTOMER, 800, "好的"), (AGENT, 9000, "让您久等了，已经查到")),
    ((AGENT, 900, "等一下"), (CUSTOMER, 4000, "快点"), (AGENT, 14_000, "还在查"), (AGENT, 9000, "查到了，余额很多")),
    ((AGENT, 900, "请稍等"), (SYSTEM, 1500, "（音乐）"), (AGENT, 12_000, "久等了，稍后给您回电")),
    (
        (CUSTOMER, 900, "费用是多少"),
        (AGENT, 3500, "一共二十元"),
        (CUSTOMER, 9800, "喂"),
        (AGENT, 900, "那个那个就是说"),
    ),
    ((CUSTOMER, 900, "费用到底是多少你们总要和我说清楚"), (AGENT, 3500, "那个我不知道"), (CUSTOMER, 500, "唉")),
    (
        (CUSTOMER, 900, "我的号码是13800138000你记一下，还有一件事情要和你们说"),
        (AGENT, -2500, "您听我说，不要急"),
        (CUSTOMER, 300, "我说完了没有，你们总是这样打断我"),
        (AGENT, -1600, "我不是这个意思，你让我把话说完，你听我说完再讲好不好，我慢慢地和你说"),
    ),
    ((CUSTOMER, 700, "号码是幺三八零零"), (AGENT, 700, "您的意思是13800，对吗"), (CUSTOMER, 300, "大声点")),
    ((CUSTOMER, 700, "上个月扣了我两次钱我找过你们两回"), (AGENT, 700, "您的意思是扣了两次"), (CUSTOMER, 300, "嗯")),
    (
        (AGENT, 700, "请问您贵姓"),
        (CUSTOMER, 700, "我姓王"),
        (AGENT, 700, "王先生，请您稍等"),
        (CUSTOMER, 700, "可以"),
        (AGENT, 5200, "李女士，您好"),
    ),
    ((CUSTOMER, 700, "我姓张"), (AGENT, 700, "你好"), (CUSTOMER, 700, "快一点"), (AGENT, 5200, "你说吧")),
    (
        (AGENT, 500, "您好，有什么可以帮您"),
        (AGENT, 4000, "听得到吗"),
        (AGENT, 3000, "听不到您的声音，请您再打过来，再见"),
    ),
    ((AGENT, 500, "您好，有什么可以帮您"), (AGENT, 1000, "听得到吗")),
    ((AGENT, 700, "感谢您的来电，祝您生活愉快"), (CUSTOMER, -600, "嗯嗯"), (AGENT, 800, "再见")),
    ((AGENT, 700, "谢谢，谢谢您，请问还有别的吗"), (CUSTOMER, -1800, "没有了没有了没有了"), (AGENT, -1200, "那好再见")),
    ((CUSTOMER, 700, "我找一下"), (AGENT, 11_000, "我马上帮您核实一下并给您回电"), (CUSTOMER, 10, "可以")),
)
_MARKS = frozenset("，。？（）")


def timed(role: Role, start_ms: int, text: str, character_ms: int, pause: tuple[int, int] = (0, 0)) -> Utterance:
    """An utterance with a time for every character, none for its marks, and a pause before one of its characters."""
    where, pause_ms = pause
    lengths = [0 if character in _MARKS and index else character_ms for index, character in enumerate(text)]
    ends = list(accumulate(lengths, initial=start_ms))
    shift = [pause_ms if 0 < where <= index else 0 for index in range(len(text))]
    times = tuple(Span(a + more, b + more) for a, b, more in zip(ends, ends[1:], shift, strict=False))
    return Utterance(role, Span(times[0].start_ms, times[-1].end_ms), text, None, times)


@st.composite
def calls(draw: st.DrawFn) -> Transcript:
    """Scenes in any order, said quickly or slowly, with words pulled apart, roles mixed up, and confidence lost; with
    or without character times, levels, and what VAD saw."""
    scenes = draw(st.lists(st.sampled_from(_SCENES), min_size=1, max_size=3))
    chance = random.Random(draw(st.integers(0, 2**32)))
    disturbance = draw(st.sampled_from([0.0, 0.0, 0.1, 0.3]))
    has_levels = draw(st.booleans())
    utterances: list[Utterance] = []
    free_from = dict.fromkeys(Role, 0)
    clock = 0
    for role, gap, text in (line for scene in scenes for line in scene):
        start = max(0, clock + gap + chance.choice([0, 0, 0, -300, 699, 1700]))
        if chance.random() > disturbance:
            start = max(start, free_from[role])  # else it may run into what the same side is saying
        pause = (chance.randrange(len(text)), chance.choice([0, 0, 0, 350, 690, 700, 1600]))
        utterance = timed(role, start, text, chance.choice([120, 200, 200, 330]), pause)
        is_odd = chance.random() < disturbance
        utterances.append(
            replace(
                utterance,
                role=UNKNOWN if is_odd and chance.random() < 0.3 else role,
                confidence=chance.choice([0.7, 0.5, 0.3]) if is_odd else chance.choice([None, 0.95]),
                characters=utterance.characters if chance.random() < 0.8 else None,
                level_db=chance.choice([-32.0, -24.0, -24.0, -12.0]) if has_levels else None,
            )
        )
        clock = utterance.span.end_ms
        free_from[role] = max(free_from[role], clock)
    last = max(utterance.span.end_ms for utterance in utterances)
    return Transcript(
        "call",
        tuple(utterances),
        draw(st.sampled_from([Direction.INBOUND, Direction.INBOUND, Direction.OUTBOUND, Direction.UNKNOWN])),
        max(1, last + draw(st.sampled_from([0, 300, 6000, 20_000, -4000]))),
        draw(st.sampled_from([{}, {"company": "云岭银行", "hung_up_by": "agent"}, {"customer_surname": "王"}])),
        draw(st.sampled_from([None, None, seen_by_vad(utterances, 0), seen_by_vad(utterances, 90, noise=True)])),
        truncated=chance.random() < disturbance / 2,
    )


def seen_by_vad(utterances: Sequence[Utterance], off_ms: int, noise: bool = False) -> dict[Role, tuple[Span, ...]]:
    """Voiced spans of both sides, cut at other places than the words by ``off_ms``; ``noise``: a voice without words
    now and then."""
    seen: dict[Role, tuple[Span, ...]] = {}
    for role in (AGENT, CUSTOMER):
        words = joined((t for u in utterances if u.role is role for t in character_times(u)), VOICE_GAP_MS)
        voiced = [Span(max(0, s.start_ms + off_ms), max(s.end_ms - off_ms, s.start_ms + off_ms)) for s in words]
        if noise:
            voiced += [Span(s.end_ms + 4000, s.end_ms + 4800) for s in words[1::3]]
        seen[role] = tuple(sorted(voiced))
    return seen
