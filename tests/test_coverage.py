"""``rules coverage`` and the ledger of clauses: what counts as automated, and what a faulty row says."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.clauses import How, read_ledger
from analyzer.coverage import Item, cover
from analyzer.errors import ConfigError
from tests.clean_pack import spoil, write_clean_pack

LEDGER, SHIRK = "clauses/all.tsv", "rules/wording/shirk.yaml"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_clean_pack(tmp_path / "pack")


def items(pack: Path) -> dict[str, Item]:
    return {item.clause.id: item for item in cover(str(pack)).items}


def add_row(pack: Path, *cells: str) -> None:
    with (pack / LEDGER).open("a", encoding="utf-8") as file:
        file.write("\t".join(cells) + "\n")


# ---- what counts


def test_every_clause_of_a_sound_pack_is_accounted_for(pack: Path) -> None:
    covered = cover(str(pack))
    assert (covered.automated, covered.unproven, covered.faults, covered.total) == (2, [], (), 4)
    assert covered.by_how() == {"rule": 2, "metadata": 0, "aggregate": 0, "profile option": 1, "not enforced": 1}
    assert items(pack)["T1"].firing == ("shirk: 不关我的事", "shirk: 让客户问别人")
    assert items(pack)["T1"].silent == ("shirk: 客户说的不算", "shirk: 不关机不算")


def test_a_clause_without_its_own_id_on_a_firing_case_is_not_automated(pack: Path) -> None:
    for _ in range(2):
        spoil(pack, SHIRK, "clauses: [T1]\n    call: |\n      坐席: [[", "clauses: [T2]\n    call: |\n      坐席: [[")
    assert items(pack)["T1"].missing == ("no firing case carries its id",)
    assert not items(pack)["T1"].is_automated


def test_a_clause_without_its_own_id_on_a_silent_case_is_not_automated(pack: Path) -> None:
    spoil(pack, SHIRK, "clauses: [T1]\n    call: |\n      客户", "clauses: []\n    call: |\n      客户")
    spoil(pack, SHIRK, "clauses: [T1]\n    call: |\n      坐席: 手机", "clauses: []\n    call: |\n      坐席: 手机")
    assert items(pack)["T1"].missing == ("no silent case carries its id",)


def test_a_case_that_does_not_hold_proves_nothing(pack: Path) -> None:
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不归我管")
    spoil(pack, "words/shirk.tsv", "你(去)?问别人", "找别人")
    assert items(pack)["T1"].missing == ("no firing case carries its id",)


def test_a_case_that_holds_without_the_rule_its_row_names_proves_nothing(pack: Path) -> None:
    spoil(pack, LEDGER, "\tshirk\t", "\tthanks\t")
    assert items(pack)["T1"].missing == ("its firing case holds without thanks", "no silent case carries its id")


def test_a_case_of_a_rule_that_leans_on_another_proves_that_one(pack: Path) -> None:
    """The thanks are complete but for the forbidden phrase in them: without ``shirk`` the case passes."""
    spoil(pack, "rules/closing/thanks.yaml", "message:", "capped_by: [shirk]\nmessage:")
    with (pack / "rules/closing/thanks.yaml").open("a", encoding="utf-8") as file:
        file.write("  - name: 夹着推诿\n    clauses: [T5]\n    call: |\n      坐席: [[不关我的事]]，谢谢您。\n")
    spoil(pack, "rules/closing/thanks.yaml", "- name: 谢谢\n    clauses: [T2]", "- name: 谢谢\n    clauses: [T2, T5]")
    add_row(pack, "T5", "感谢里不夹推诿", "closing", "rule", "shirk", "")
    assert items(pack)["T5"].missing == ()


def test_a_rule_that_only_other_profiles_run_answers_for_an_option_of_theirs(pack: Path) -> None:
    spoil(pack, "profiles/standard.yaml", "rules:\n", "rules:\n  thanks: {enabled: false}\n")
    assert items(pack)["T3"].missing == ()
    assert "rule thanks does not run (draft, retired, or switched off)" in items(pack)["T2"].missing


def test_a_rule_that_does_not_run_answers_for_nothing(pack: Path) -> None:
    spoil(pack, SHIRK, "status: stable", "status: draft")
    assert "rule shirk does not run (draft or retired)" in items(pack)["T1"].missing


def test_a_profile_option_needs_a_profile_that_sets_it(pack: Path) -> None:
    spoil(pack, "profiles/strict.yaml", "  thanks: {options: {window: {last_turns: 2}}}\n", "")
    assert items(pack)["T3"].missing == ("no profile sets an option of thanks",)


def test_an_aggregate_needs_a_key_figure_that_names_the_clause(pack: Path) -> None:
    add_row(pack, "T5", "接通率", "operations", "aggregate", "conection_rate", "")
    add_row(pack, "T6", "接通率", "operations", "aggregate", "connection_rate", "")
    missing = {key: item.missing for key, item in items(pack).items()}
    assert missing["T5"] == ("no key figure 'conection_rate'; did you mean 'connection_rate'?",)
    assert missing["T6"] == ("the key figure connection_rate does not name it",)


def test_a_pack_that_does_not_load_proves_nothing(pack: Path) -> None:
    spoil(pack, SHIRK, "kind: forbid", "kind: forbit")
    with pytest.raises(ConfigError, match="forbit"):
        cover(str(pack))


# ---- the ledger


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (("T1", "又是推诿", "body", "rule", "shirk", ""), "T1 stands in"),
        (("T5", "新条款", "body", "rules", "shirk", ""), "T5: how is 'rules'; it is one of rule, metadata"),
        (("T5", "新条款", "body", "not enforced", "", ""), "T5: 'not enforced' needs a reason"),
        (("T5", "新条款", "body", "rule", "", ""), "T5: 'rule' needs the rules"),
        (("T5", "no Chinese", "body", "rule", "shirk", ""), "T5: norm must say the clause in Chinese"),
        (("", "新条款", "body", "rule", "shirk", ""), "no id in this row"),
        (("T5", "新条款", "body", "rule", "shirk", "", "x"), "7 cells for 6 columns"),
    ],
)
def test_a_faulty_row_is_named_by_file_and_line(pack: Path, row: tuple[str, ...], fault: str) -> None:
    add_row(pack, *row)
    ledger = read_ledger(pack)
    assert any(text.startswith(f"{pack.as_posix()}/clauses/all.tsv:6: {fault}") for text in ledger.faults), (
        ledger.faults
    )


def test_the_readme_states_how_many_clauses_there_must_be(pack: Path) -> None:
    assert read_ledger(pack).faults == ()
    add_row(pack, "T5", "新条款", "body", "not enforced", "", "听不出")
    assert read_ledger(pack).faults == (f"{pack.as_posix()}/clauses: 5 clauses where README.md states 4",)


def test_other_columns_are_refused(pack: Path) -> None:
    spoil(pack, LEDGER, "id\tnorm", "id\ttext")
    assert "all.tsv:1: the columns are id norm stage how rules reason" in read_ledger(pack).faults[0]


def test_a_pack_without_clauses_has_an_empty_ledger(tmp_path: Path) -> None:
    assert not read_ledger(tmp_path)


def test_rows_may_name_several_rules(pack: Path) -> None:
    add_row(pack, "T5", "新条款", "body", "metadata", "shirk thanks")
    clause = read_ledger(pack).clauses["T5"]
    assert (clause.how, clause.rules, clause.reason) == (How.METADATA, ("shirk", "thanks"), "")
