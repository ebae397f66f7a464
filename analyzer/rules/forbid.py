"""``forbid``: no listed phrase is said (服务禁语, 敏感词)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, is_mostly_faint, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.faults import Place, did_you_mean
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.likeness import Likeness
from analyzer.rules.patterns import SENTENCE_BREAK, Pattern
from analyzer.rules.phrases import Hit, Phrase, PhraseSet, keep_longest, may_match
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, Enum, RuleSpec, Spec, Texts, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Role, Severity

_FAINT = 0.5  # speech recognised with less confidence may have held anything
_QUOTES = {"“": "”", "「": "」", "『": "』", "‘": "’", '"': '"', "《": "》"}


@dataclass(frozen=True, slots=True)
class Exemption:
    """A context that excuses a hit. Fields as in docs/rule-files.md, ``exemptions``."""

    every: bool = False
    quotes: bool = False
    before: tuple[Pattern, ...] = ()
    before_not: tuple[Pattern, ...] = ()
    after: tuple[Pattern, ...] = ()
    after_not: tuple[Pattern, ...] = ()
    reach: int = 0
    need_both: bool = False
    utterance: PhraseSet = field(default_factory=lambda: PhraseSet(()))
    next_within_ms: int | None = None

    def excuses(self, hit: Hit) -> bool:
        """Whether the hit's own utterance excuses it."""
        if self.quotes and _is_quoted(hit):
            return True
        if self.utterance and any(not other.overlaps(hit) for other in self.utterance.find(hit.said)):
            return True
        return self._is_framed(hit)

    def waits_for_next(self) -> bool:
        return self.next_within_ms is not None and bool(self.utterance)

    def _is_framed(self, hit: Hit) -> bool:
        sides = []
        if self.before:
            sides.append(self._stands_before(hit))
        if self.after:
            sides.append(self._stands_after(hit))
        return bool(sides) and (all(sides) if self.need_both else any(sides))

    def _stands_before(self, hit: Hit) -> bool:
        before = _possible(self.before, hit)
        if not before:
            return False
        text = hit.said.marked[: hit.said.marked_from(hit.start, hit.end)[0]]
        if any(pattern.ends(text) for pattern in _possible(self.before_not, hit)):
            return False
        if not self.reach:
            return any(pattern.ends(text) for pattern in before)
        near = _tail(text, self.reach)
        return any(pattern.search(near) for pattern in before)

    def _stands_after(self, hit: Hit) -> bool:
        after = _possible(self.after, hit)
        if not after:
            return False
        text = hit.said.marked[hit.said.marked_from(hit.start, hit.end)[1] :]
        if any(pattern.starts(text) for pattern in _possible(self.after_not, hit)):
            return False
        if not self.reach:
            return any(pattern.starts(text) for pattern in after)
        near = _head(text, self.reach)
        return any(pattern.search(near) for pattern in after)


def _possible(patterns: Iterable[Pattern], hit: Hit) -> list[Pattern]:
    return [pattern for pattern in patterns if may_match(pattern, hit.said)]


def _tail(text: str, reach: int) -> str:
    """The last ``reach`` characters of the sentence that ``text`` breaks off in, marks not counted."""
    return _head(text[::-1], reach)[::-1]


def _head(text: str, reach: int) -> str:
    spoken = 0
    for index, character in enumerate(text):
        if character == SENTENCE_BREAK or spoken > reach:
            return text[:index]
        spoken += not "\ue000" <= character <= "\ue004"
    return text


def _is_quoted(hit: Hit) -> bool:
    """Whether the raw text sets the words in quotation marks."""
    start, end = hit.said.folded.raw_range(hit.start, hit.end)
    raw = hit.said.raw
    for opening, closing in _QUOTES.items():
        before = raw[:start]
        is_open = (
            before.count(opening) % 2 == 1 if opening == closing else before.rfind(opening) > before.rfind(closing)
        )
        if is_open and closing in raw[end:]:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Forbid(Check):
    """``unit``: the number of hits is measured, in this unit. A hit needs ``min_confidence``; that nothing was said
    needs no more than intelligible speech, however sure of its characters a rule wants to be."""

    phrases: PhraseSet
    wording: Wording
    speaker: Role | None = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    categories: tuple[str, ...] = ()
    exemptions: Mapping[str, Exemption] = field(default_factory=dict)
    unit: str | None = None
    likeness: Likeness | None = None

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        waits = any(exemption.waits_for_next() for exemption in self.exemptions.values())
        return None if self.likeness or waits else (self.phrases,)

    def watch(self, call: Call) -> Watch:
        return _ForbidWatch(self, call)

    def exemptions_of(self, hit: Hit) -> Iterator[Exemption]:
        for name, exemption in self.exemptions.items():
            if exemption.every or name in hit.phrase.exempt:
                yield exemption

    def hits_in(self, said: Said) -> list[Hit]:
        """Hits of one utterance that nothing in it excuses."""
        ranks: dict[str | None, int] = {category: rank for rank, category in enumerate(self.categories)}
        found = keep_longest(self.phrases.find(said), ranks)
        found += self._like(said, found)
        return [hit for hit in found if not any(e.excuses(hit) for e in self.exemptions_of(hit))]

    def _like(self, said: Said, listed: Sequence[Hit]) -> list[Hit]:
        """What the model finds in sentences without a listed phrase: where one stands, the list knows better."""
        if self.likeness is None:
            return []
        taken = [(hit.start, hit.end) for hit in listed]
        return self.likeness.find(said, taken)

    def next_within_ms(self, hit: Hit) -> int | None:
        """How long after the utterance the speaker's next one may start to excuse the hit; None: it cannot."""
        waits = [e.next_within_ms for e in self.exemptions_of(hit) if e.waits_for_next()]
        return max((wait for wait in waits if wait is not None), default=None)

    def is_excused_by_next(self, hit: Hit, following: Said) -> bool:
        return any(
            e.utterance.any(following)
            for e in self.exemptions_of(hit)
            if e.next_within_ms is not None and following.span.start_ms <= hit.said.span.end_ms + e.next_within_ms
        )


class _ForbidWatch(Watch):
    def __init__(self, check: Forbid, call: Call) -> None:
        self.check, self.call = check, call
        self.final: list[Hit] = []
        self.open: list[Hit] = []  # may be excused by the speaker's next utterance
        self.first = len(call.said)  # of the utterances that are this watch's to hear

    def hear(self, said: Said) -> None:
        if not may_be_by(said, self.check.speaker):
            return
        self._settle_open(said)
        for hit in (*self.check.hits_in(said), *self._across(said)):
            waits = self.check.next_within_ms(hit) is not None
            (self.open if waits else self.final).append(hit)

    def _across(self, said: Said) -> list[Hit]:
        """Phrases that begin in the utterance before and end in this one, apart from what either holds by itself."""
        before = self._just_before()
        if before is None or not said.may_continue(before):
            return []
        joined = said.after(before)
        if not self.check.likeness and not self.check.phrases.any(joined):
            return []
        seam = len(before.text)
        if joined.text != before.text + said.text:
            return []
        alone = [(hit.start, hit.end) for hit in self.check.phrases.find(before)]
        alone += [(hit.start + seam, hit.end + seam) for hit in self.check.phrases.find(said)]
        return [
            hit
            for hit in self.check.hits_in(joined)
            if hit.start < seam < hit.end
            and not hit.phrase.pattern.is_open
            and not any(hit.start < end and start < hit.end for start, end in alone)
        ]

    def _just_before(self) -> Said | None:
        """What the speaker said before, with nothing but back-channel since."""
        for earlier in reversed(self.call.said[self.first : -1]):
            if may_be_by(earlier, self.check.speaker):
                return earlier
            if not earlier.back_channel:
                return None
        return None

    def _settle_open(self, following: Said) -> None:
        if not self.open:
            return
        own = [hit for hit in self.open if hit.said.role is following.role]
        self.open = [hit for hit in self.open if hit.said.role is not following.role]
        self.final += [hit for hit in own if not self.check.is_excused_by_next(hit, following)]

    def reach(self, ms: int) -> None:
        if not self.open:
            return
        expired = [hit for hit in self.open if hit.said.span.end_ms + (self.check.next_within_ms(hit) or 0) < ms]
        self.final += expired
        self.open = [hit for hit in self.open if hit not in expired]

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        return [
            (self.check.wording.of_hit(hit), final)
            for hits, final in ((self.final, not self.check.window.needs_end), (self.open, False))
            for hit in hits
            if self._is_sure(hit) and self._is_inside(hit)
        ]

    def glimpse(self, said: Said) -> Sequence[Finding]:
        if not is_by(said, self.check.speaker):
            return ()
        return [self.check.wording.of_hit(hit) for hit in self.check.hits_in(said) if self._is_sure(hit)]

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        hits = sorted(
            (hit for hit in (*self.final, *self.open) if self._is_inside(hit)),
            key=lambda hit: (hit.span, hit.said.role, hit.start),
        )
        sure = [hit for hit in hits if self._is_sure(hit)]
        findings = tuple(map(self.check.wording.of_hit, sure or hits))
        return Judgement(self._truth(bool(sure), bool(hits)), findings, measured=self._measured(len(sure)))

    def _measured(self, count: int) -> dict[str, Any] | None:
        if self.check.unit is None:
            return None
        return {"value": count, "unit": self.check.unit, "low": None, "high": 0}

    def _truth(self, violated: bool, suspected: bool) -> Truth:
        check, call = self.check, self.call
        if violated:
            return Truth.VIOLATED
        if suspected or call.truncated:
            return Truth.UNSURE
        if is_mostly_faint(call.by(check.speaker), min(check.min_confidence, _FAINT)):
            return Truth.UNSURE
        return Truth.MET if any(may_be_by(said, check.speaker) for said in call.said) else Truth.NOT_APPLICABLE

    def _is_inside(self, hit: Hit) -> bool:
        return self.check.window.holds(hit.said, hit.span, self.call) or (
            hit.said.turn_of_talk is None and self.check.window.by_turns
        )

    def _is_sure(self, hit: Hit) -> bool:
        return hit.confidence >= self.check.min_confidence and is_by(hit.said, self.check.speaker)


class ExemptionSpec(Spec):
    every: bool = False
    quotes: bool = False
    before: Texts = []
    before_not: Texts = []
    after: Texts = []
    after_not: Texts = []
    reach: int = Field(default=0, ge=0, le=100)
    need: Literal["any", "all"] = "any"
    utterance: Texts = []
    utterance_in: Texts = []
    next_within_ms: int | None = Field(default=None, ge=1)

    def build(self, builder: Builder, place: Place) -> Exemption:
        said = [
            *(
                phrase
                for words in builder.lists(self.utterance_in, (*place, "utterance_in"))
                for phrase in words.phrases
            ),
            *builder.inline(self.utterance, (*place, "utterance")),
        ]
        if self.next_within_ms is not None and not said:
            builder.fault((*place, "next_within_ms"), "next_within_ms needs utterance or utterance_in")
        return Exemption(
            every=self.every,
            quotes=self.quotes,
            before=builder.patterns(self.before, (*place, "before")),
            before_not=builder.patterns(self.before_not, (*place, "before_not")),
            after=builder.patterns(self.after, (*place, "after")),
            after_not=builder.patterns(self.after_not, (*place, "after_not")),
            reach=self.reach,
            need_both=self.need == "all",
            utterance=PhraseSet(said),
            next_within_ms=self.next_within_ms,
        )


class ModelSpec(Spec):
    """A likeness model, and what its findings carry; categories without a severity are left to the lists, and those
    without a suggestion get the rule's."""

    name: str
    severity: dict[str, Annotated[Severity, Enum]] = {}
    exempt: dict[str, Texts] = {}
    suggestion: dict[str, str] = {}

    def build(self, categories: Sequence[str], builder: Builder) -> Likeness | None:
        fields = builder.words.models.get(self.name)
        if fields is None:
            guess = did_you_mean(self.name, builder.words.models)
            builder.fault(("model", "name"), f"unknown model {self.name!r}{guess}")
            return None
        phrases = {
            category: Phrase(
                Pattern(category),
                category=category,
                severity=self.severity[category],
                exempt=frozenset(self.exempt.get(category, ())),
                suggestion=self.suggestion.get(category),
            )
            for category in categories
            if category in self.severity
        }
        return Likeness.read(fields, phrases)


class ForbidSpec(RuleSpec):
    kind: Literal["forbid"]
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    allow_in: Texts = []
    categories: Texts = []
    exemptions: dict[str, ExemptionSpec] = {}
    unit: str | None = None
    model: ModelSpec | None = None

    def build_check(self, builder: Builder) -> Forbid:
        phrases = builder.phrases(self.any_of, self.any_in)
        if not phrases and not builder.faults:
            builder.fault((), "'forbid' needs any_of or any_in")
        self._check_names(phrases, builder)
        allow = (
            *builder.words.allow,
            *builder.patterns(self.allow, ("allow",)),
            *builder.patterns_of(self.allow_in, ("allow_in",)),
        )
        return Forbid(
            PhraseSet(phrases, allow),
            self.wording,
            speaker=role_of(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            categories=tuple(self.categories),
            exemptions={name: e.build(builder, ("exemptions", name)) for name, e in self.exemptions.items()},
            unit=self.unit,
            likeness=self.model.build(self.categories, builder) if self.model else None,
        )

    def _check_names(self, phrases: Sequence[Phrase], builder: Builder) -> None:
        for phrase in phrases:
            where = f"{phrase.place}: " if phrase.place else ""
            if self.categories and phrase.category not in self.categories:
                guess = did_you_mean(phrase.category or "", self.categories)
                builder.fault(("categories",), f"{where}category {phrase.category!r} is not among categories{guess}")
            for name in sorted(phrase.exempt - set(self.exemptions)):
                guess = did_you_mean(name, self.exemptions)
                builder.fault(("exemptions",), f"{where}unknown exemption {name!r}{guess}")
