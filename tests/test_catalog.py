"""Packs on disk: all faults at once, each with its place and cure."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analyzer.catalog import digest, load_pack, open_pack, profile_faults, profiles
from analyzer.errors import ConfigError
from analyzer.rules import Status

SMALL = Path(__file__).parent / "pack"
RULE = "rules/speech/banned_phrase.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SMALL, tmp_path / "pack"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def faults(folder: Path, profile: str = "standard") -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_pack(folder, profile)
    return [line.replace(f"{folder.as_posix()}/", "") for line in str(error.value).splitlines()]


def test_a_pack_has_its_rules_words_and_profile() -> None:
    pack = load_pack(SMALL)
    assert (pack.name, pack.version, pack.profile.name) == ("small", "1", "standard")
    assert [rule.id for rule in pack.rules] == ["banned_phrase", "closing", "opening", "polite_quota", "speech_rate"]
    assert pack.profile.weights["banned_phrase"].per_hit
    assert profiles(SMALL) == ["modern", "standard"]


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (RULE, "kind: forbid", "kind: forbit", f"{RULE}:6: unknown kind 'forbit'; did you mean 'forbid'?"),
        (RULE, "speaker: agent", "speeker: agent", f"{RULE}:7: unknown key 'speeker'; did you mean 'speaker'?"),
        (RULE, "severity: major", "severity: mayor", f"{RULE}:4: severity: 'mayor' is not one of"),
        (RULE, "banned_shirk,", "banned_shrik,", f"{RULE}:8: unknown word list 'banned_shrik'; did you mean"),
        (RULE, "next_within_ms: 5000", "next_within_ms: 5 s", f"{RULE}:17: next_within_ms: "),
        (RULE, "title: 服务禁语\n", "", f"{RULE}:1: key 'title' is missing"),
        (RULE, "推诿, 傲慢厌烦]", "傲慢厌烦]", "words/banned_shirk.tsv:6: category '推诿' is not among categories"),
        (RULE, "  next_step:", "  next_stop:", "unknown exemption 'next_step'; did you mean 'next_stop'?"),
        (RULE, "[请, 麻烦]", "['(请', 麻烦]", f"{RULE}:16: '(请': '(' without ')'"),
        (
            RULE,
            "id: banned_phrase",
            "id: banned_phrases",
            f"{RULE}:1: id 'banned_phrases' differs from the file's name",
        ),
        (RULE, "cases:", "cases: [", f"{RULE}:"),
        ("rules/speech/closing.yaml", "[banned_phrase]", "[banned_phrases]", "did you mean 'banned_phrase'?"),
        (
            "rules/speech/closing.yaml",
            "last_turns: 3",
            "last_turn: 3",
            "unknown key 'last_turn'; did you mean 'last_turns'",
        ),
        ("rules/speech/closing.yaml", "last_turns: 3", "last_turns: 3, first_ms: 5", "a window has one measure"),
        ("rules/speech/speech_rate.yaml", "target: 120", "", "'rate' needs target, or low and high"),
        ("rules/speech/polite_quota.yaml", "min: 3", "", "'quota' needs min or max"),
        (
            "words/polite.tsv",
            "phrase\tboundary",
            "phrase\tboundry",
            "polite.tsv:5: unknown column 'boundry'; did you mean 'boundary'?",
        ),
        ("words/polite.tsv", "谢谢\t", "您好\t", "words/polite.tsv:8: '您好' stands in line 6 already"),
        ("words/polite.tsv", "# licence: Apache-2.0\n", "", "polite.tsv:1: header line '# licence: …' is missing"),
        ("words/polite.tsv", "谢谢\t", "{姓市}谢谢\t", "polite.tsv:8: '{姓市}谢谢': unknown slot {姓市}; did you mean"),
        ("words/slots.tsv", "欧阳", "(欧阳", "words/slots.tsv:7: "),
        ("pack.yaml", "back_channel: [back_channel]", "back_channel: [back]", "pack.yaml:4: unknown word list 'back'"),
        ("pack.yaml", 'version: "1"', "version: 1", "pack.yaml:2: 'version' must be given, as text"),
        (
            "profiles/standard.yaml",
            "opening:",
            "openning:",
            "standard.yaml:5: unknown rule 'openning'; did you mean 'opening'?",
        ),
        (
            "profiles/standard.yaml",
            "max_points: 5",
            "max_pionts: 5",
            "standard.yaml:9: unknown key 'max_pionts'; did you mean",
        ),
        (
            "profiles/standard.yaml",
            "deduct: 5",
            "options: {targt: 3}",
            "standard.yaml:9: unknown key 'targt'; did you mean 'target'?",
        ),
        ("profiles/standard.yaml", "pass_mark: 85", "pass_mark: 185", "profiles/standard.yaml:3: pass_mark: "),
    ],
)
def test_a_fault_names_file_line_and_cure(folder: Path, file: str, old: str, new: str, fault: str) -> None:
    edit(folder / file, old, new)
    found = faults(folder)
    assert any(fault in line for line in found), found


def test_all_faults_are_told_at_once(folder: Path) -> None:
    edit(folder / RULE, "kind: forbid", "kind: forbit")
    edit(folder / "rules/speech/closing.yaml", "last_turns: 3", "last_turn: 3")
    edit(folder / "words/polite.tsv", "谢谢\t", "(谢谢\t")
    assert len({line.split(":")[0] for line in faults(folder)}) == 3


def test_rules_that_need_each_other_are_refused(folder: Path) -> None:
    edit(folder / "rules/speech/closing.yaml", "[banned_phrase]", "[opening]")
    edit(folder / "rules/speech/opening.yaml", "[banned_phrase]", "[closing]")
    assert any("closing.yaml:" in line and "needs itself by way of 'opening'" in line for line in faults(folder))


def test_an_unknown_rule_is_told_where_it_is_asked_for(folder: Path) -> None:
    edit(folder / "rules/speech/closing.yaml", "[banned_phrase]", "[baned_phrase]")
    (fault,) = faults(folder)
    number = fault.split(":")[1]
    line = (folder / "rules/speech/closing.yaml").read_text(encoding="utf-8").splitlines()[int(number) - 1]
    assert "baned_phrase" in line
    assert "needs unknown rule 'baned_phrase'; did you mean 'banned_phrase'?" in fault


@pytest.mark.parametrize("file", [RULE, "words/polite.tsv"])
def test_a_file_in_another_encoding_is_told_with_line_and_cure(folder: Path, file: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_bytes(text.encode("gbk"))
    first = next(number for number, line in enumerate(text.splitlines(), 1) if not line.isascii())
    assert f"{file}:{first}: not UTF-8 (GBK perhaps); save the file as UTF-8" in faults(folder)


def test_spaces_in_place_of_tabs_are_told(folder: Path) -> None:
    path = folder / "words/polite.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = next(number for number, line in enumerate(lines) if "\t" in line and "谢谢" in line)
    lines[row] = "谢谢    polite"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert f"words/polite.tsv:{row + 1}: cells are divided by spaces; divide them by a tab" in faults(folder)
    path.write_text("\n".join(line.replace("\t", "  ") for line in lines), encoding="utf-8")
    assert any("columns are divided by spaces; divide them by a tab" in line for line in faults(folder))


def test_slots_may_not_hold_themselves_nor_take_our_names(folder: Path) -> None:
    (folder / "words/slots.tsv").write_text("slot\tpattern\n单位\t{单位}部\n数字\t百\n", encoding="utf-8")
    itself, ours = (line for line in faults(folder) if "slots.tsv" in line)
    assert itself.startswith("words/slots.tsv:2: ")
    assert itself.endswith("a slot may not hold itself")
    assert ours == "words/slots.tsv:3: {数字} is a slot of our own; give yours another name"


def test_an_unknown_profile_or_pack_says_what_there_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'modern'"):
        load_pack(folder, "moderm")
    with pytest.raises(ConfigError, match=r"no pack\.yaml"):
        load_pack(tmp_path / "nowhere")


def test_a_profile_changes_status_severity_and_options(folder: Path) -> None:
    edit(
        folder / "profiles/standard.yaml",
        "deduct: 5",
        "deduct: 5, status: trial, severity: info, options: {target: 200}",
    )
    rule = load_pack(folder).rule("speech_rate")
    assert rule.status is Status.TRIAL
    assert rule.severity == "info"
    assert (rule.check.low, rule.check.high) == (160, 240)  # type: ignore[attr-defined]


def test_draft_and_retired_rules_do_not_run(folder: Path) -> None:
    edit(folder / RULE, "status: stable", "status: draft")
    assert "banned_phrase" not in [rule.id for rule in load_pack(folder).rules]


def test_the_digest_changes_with_any_file_and_with_nothing_else(folder: Path) -> None:
    before = digest(folder)
    assert before == digest(SMALL)
    (folder / "NOTES.txt").write_text("not of the pack", encoding="utf-8")
    assert digest(folder) == before
    edit(folder / "words/polite.tsv", "谢谢\t", "多谢\t")
    assert digest(folder) != before


def extended(folder: Path, rules: str, base: str = "standard") -> None:
    """A profile ``house`` that extends another."""
    text = f"name: house\ntitle: 本中心\nextends: {base}\nrules:\n{rules}"
    (folder / "profiles" / "house.yaml").write_text(text, encoding="utf-8")


def test_a_profile_takes_over_what_it_does_not_say_itself(folder: Path) -> None:
    edit(folder / "profiles" / "standard.yaml", "polite_quota: {max_points: 15, ", "polite_quota: {enabled: false, ")
    extended(folder, "  opening: {max_points: 40}\n  polite_quota: {enabled: true}\n")
    below, house = load_pack(folder), load_pack(folder, "house")
    assert (house.profile.title, house.profile.pass_mark) == ("本中心", below.profile.pass_mark)
    assert house.profile.weights["banned_phrase"] == below.profile.weights["banned_phrase"]
    assert (house.profile.weights["opening"].max_points, house.profile.weights["opening"].deduct) == (40, 40)
    assert house.profile.weights["polite_quota"].deduct == 15
    assert {rule.id for rule in house.rules} - {rule.id for rule in below.rules} == {"polite_quota"}


@pytest.mark.parametrize(("base", "why"), [("standrad", "extends an unknown profile 'standrad'"), ("house", "itself")])
def test_a_profile_extends_one_there_is_and_not_itself(folder: Path, base: str, why: str) -> None:
    extended(folder, "  opening: {max_points: 40}\n", base)
    (fault,) = faults(folder, "house")
    assert fault.startswith("profiles/house.yaml:3: ")
    assert why in fault


def test_faults_of_all_profiles_are_found_with_one_reading_of_the_rules(folder: Path) -> None:
    extended(folder, "  opening: {options: {windo: 3}}\n  openig: {max_points: 1}\n")
    opened = open_pack(folder)
    assert opened.faults == ()
    unknown_key, unknown_rule = profile_faults(opened)
    assert "house.yaml:5: unknown key 'windo'" in unknown_key
    assert "house.yaml:6: unknown rule 'openig'; did you mean 'opening'?" in unknown_rule
