"""``silent_call``: nobody answers. The agent greets, waits, asks again, waits, says the no-sound script, then hangs up.

The norm is owed only where the customer never says a word and the agent noticed it: asked again, spoke of the missing
sound, or went on waiting in silence. What the wait between two steps is measured from: the end of one utterance to the
start of the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from pydantic import Field

from analyzer.rules.call import Call, is_mostly_faint
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Element, Finding, Item, ItemState, Judgement, Occasion, Owed, Wording
from analyzer.rules.phrases import Hit, PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Texts
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span

GREET, REPEAT, SCRIPT, WAIT = "greet", "repeat", "script", "wait"
_TITLES = {GREET: "问候", REPEAT: "再次询问", SCRIPT: "无声话术", WAIT: "停顿"}
_NUDGES = {REPEAT: "客户没有声音，请再问候一次", SCRIPT: "客户仍没有声音，请说无声话术后挂机"}


@dataclass(frozen=True, slots=True)
class SilentCall(Check):
    """``prompts``: greetings, offers, 听得到吗; ``no_sound`` and ``call_again``: the two parts of the script.

    wait_ms         shortest wait between two steps
    final_wait_ms   shortest wait after the script; None: not checked
    prompt_count    how often the customer is spoken to before the script (the greeting included)
    noticed_ms      silence at the end of the call from which nobody can have overlooked that no answer comes
    nudge_ms        silence after which the agent is reminded of the next step
    """

    prompts: PhraseSet
    no_sound: PhraseSet
    call_again: PhraseSet
    wording: Wording
    wait_ms: int
    final_wait_ms: int | None
    prompt_count: int
    noticed_ms: int
    min_confidence: float = 0.5
    suggestions: Mapping[str, str] | None = None
    nudge_ms: int = 0

    @property
    def reminds(self) -> bool:
        return True

    def watch(self, call: Call) -> Watch:
        return _SilentCallWatch(self, call)


class _SilentCallWatch(Watch):
    def __init__(self, check: SilentCall, call: Call) -> None:
        self.check, self.call = check, call
        self.own: list[Said] = []
        self.is_answered = False
        self.is_doubtful = False

    def hear(self, said: Said) -> None:
        if said.role is Role.AGENT:
            self.own.append(said)
        elif said.role is Role.UNKNOWN:
            self.is_doubtful = True
        elif said.role is Role.CUSTOMER and said.text:
            self.is_answered = True

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        """The next step, once the wait is over and nobody has answered."""
        if not self._is_silent() or any(said.role is not Role.SYSTEM for said in unsettled) or self._script():
            return ()
        step = REPEAT if len(self._prompts(None)) < self.check.prompt_count else SCRIPT
        suggestion = (self.check.suggestions or {}).get(step)
        at_ms = self.own[-1].span.end_ms + self.check.nudge_ms
        return (Owed(self.check.wording.rule, step, _NUDGES[step], at_ms, Occasion.QUIET, suggestion),)

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """The steps, once it has been quiet for long enough that they are owed."""
        if not self._is_silent():
            return ()
        waits = [before.span.gap_to(after.span) for before, after in pairwise(self.own)]
        is_due = ms - self.own[-1].span.end_ms >= self.check.nudge_ms
        if not is_due and max(waits, default=0) < self.check.nudge_ms:
            return ()
        script = self._script()
        is_repeated = len(self._prompts(script or None)) >= self.check.prompt_count
        open_state = ItemState.PENDING
        if self.call.end_ms:
            open_state = ItemState.MISSED if self._failing() is Truth.VIOLATED else ItemState.CLEARED
        said = {REPEAT: is_repeated, SCRIPT: bool(script)}
        return [
            Item(self.check.wording.rule, step, _TITLES[step], ItemState.DONE if is_said else open_state)
            for step, is_said in said.items()
        ]

    def _is_silent(self) -> bool:
        """The agent has spoken, and nothing was heard of the customer, not even a voice."""
        return bool(self.own) and not self.is_answered and not self.call.activity.get(Role.CUSTOMER)

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        if self.is_answered or not self.own or not self._was_noticed():
            return Judgement(Truth.NOT_APPLICABLE)
        script = self._script()
        prompts = self._prompts(script)
        said = {GREET: prompts[:1], REPEAT: prompts[1:], SCRIPT: script[:1]}
        elements = {name: _element(hits) for name, hits in said.items()}
        missing = [name for name, hits in said.items() if not hits]
        if REPEAT not in missing and len(prompts) < self.check.prompt_count:
            missing.insert(1, REPEAT)
        short = self._shortest_wait(script)
        measured = {"value": short, "unit": "毫秒", "low": self.check.wait_ms, "high": None}
        if short is not None and short < self.check.wait_ms and not missing:
            missing = [WAIT]
        if not missing:
            evidence = tuple(self.check.wording.of_hit(hits[0]) for hits in said.values())
            return Judgement(Truth.MET, elements=elements, measured=measured, evidence=evidence)
        truth = self._failing()
        findings = tuple(map(self._absence, missing)) if truth is not Truth.NOT_APPLICABLE else ()
        return Judgement(truth, findings, elements=elements, measured=measured)

    # --- what was said ---

    def _prompts(self, script: Sequence[Hit] | None) -> list[Hit]:
        """Times the customer was spoken to before the script: at most one an utterance, and one in front of the
        script's own words."""
        prompts = []
        for said in self.own:
            hits = [hit for hit in self.check.prompts.find(said) if hit.confidence >= self.check.min_confidence]
            if script and (said is script[0].said):
                hits = [hit for hit in hits if hit.end <= script[0].start]
            elif script and said.span.start_ms > script[0].said.span.start_ms:
                hits = []
            prompts += hits[:1]
        return prompts

    def _script(self) -> list[Hit]:
        """No sound, and a way to call again, in one turn of talk."""
        for said in reversed(self.own):
            no_sound = self.check.no_sound.find(said)
            later = [one for one in self.own if one.span.start_ms >= said.span.start_ms]
            if no_sound and any(self.check.call_again.any(one) for one in later):
                return no_sound
        return []

    def _was_noticed(self) -> bool:
        """The agent asked again, spoke of the missing sound, hung up on it, or the line stayed silent for long."""
        asked_again = any(self.check.prompts.any(s) or self.check.no_sound.any(s) for s in self.own[1:])
        return asked_again or self.check.no_sound.any(self.own[0]) or (len(self.own) == 1 and self._gave_up())

    def _gave_up(self) -> bool:
        """After the greeting and a wait the agent hung up, or the line stayed silent for long."""
        is_hung_up = self.call.metadata.get("hung_up_by") == "agent"
        quiet_ms = self.call.end_ms - self.own[0].span.end_ms
        return self.check.prompts.any(self.own[0]) and quiet_ms >= (
            self.check.wait_ms if is_hung_up else self.check.noticed_ms
        )

    def _shortest_wait(self, script: Sequence[Hit]) -> int | None:
        """The shortest of the waits before the next prompt or the script; the final one counts where it is checked."""
        steps = [s for s in self.own if self.check.prompts.any(s) or self.check.no_sound.any(s)]
        waits = [before.span.gap_to(after.span) for before, after in pairwise(steps)]
        final = self.check.final_wait_ms
        if script and final is not None:
            rest = self.call.end_ms - self.own[-1].span.end_ms
            waits += [self.check.wait_ms if rest >= final else min(rest, self.check.wait_ms - 1)]
        return min(waits, default=None)

    # --- verdict ---

    def _failing(self) -> Truth:
        metadata = self.call.metadata
        if metadata.get("ended_by") in ("dropped", "customer") or metadata.get("hung_up_by") in ("customer", "system"):
            return Truth.NOT_APPLICABLE  # the caller was gone before the rest was due
        faint = is_mostly_faint(self.own, self.check.min_confidence)
        return Truth.UNSURE if self.is_doubtful or self.call.truncated or faint else Truth.VIOLATED

    def _absence(self, name: str) -> Finding:
        suggestion = (self.check.suggestions or {}).get(name)
        names = {"missing": _TITLES[name], "element": _TITLES[name], "suggestion": suggestion}
        window = Span(self.own[0].span.start_ms, max(self.call.end_ms, self.own[-1].span.end_ms))
        finding = self.check.wording.of_absence(window, Role.AGENT, names, name)
        return replace(finding, turn=self.own[-1].stretches[0].utterance)


def _element(hits: Sequence[Hit]) -> Element:
    return Element(True, hits[0].span.start_ms, hits[0].quote) if hits else Element(False)


class SilentCallSpec(RuleSpec):
    kind: Literal["silent_call"]
    prompts_in: Texts = []
    prompts: Texts = []
    no_sound_in: Texts = []
    call_again_in: Texts = []
    wait_ms: int = Field(default=2_000, ge=0)
    final_wait_ms: int | None = Field(default=None, ge=0)
    prompt_count: int = Field(default=2, ge=1)
    noticed_ms: int = Field(default=8_000, ge=1)
    nudge_ms: int | None = Field(default=None, ge=1)
    suggestions: dict[Literal["greet", "repeat", "script", "wait"], str] = {}

    def build_check(self, builder: Builder) -> SilentCall:
        return SilentCall(
            PhraseSet(builder.phrases(self.prompts, self.prompts_in, ("prompts",))),
            PhraseSet(builder.phrases((), self.no_sound_in, ("no_sound",))),
            PhraseSet(builder.phrases((), self.call_again_in, ("call_again",))),
            self.wording,
            wait_ms=self.wait_ms,
            final_wait_ms=self.final_wait_ms,
            prompt_count=self.prompt_count,
            noticed_ms=self.noticed_ms,
            min_confidence=self.min_confidence,
            suggestions={str(step): text for step, text in self.suggestions.items()},
            nudge_ms=max(self.wait_ms, self.nudge_ms or 0),
        )
