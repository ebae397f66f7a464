"""``rules lint``: a clean pack has no problem, and each seeded fault is found, in its place, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.lint import CHECKS, lint
from analyzer.lint.spoken import sentences
from tests.clean_pack import spoil, write_clean_pack

SHIRK, THANKS = "rules/wording/shirk.yaml", "rules/closing/thanks.yaml"
SHIRK_WORDS, THANKS_WORDS = "words/shirk.tsv", "words/thanks.tsv"

SEEDED = {
    # name: (file, old, new, the check that finds it, where, part of the message)
    "a rule whose deadline asks for more than there is": (
        THANKS, "message: 没有", "levels: {pass: {core: 2}}\nmessage: 没有", "out-of-reach", f"{THANKS}:11", "2 core",
    ),
    "a window nothing lies in": (
        SHIRK, "any_in:", "window: {from_ms: 9000, to_ms: 3000}\nany_in:", "empty-window", f"{SHIRK}:8", "9000",
    ),
    "a condition on an attribute no call has": (
        SHIRK, "any_in:", "not_applicable_when: [{metadata: {ended: dropped}}]\nany_in:", "impossible-attribute",
        f"{SHIRK}:8", "did you mean 'ended_by'?",
    ),
    "a condition on a value the attribute never has": (
        SHIRK, "any_in:", "not_applicable_when: [{metadata: {ended_by: lost}}]\nany_in:", "impossible-attribute",
        f"{SHIRK}:8", "never 'lost'",
    ),
    "a phrase inside the allow list of another": (
        "words/allowed.tsv", "不关机", "不关我的?事", "masked", f"{SHIRK_WORDS}:6", "covered by the allowed",
    ),
    "a phrase that sounds like a polite one": (
        SHIRK_WORDS, "你(去)?问别人", "干谢您的来电", "homophone-collision", f"{SHIRK_WORDS}:7",
        "sounds like '感谢您的来电'",
    ),
    "a phrase one rule owes and another forbids": (
        SHIRK_WORDS, "你(去)?问别人", "谢谢", "contradiction", f"{SHIRK_WORDS}:7", "owed by thanks",
    ),
    "a suggestion that would itself be found": (
        SHIRK_WORDS, "我帮您问一下", "您自己看，不关我事", "contradiction", f"{SHIRK_WORDS}:6", "suggested in",
    ),
    "one wording in two rows, written differently": (
        SHIRK_WORDS, "你(去)?问别人", "不关我(的|)事", "duplicate-phrase", f"{SHIRK_WORDS}:7", "stands in",
    ),
    "a case that names no clause": (
        THANKS, "  - name: 谢谢\n    clauses: [T2]", "  - name: 谢谢", "case-without-clauses", f"{THANKS}:29", "谢谢",
    ),
    "too few firing cases": (
        THANKS, "outcome: violation", "outcome: unsure", "few-cases", f"{THANKS}:12", "1 firing and 2 silent",
    ),
    "a clause the ledger does not know": (
        SHIRK, "clauses: [T1]", "clauses: [T1, T11]", "unknown-clause", f"{SHIRK}:5", "'T11'",
    ),
    "a clause of a phrase the ledger does not know": (
        SHIRK_WORDS, "推诿\tT1\t我来", "推诿\tT9\t我来", "unknown-clause", f"{SHIRK_WORDS}:6", "'T9'",
    ),
    "a message that is not Chinese": (
        THANKS, "message: 没有感谢客户", "message: no thanks", "not-chinese", f"{THANKS}:11", "no thanks",
    ),
    "nothing better to say": (
        THANKS, ", suggestion: 感谢您的来电", "", "no-suggestion", f"{THANKS}:11", "thanks suggests nothing",
    ),
    "a rule that rests on no clause": (THANKS, "clauses: [T2]\nwhy", "why", "no-clause", f"{THANKS}:1", "thanks"),
    "a word list nobody uses": (
        "words/thanks.tsv", "谢谢您", "谢谢您", "unused-list", "words/spare.tsv:1", "'spare'",
    ),
    "a pattern no text can match": (
        SHIRK_WORDS, "你(去)?问别人", "你去^^问别人", "never-matches", f"{SHIRK_WORDS}:7", "你去^^问别人",
    ),
    "a pattern written in characters that folding replaces": (
        SHIRK_WORDS, "你(去)?问别人", "[帐]号不归我管", "never-matches", f"{SHIRK_WORDS}:7", "[帐]号",
    ),
    "a pattern that lost a character": (
        SHIRK_WORDS, "你(去)?问别人", "你�?问别人", "broken-text", f"{SHIRK_WORDS}:7", "你�?问别人",
    ),
    "an exemption no phrase refers to": (
        SHIRK, "categories: [推诿]", "categories: [推诿]\nexemptions: {quoted: {quotes: true}}", "idle-part",
        f"{SHIRK}:10", "quoted",
    ),
    "a category without a phrase": (SHIRK, "[推诿]", "[推诿, 直呼]", "idle-part", f"{SHIRK}:9", "直呼"),
    "two cases of one call": (
        SHIRK, "坐席: 手机不关机就可以。", "坐席: [[不关我的事]]。", "case-twice", f"{SHIRK}:26", "has the call of",
    ),
    "a case whose call cannot be read": (
        SHIRK, "坐席: 手机不关机就可以。", "手机不关机就可以。", "unreadable-case", f"{SHIRK}:28", "line 1",
    ),
    "a rule file that does not load": (SHIRK, "kind: forbid", "kind: forbit", "load", f"{SHIRK}:7", "'forbid'"),
    "a profile of a rule there is not": (
        "profiles/strict.yaml", "  thanks:", "  thank:", "load", "profiles/strict.yaml:5", "'thanks'",
    ),
    "a ledger row without a reason": (
        "clauses/all.tsv", "声音里听不出微笑", "", "load", "clauses/all.tsv:5", "needs a reason",
    ),
}  # fmt: skip


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_clean_pack(Path("pack"))


def test_a_clean_pack_has_no_problem(pack: Path) -> None:
    assert list(map(str, lint(pack))) == []


@pytest.mark.parametrize("seed", SEEDED)
def test_a_seeded_fault_is_found_in_its_place(pack: Path, seed: str) -> None:
    name, old, new, check, place, message = SEEDED[seed]
    spoil(pack, name, old, new)
    if check == "unused-list":
        text = (pack / THANKS_WORDS).read_text(encoding="utf-8").replace("name: thanks", "name: spare")
        (pack / "words" / "spare.tsv").write_text(text, encoding="utf-8")
    found = [problem for problem in lint(pack) if problem.check == check]
    assert [problem.place for problem in found] == [f"pack/{place}"], list(map(str, lint(pack)))
    assert message in found[0].message


def test_every_check_has_a_seeded_fault() -> None:
    assert set(CHECKS) - {check for _, _, _, check, _, _ in SEEDED.values()} == {"unused-slot"}


def test_a_slot_that_no_pattern_holds_is_found(pack: Path) -> None:
    (pack / "words" / "slots.tsv").write_text("slot\tpattern\n姓氏\t[王李张]\n", encoding="utf-8")
    assert [problem.check for problem in lint(pack)] == ["unused-slot"]
    spoil(pack, SHIRK_WORDS, "你(去)?问别人", "你去问{姓氏}先生")
    spoil(pack, SHIRK, "[[你去问别人]]", "[[你去问王先生]]")
    assert lint(pack) == []


def test_a_check_can_be_left_out(pack: Path) -> None:
    spoil(pack, THANKS, "message: 没有感谢客户", "message: no thanks")
    assert lint(pack, skip=["not-chinese"]) == []


def test_lists_that_a_rule_only_asks_for_may_share_a_wording(pack: Path) -> None:
    text = (pack / THANKS_WORDS).read_text(encoding="utf-8").replace("name: thanks", "name: regards")
    (pack / "words" / "regards.tsv").write_text(text, encoding="utf-8")
    spoil(pack, THANKS, "any_in: [thanks]", "any_in: [thanks, regards]")
    assert lint(pack) == []


def test_a_condition_may_ask_whether_an_attribute_is_unknown(pack: Path) -> None:
    spoil(pack, SHIRK, "any_in:", "not_applicable_when: [{metadata: {transferred: [true, null]}}]\nany_in:")
    assert lint(pack) == []


def test_what_is_owed_in_a_way_nobody_forbids_contradicts_nothing(pack: Path) -> None:
    spoil(pack, THANKS_WORDS, "谢谢您", "辛苦[你您]了")
    spoil(pack, SHIRK_WORDS, "你(去)?问别人", "辛苦你")
    assert [problem for problem in lint(pack) if problem.check == "contradiction"] == []


@pytest.mark.parametrize(
    ("pattern", "spoken"),
    [
        ("不关我的?事", ["不关我事", "不关我的事"]),
        ("(跟|与)我[无没]关", ["跟我无关", "跟我没关", "与我无关", "与我没关"]),
        ("^我不知道$", ["我不知道"]),
        ("怎么…{2-4}办", ["怎么某某办"]),
        ("您好$^很高兴", ["您好，很高兴"]),
        ("{姓氏}先生", ["王先生", "李先生"]),
        ("{数字:4}号", ["三三三三号"]),
        ("[^好]的", ["某的", "三的"]),
    ],
)
def test_a_pattern_is_spoken_as_its_author_would_try_it(pattern: str, spoken: list[str]) -> None:
    assert list(sentences(pattern, {"姓氏": ("王", "李")}))[:2] == spoken[:2]
    assert set(spoken) <= set(sentences(pattern, {"姓氏": ("王", "李")}))
