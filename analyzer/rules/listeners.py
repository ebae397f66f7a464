"""Which rules an utterance concerns, so that it costs what it holds and not what the pack does.

An utterance is scanned once for the phrases of the whole pack (``phrases.Vocabulary``). A check that names its cues
(``Check.listens_for``) hears only what may hold one of them, alone or across the break after the speaker's utterance
before; one that names none hears everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analyzer.rules.checks import Check
from analyzer.rules.phrases import PhraseSet, Vocabulary
from analyzer.rules.said import Said


class Listeners:
    """The checks of a pack, by rule id."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._always: list[str] = []
        self._to_words: list[str] = []  # to any: what they listen for is in no list of keys
        self._by_cue: dict[Vocabulary, dict[PhraseSet, list[str]]] = {}
        for rule_id, check in checks.items():
            if check.listens_for is None:
                self._always.append(rule_id)
            for cue in check.listens_for or ():
                self._by_cue.setdefault(cue.vocabulary, {}).setdefault(cue.shared, []).append(rule_id)
        for vocabulary, rules_of in self._by_cue.items():
            self._to_words += [rule_id for cue in vocabulary.anywhere for rule_id in rules_of.get(cue, ())]

    def concerned(self, said: Said, before: Said | None) -> Iterable[str]:
        """Rules that have to hear an utterance. ``before``: what the same speaker said just before, if a phrase may run
        over both."""
        has_words = said.text or (before and before.text)
        concerned = dict.fromkeys((*self._always, *(self._to_words if has_words else ())))
        for one in (said, said.after(before)) if before else (said,):
            for vocabulary, rules_of in self._by_cue.items():
                for cue in vocabulary.candidates(one).sets():
                    for rule_id in rules_of.get(cue, ()):
                        concerned[rule_id] = None
        return concerned
