"""Editing a pack: what breaks is said, what flips is listed, and a version is published as a whole or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analyzer.catalog import load_pack, pack_digest
from analyzer.errors import ConfigError
from analyzer.publishing import Edit, current, edited, examine, flips, publish, read_edits, try_dialogue, versions
from analyzer.rescore.stored import stored_calls
from tests.tiny_pack import write_tiny_pack

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BANNED = "rules/forbidden/banned_phrase.yaml"
CASES = """\
cases:
  - name: 坐席推诿
    call: |
      00:02.0 坐席: [[不关我的事]]。
  - name: 客户说的不算
    call: |
      00:02.0 客户: 不关我的事。
      00:05.0 坐席: 好的。
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = write_tiny_pack(tmp_path / "tiny")
    path = folder / BANNED
    path.write_text(path.read_text(encoding="utf-8").replace("cases: []\n", CASES), encoding="utf-8")
    return folder


def text_of(pack: Path, file: str = BANNED) -> str:
    return (pack / file).read_text(encoding="utf-8")


def with_phrase(pack: Path) -> Edit:
    return Edit(BANNED, text_of(pack).replace("[不关我的事]\n", "[不关我的事, 您问别人]\n", 1))


def test_an_edit_that_keeps_every_case_can_be_published(pack: Path) -> None:
    examined = examine(pack, [with_phrase(pack)])
    assert examined.is_publishable
    assert examined.cases == 2


def test_a_file_that_is_no_rule_any_more_is_named_with_its_line(pack: Path) -> None:
    examined = examine(pack, [Edit(BANNED, text_of(pack).replace("kind: forbid", "kind: forbit"))])
    fault = examined.faults[0]
    assert fault.file == BANNED
    assert text_of(pack).splitlines()[(fault.line or 0) - 1] == "kind: forbid"
    assert "forbid" in fault.message


def test_a_case_that_no_longer_holds_is_named_with_its_line(pack: Path) -> None:
    examined = examine(pack, [Edit(BANNED, text_of(pack).replace("any_of: [不关我的事]", "any_of: [您问别人]"))])
    assert not examined.is_publishable
    [failing] = [one for one in examined.failing if "坐席推诿" in one.message and "outcome" in one.message]
    assert "name: 坐席推诿" in text_of(pack).splitlines()[(failing.line or 0) - 1]


@pytest.mark.parametrize(
    "file", ["../x.yaml", "rules/x.yaml", "pack.yaml", "rules/a/b.py", "/etc/passwd", "words/../x.tsv"]
)
def test_nothing_outside_rules_words_and_profiles_can_be_edited(file: str) -> None:
    with pytest.raises(ConfigError, match="can be edited"):
        Edit(file, "")


def test_examining_leaves_the_pack_as_it_was(pack: Path) -> None:
    before = pack_digest(pack)
    with edited(pack, [with_phrase(pack)]) as folder:
        assert pack_digest(folder) != before
    assert pack_digest(pack) == before
    assert not folder.exists()


def call(text: str, call_id: str) -> dict[str, object]:
    turns = [{"role": "agent", "start_ms": 500, "end_ms": 3000, "text": text}]
    return {"call_id": call_id, "direction": "inbound", "duration_ms": 9000, "turns": turns}


@pytest.mark.parametrize("rules", [["banned_phrase"], []], ids=["one rule", "all rules"])
def test_exactly_the_calls_that_flip_are_listed(pack: Path, tmp_path: Path, rules: list[str]) -> None:
    lines = [call("您好，云岭银行", "a"), call("您问别人吧", "b"), call("不关我的事", "c"), call("您问别人", "d")]
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    with edited(pack, [with_phrase(pack)]) as folder:
        found = flips(load_pack(pack), load_pack(folder), rules, stored_calls([path]))
    assert (found.calls, found.faults) == (4, 0)
    assert [change.call_id for change in found.changes] == ["b", "d"]
    assert found.changes[0].rules == {"banned_phrase": ("pass", "violation")}


def test_a_dialogue_is_judged_as_it_is_pasted(pack: Path) -> None:
    report = try_dialogue(load_pack(pack), "坐席: 您好，云岭银行。\n客户: 你好。\n坐席: 不关我的事。\n")
    [finding] = next(entry for entry in report["rules"] if entry["rule"] == "banned_phrase")["findings"]
    assert finding["quote"] == "不关我的事"


def test_a_version_has_its_own_digest_and_says_who_made_it_of_what(pack: Path, tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    made = publish(pack, [with_phrase(pack)], packs, version="2", author="王", note="补充推诿说法", at=NOW)
    loaded = load_pack(made.folder)
    assert (loaded.version, loaded.digest) == ("2", made.digest)
    assert made.base_digest == load_pack(pack).digest != made.digest
    assert versions(packs) == [made]
    assert current(packs, pack) == made.folder


def test_a_version_is_never_changed_again(pack: Path, tmp_path: Path) -> None:
    publish(pack, [with_phrase(pack)], tmp_path / "packs", version="2", author="王", note="", at=NOW)
    with pytest.raises(ConfigError, match="published already"):
        publish(pack, [], tmp_path / "packs", version="2", author="李", note="", at=NOW)


def test_a_pack_with_a_failing_case_is_not_published(pack: Path, tmp_path: Path) -> None:
    broken = Edit(BANNED, text_of(pack).replace("any_of: [不关我的事]", "any_of: [您问别人]"))
    with pytest.raises(ConfigError, match="坐席推诿"):
        publish(pack, [broken], tmp_path / "packs", version="2", author="王", note="", at=NOW)
    assert versions(tmp_path / "packs") == []
    assert not (tmp_path / "packs").exists() or not any((tmp_path / "packs").iterdir())


def test_a_pack_is_found_from_where_one_stands(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack)
    made = publish(Path(), [with_phrase(pack)], tmp_path / "packs", version="2", author="王", note="", at=NOW)
    assert "您问别人" in (made.folder / BANNED).read_text(encoding="utf-8")


def test_a_misspelt_placeholder_is_named_with_its_line(pack: Path) -> None:
    message = next(line for line in text_of(pack).splitlines() if line.startswith("message:"))
    examined = examine(pack, [Edit(BANNED, text_of(pack).replace(message, "message: 用了{quot}"))])
    fault = examined.faults[0]
    assert (fault.file, fault.line) == (BANNED, text_of(pack).splitlines().index(message) + 1)
    assert "unknown placeholder {quot}; known: {quote}" in fault.message


def test_the_newest_version_judges_what_begins_now(pack: Path, tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    assert current(packs, pack) == pack
    publish(pack, [], packs, version="2", author="王", note="", at=NOW)
    newest = publish(pack, [], packs, version="3", author="王", note="", at=NOW.replace(month=12))
    assert current(packs, pack) == newest.folder


def test_files_on_disk_find_their_place_in_the_pack(pack: Path) -> None:
    [edit] = read_edits([pack / BANNED])
    assert edit == Edit(BANNED, text_of(pack))
