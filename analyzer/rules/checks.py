"""The shape every kind of check has. A new kind is one module with a spec, a check and a watch.

A ``Check`` is read from a rule file once and shared by all calls; its ``Watch`` follows one call. The engine feeds a
watch closed utterances in order of call time, so a verdict cannot depend on the order or lateness of arrival; what a
watch says in between (``findings_so_far``, ``glimpse``, ``owed``, ``checklist``, ``running``) is for the agent's eyes
and changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from analyzer.rules.call import Call
from analyzer.rules.findings import Finding, Item, Judgement, Owed, Running
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said


class Watch(ABC):
    """One check on one call."""

    @abstractmethod
    def hear(self, said: Said) -> None:
        """The next utterance, in order of start; it stands last in ``Call.said``."""

    @abstractmethod
    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        """The verdict, once the call is over. ``others`` holds the rules this one names in ``needs``."""

    def reach(self, ms: int) -> None:
        """All speech that starts before ``ms`` has been heard."""
        return

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        """Findings on what was heard, each with whether it is final (a provisional one may be excused yet)."""
        return ()

    def glimpse(self, said: Said) -> Sequence[Finding]:
        """What would be found in an utterance that may still change. Alters nothing."""
        return ()

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        """What the agent has not said yet, in ``unsettled`` speech neither, and will be reminded of."""
        return ()

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """What is owed on this call as far as it is known at ``ms``, and how each stands. An item that was pending and
        is not told of any more has lost its occasion."""
        return ()

    def running(self, unsettled: Sequence[Said], ms: int) -> Running | None:
        """What goes on at ``ms`` and must not last too long."""
        return None


class Check(ABC):
    """One check as its rule file defines it."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the rules whose judgements it wants to see."""
        return ()

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        """Phrases of which an utterance holds one if it means anything to a watch; others need not be heard. None: all
        must be."""
        return None

    @property
    def reminds(self) -> bool:
        """Whether its watches may have anything owed, or on the checklist."""
        return False

    @abstractmethod
    def watch(self, call: Call) -> Watch:
        """Start to follow a call."""
