"""Checks of word lists: phrases that cannot be hit, stand twice, or find what a call owes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from analyzer.lint.problems import Problem, Subject, parts_of, phrase_sets, walk
from analyzer.lint.spoken import said_of, sentences
from analyzer.rules import Hit, Pattern, Phrase, PhraseSet, Rule, Said
from analyzer.rules.forbid import Forbid
from analyzer.rules.patterns import Anchor
from analyzer.rules.quota import Quota
from analyzer.rules.require import Plan
from analyzer.types import Match, Role

_OWED_SENTENCES = 6  # per phrase that a call owes: first choices show nearly all collisions
_LOST = "\ufffd"  # what editors write for bytes that are no text
_TRIALS = 12  # sentences per phrase before it is said to be masked


def unused_list(subject: Subject) -> Iterator[Problem]:
    """A word list that no rule and no line of pack.yaml names."""
    used = {name for file in (*subject.files.files.values(), subject.files.head) for name in _names(file.fields)}
    used |= set(_names(subject.files.profile_file.fields))
    for name in subject.files.words.lists:
        if name not in used:
            place = f"{subject.files.folder.as_posix()}/words/{name}.tsv:1"
            yield Problem(place, "unused-list", f"no rule uses the word list {name!r}")


def _names(fields: dict[str, Any]) -> Iterator[str]:
    """Everything a file's fields may call a word list by."""
    for place, value in walk(fields):
        keys = [part for part in place if isinstance(part, str)]
        if isinstance(value, str) and keys and (keys[-1].endswith("_in") or keys[0] in ("back_channel", "allow")):
            yield value


def unused_slot(subject: Subject) -> Iterator[Problem]:
    """A slot that no pattern holds."""
    patterns = [source for sources in subject.files.slot_sources.values() for source in sources]
    patterns += [
        source
        for words in subject.files.words.lists.values()
        for phrase in words.phrases
        for source in (phrase.pattern.source, *(allowed.source for allowed in phrase.allow))
    ]
    for file in subject.files.files.values():
        patterns += [value for _, value in walk(file.fields) if isinstance(value, str)]
    for slot in subject.files.slot_sources:
        if not any(f"{{{slot}}}" in source for source in patterns):
            place = f"{subject.files.folder.as_posix()}/words/slots.tsv:1"
            yield Problem(place, "unused-slot", f"no pattern uses the slot {{{slot}}}")


# --- phrases that cannot be hit ---


def never_matches(subject: Subject) -> Iterator[Problem]:
    """A pattern that no text can match: not even the sentences it spells out."""
    for place, pattern in _patterns(subject):
        tried = sentences(pattern.source, subject.files.slot_sources)
        if not any(pattern.search(said_of(text).marked) for text in tried):
            first = next(sentences(pattern.source, subject.files.slot_sources), None)
            what = f"not even {first!r}" if first else "its parts shut each other out"
            yield Problem(place, "never-matches", f"no text can match {pattern.source!r}: {what}")


def broken_text(subject: Subject) -> Iterator[Problem]:
    """A pattern with a character that was lost when its file was saved in another encoding."""
    for place, pattern in _patterns(subject):
        if _LOST in pattern.source:
            yield Problem(place, "broken-text", f"{pattern.source!r} holds a character that was lost; write it again")


def _patterns(subject: Subject) -> Iterator[tuple[str, Pattern]]:
    """Every pattern of the pack, once, with its place."""
    seen: set[tuple[str, str]] = set()
    listed = [phrase for words in subject.files.words.lists.values() for phrase in words.phrases]
    inline = [
        (subject.words_place(phrase.place, rule), phrase)
        for rule in subject.live_rules
        for _, found in phrase_sets(rule.check)
        for phrase in found.phrases
        if not phrase.place
    ]
    placed = [(f"{subject.files.folder.as_posix()}/{phrase.place}", phrase) for phrase in listed]
    for place, phrase in (*placed, *inline):
        for pattern in (phrase.pattern, *phrase.allow):
            if (place, pattern.source) not in seen:
                seen.add((place, pattern.source))
                yield place, pattern


def masked(subject: Subject) -> Iterator[Problem]:
    """A phrase that some allowed phrase, or an exemption for every phrase, always covers: it is never a hit."""
    for rule in subject.live_rules:
        for path, found in phrase_sets(rule.check):
            for phrase in found.phrases:
                if said := _never_hit(rule, path, found, phrase, subject):
                    place = subject.words_place(phrase.place, rule)
                    why = f"{phrase.pattern.source!r} is never a hit in {rule.id}: {_mask(found, phrase, said)}"
                    yield Problem(place, "masked", why)


def _never_hit(rule: Rule, path: tuple[str, ...], found: PhraseSet, phrase: Phrase, subject: Subject) -> Said | None:
    """The first utterance that holds the phrase, if none of them is found to; most phrases are found in the first."""
    first = None
    for said in islice(_matching(phrase, subject), _TRIALS):
        if _is_hit(rule, path, found, said):
            return None
        first = first or said
    return first


def _matching(phrase: Phrase, subject: Subject) -> Iterator[Said]:
    """Utterances of a sentence the phrase spells out: nothing else, and in the middle of others."""
    for text in sentences(phrase.pattern.source, subject.files.slot_sources):
        for whole in (text, f"这样，{text}，这样"):
            said = said_of(whole)
            if phrase.pattern.search(said.marked):
                yield said


def _is_hit(rule: Rule, path: tuple[str, ...], found: PhraseSet, said: Said) -> bool:
    """Whether something is found in the utterance: another phrase that says more may take this one's place."""
    if isinstance(rule.check, Forbid) and path == ("phrases",):
        return bool(rule.check.hits_in(said))
    return found.any(said)


def _mask(found: PhraseSet, phrase: Phrase, said: Said) -> str:
    for allowed in (*phrase.allow, *found.allow):
        if allowed.search(said.marked):
            return f"{said.raw!r} is covered by the allowed {allowed.source!r}"
    return f"{said.raw!r} is excused, or cut off at no word edge"


# --- phrases that stand against each other ---


def duplicate_phrase(subject: Subject) -> Iterator[Problem]:
    """One wording in two places: in one list, in two whose hits a rule counts, or in two rules that forbid it. Where a
    rule only asks whether something was said, its lists may share wordings."""
    forbidden: dict[tuple[str, ...], tuple[Phrase, Rule]] = {}
    for rule in subject.live_rules:
        for path, found in phrase_sets(rule.check):
            seen: dict[tuple[str, ...], tuple[Phrase, Rule]] = {}
            is_forbidden = isinstance(rule.check, Forbid) and path == ("phrases",)
            for phrase in found.phrases:
                key = _wording(phrase, subject)
                for known in (seen, forbidden) if is_forbidden else (seen,):
                    if key in known and _together(phrase, known[key][0], counted=path == ("phrases",)):
                        yield _twice(subject, phrase, rule, *known[key])
                        break
                seen.setdefault(key, (phrase, rule))
                if is_forbidden:
                    forbidden.setdefault(key, (phrase, rule))


def _together(one: Phrase, other: Phrase, *, counted: bool) -> bool:
    """Whether two phrases of one wording get into each other's way."""
    return one.place != other.place and (counted or one.place.split(":")[0] == other.place.split(":")[0])


def _wording(phrase: Phrase, subject: Subject) -> tuple[str, ...]:
    """What a phrase stands for, however it is written."""
    outer = phrase.pattern.nodes[0], phrase.pattern.nodes[-1]
    anchors = (node.expression if isinstance(node, Anchor) else "" for node in outer)
    return (*anchors, *sorted(sentences(phrase.pattern.source, subject.files.slot_sources)))


def _twice(subject: Subject, phrase: Phrase, rule: Rule, other: Phrase, in_rule: Rule) -> Problem:
    place = subject.words_place(phrase.place, rule)
    where = subject.words_place(other.place, in_rule)
    rules = rule.id if rule.id == in_rule.id else f"{in_rule.id} and {rule.id}"
    return Problem(place, "duplicate-phrase", f"{phrase.pattern.source!r} stands in {where} too, both for {rules}")


def contradiction(subject: Subject) -> Iterator[Problem]:
    """What one rule owes, or suggests to say, another forbids wherever it is said. An owed phrase that can also be said
    in a way nobody forbids (辛苦您了 beside 辛苦你了) contradicts nothing."""
    for origin, texts in _owed(subject):
        hits = [hit for hit, _ in _banned(subject, texts[:1], by_sound=False)]
        if hits and all(any(_banned(subject, [text], by_sound=False)) for text in texts):
            yield from _collisions(subject, origin, texts[:1], by_sound=False)


def homophone_collision(subject: Subject) -> Iterator[Problem]:
    """A forbidden phrase that sounds like a polite one: the recogniser may write either."""
    for origin, texts in _owed(subject):
        yield from _collisions(subject, origin, texts[:_OWED_SENTENCES], by_sound=True)


def _collisions(subject: Subject, origin: str, texts: list[str], *, by_sound: bool) -> Iterator[Problem]:
    check = "homophone-collision" if by_sound else "contradiction"
    reported: set[str] = set()
    for hit, rule in _banned(subject, texts, by_sound=by_sound):
        if hit.phrase.pattern.source not in reported:
            reported.add(hit.phrase.pattern.source)
            yield Problem(subject.words_place(hit.phrase.place, rule), check, _collision(hit, rule, origin))


def _banned(subject: Subject, texts: list[str], *, by_sound: bool) -> Iterator[tuple[Hit, Rule]]:
    """What phrases of the rules that forbid something anywhere find in the sentences, by sound alone or by spelling
    alone. What a likeness model finds is no phrase's doing."""
    matches = (Match.HOMOPHONE,) if by_sound else (Match.EXACT, Match.VARIANT)
    for text in texts:
        said = said_of(text)
        for rule in subject.live_rules:
            if isinstance(rule.check, Forbid) and rule.check.speaker in (None, Role.AGENT):
                for hit in rule.check.hits_in(said):
                    if hit.match in matches:
                        yield hit, rule


def _collision(hit: Hit, rule: Rule, origin: str) -> str:
    verb = "sounds like" if hit.match is Match.HOMOPHONE else "is found in"
    return f"{hit.phrase.pattern.source!r}, forbidden by {rule.id}, {verb} {hit.said.raw!r}, which is {origin}"


def _owed(subject: Subject) -> Iterator[tuple[str, list[str]]]:
    """What an agent ought to say, each in several sentences, with who says so."""
    seen: set[str] = set()
    for rule in subject.live_rules:
        for phrase in _owed_phrases(rule):
            if phrase.pattern.source not in seen:
                seen.add(phrase.pattern.source)
                texts = list(sentences(phrase.pattern.source, subject.files.slot_sources))
                yield f"owed by {rule.id} ({subject.words_place(phrase.place, rule)})", texts
        for place, value in walk(subject.file(rule).fields):
            if place[-1:] == ("suggestion",) and isinstance(value, str) and value not in seen:
                seen.add(value)
                yield f"suggested by {rule.id}", [value]
    for words in subject.files.words.lists.values():
        for phrase in words.phrases:
            if phrase.suggestion and phrase.suggestion not in seen:
                seen.add(phrase.suggestion)
                yield f"suggested in {subject.files.folder.as_posix()}/{phrase.place}", [phrase.suggestion]


def _owed_phrases(rule: Rule) -> Iterator[Phrase]:
    if rule.kind == "not":
        return
    for plan in parts_of(rule.check, Plan):
        for element in plan.elements:
            yield from element.phrases.phrases
    for quota in parts_of(rule.check, Quota):
        if quota.low:
            yield from quota.phrases.phrases
