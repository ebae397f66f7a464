"""The published schemas of rules, word lists and profiles say what the loader says."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from analyzer.rules import KINDS
from analyzer.rules.faults import RuleFaults
from analyzer.rules.phrases import read_phrase
from analyzer.schemas import SCHEMAS, rule_schema

LEXICONS = Path(__file__).parent.parent / "lexicons"
PUBLISHED = Path(__file__).parent.parent / "docs" / "schemas"


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((PUBLISHED / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(name: str, fields: Any) -> list[str]:
    return [error.message for error in validator(name).iter_errors(fields)]


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def read_list(path: Path) -> dict[str, Any]:
    lines = path.read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.startswith("#")]
    header = {key.strip(): value.strip() for key, _, value in (line.lstrip("# ").partition(":") for line in heads)}
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(body, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    return {"header": header, "rows": [{key: cell.strip() for key, cell in row.items()} for row in rows]}


def test_every_file_of_the_standard_pack_follows_its_schema() -> None:
    wrong = {}
    for path in sorted((LEXICONS / "rules").rglob("*.yaml")):
        wrong[path.name] = faults("rule", read_yaml(path))
    for path in sorted((LEXICONS / "profiles").glob("*.yaml")):
        wrong[path.name] = faults("profile", read_yaml(path))
    for path in sorted((LEXICONS / "words").glob("*.tsv")):
        if path.stem != "slots":
            wrong[path.name] = faults("words", read_list(path))
    assert {name: problems for name, problems in wrong.items() if problems} == {}


RULE = {
    "id": "shirk", "title": "推诿", "severity": "major", "kind": "forbid", "message": "推诿", "any_of": ["不关我的事"],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"kind": "forbit"}, {"severity": "bad"}, {"any_off": ["不"]}, {"id": "Shirk!"}, {"message": ""}, {"any_of": "不"},
     {"window": {"first_turns": 0}}, {"cases": [{"name": "没有通话"}]}],
    ids=str,
)  # fmt: skip
def test_a_rule_the_loader_refuses_is_refused_by_the_schema(change: dict[str, Any]) -> None:
    from analyzer.rules import Words, parse_rule

    assert faults("rule", RULE) == []
    parse_rule(RULE, Words())
    assert faults("rule", {**RULE, **change}) != []
    with pytest.raises(RuleFaults):
        parse_rule({**RULE, **change}, Words())


def test_every_kind_of_check_has_its_form() -> None:
    assert rule_schema()["properties"]["kind"]["enum"] == list(KINDS)
    assert set(KINDS) <= set(rule_schema()["$defs"])


@pytest.mark.parametrize("column", ["severity", "boundary", "sound"])
@pytest.mark.parametrize("value", ["", "toneless", "fuzzy", "off", "both", "left", "right", "none", "minor", "wrong"])
def test_a_cell_is_allowed_by_the_schema_if_the_loader_takes_it(column: str, value: str) -> None:
    head = {"name": "shirk", "title": "推诿", "source": "tests", "licence": "Apache-2.0"}
    row = {"phrase": "这不关我的事", column: value}
    try:
        read_phrase(row, {})
        is_read = True
    except RuleFaults:
        is_read = False
    assert (faults("words", {"header": head, "rows": [row]}) == []) is is_read


def test_a_profile_with_an_unknown_key_is_refused() -> None:
    assert faults("profile", {"name": "p", "rules": {"shirk": {"max_points": 5}}}) == []
    assert faults("profile", {"name": "p", "rules": {"shirk": {"points": 5}}}) != []
    assert faults("profile", {"name": "p", "pass_mark": 120}) != []


def test_each_schema_names_what_it_is_of() -> None:
    assert {name: make()["$id"] for name, make in SCHEMAS.items()} == {
        "rule": "analyzer.rule/1", "words": "analyzer.words/1", "profile": "analyzer.profile/1",
    }  # fmt: skip
