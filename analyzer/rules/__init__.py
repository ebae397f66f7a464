"""Rules as data: patterns, word lists, and one class per kind of check. Pure: nothing is read, time is an input.

``parse_rule(fields, words)`` turns a rule file into a ``Rule``; ``Rule.check.watch(call)`` follows one call.
"""

from analyzer.rules.call import Call, Window
from analyzer.rules.faults import Fault, RuleFaults, did_you_mean
from analyzer.rules.findings import Element, Finding, Judgement, Owed
from analyzer.rules.kinds import KINDS, parse_rule
from analyzer.rules.pack import ManualItem, Pack, Profile, Weight
from analyzer.rules.patterns import Pattern, PatternError
from analyzer.rules.phrases import Hit, Phrase, PhraseSet
from analyzer.rules.said import Place, Said
from analyzer.rules.spec import Rule, Status, WordList, Words
from analyzer.rules.truth import Truth

__all__ = [
    "KINDS",
    "Call",
    "Element",
    "Fault",
    "Finding",
    "Hit",
    "Judgement",
    "ManualItem",
    "Owed",
    "Pack",
    "Pattern",
    "PatternError",
    "Phrase",
    "PhraseSet",
    "Place",
    "Profile",
    "Rule",
    "RuleFaults",
    "Said",
    "Status",
    "Truth",
    "Weight",
    "Window",
    "WordList",
    "Words",
    "did_you_mean",
    "parse_rule",
]
