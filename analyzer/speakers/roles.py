"""Which of two voices is the agent's: told from what each says.

Agents greet with the company's name and a staff number, offer their service, thank for the call
(``analyzer.engine.agent_signs``); customers say what they want. Who is called speaks first: on an inbound call that
is the agent. Each sign adds to the evidence for one way round or takes from it; the weights are natural logarithms of
odds, set so that one clear sign, with nothing against it, is enough, and who speaks first alone is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.engine import agent_signs
from analyzer.rules import Pattern, Phrase, PhraseSet
from analyzer.rules.said import Said, Stretch
from analyzer.types import Direction, Role, Utterance

_AGENT_SIGN = 2.2
_CUSTOMER_SIGN = 0.8
_CONTEST = 3  # signs of one side that one of the other side outweighs
_FIRST_INBOUND = 0.9

_CUSTOMER_SAYS = PhraseSet(
    Phrase(Pattern(text), term=term)
    for term, text in (
        ("想", "我(就|是)?(想|要)(再)?(问|查|办|投诉|咨询|了解|反映|退|换)"),
        ("我的", "我(的|家|买的|这个)(卡|银行卡|信用卡|手机|宽带|订单|快递|套餐|账单|话费)"),
        ("你们", "你们(的|这|怎么|公司|银行|平台|商城)"),
        ("帮我", "(你|您)?(能)?(帮|给)我(查|看|办|处理|退|换)"),
        ("我姓", "我(姓|叫){任意:1-3}"),
    )
)


@dataclass(frozen=True, slots=True)
class Casting:
    """agent        the voice that is the agent's: 0 or 1
    confidence   0.5 … 1, that it is not the other one
    """

    agent: int
    confidence: float


def cast(first: Sequence[Utterance], second: Sequence[Utterance], direction: Direction) -> Casting:
    """Which voice is the agent's, from what each said, in order of time."""
    sides = (first, second)
    for_first = _AGENT_SIGN * _uncontested([len(agent_signs(said)) for said in sides])
    for_first -= _CUSTOMER_SIGN * _difference([len(_customer_signs(said)) for said in sides])
    if direction is Direction.INBOUND and all(sides):
        for_first += _FIRST_INBOUND if first[0].span < second[0].span else -_FIRST_INBOUND
    confidence = 1 / (1 + math.exp(-abs(for_first)))
    return Casting(0 if for_first >= 0 else 1, confidence)


def _uncontested(counts: Sequence[int]) -> int:
    """By how much one side leads. Signs on both sides speak against there being two: an agent alone, whose voice was
    parted, says them on both."""
    lead = abs(_difference(counts)) - _CONTEST * min(counts)
    return max(0, lead) if counts[0] > counts[1] else -max(0, lead)


def _difference(counts: Sequence[int]) -> int:
    return counts[0] - counts[1]


def _customer_signs(utterances: Sequence[Utterance]) -> set[str]:
    texts = (one for one in utterances if one.text)
    said = (Said(Role.CUSTOMER, [Stretch(one, 0, len(one.text), one.span)]) for one in texts)
    return {hit.phrase.term for one in said for hit in _CUSTOMER_SAYS.find(one)}
