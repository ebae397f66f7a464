"""The likeness model: what it finds, why, and what it may not do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from analyzer.catalog import load_pack
from analyzer.errors import ConfigError
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack
from analyzer.transcripts import read_case
from tests.tiny_pack import write_tiny_pack

ROOT = Path(__file__).parent.parent
WORDING = ROOT / "models" / "training" / "wording"
ORDINARY_TURNS = ROOT / "bench" / "data" / "rules" / "ordinary_turns.txt"

MODEL = """{"schema": "analyzer.likeness/2", "deduct_from": 0.9, "show_from": 0.6,
 "bias": -400, "weights": {"没空管": 800, "mei kong": 100, "快点": 500, "改吗": 300, "您自": 300},
 "categories": ["推诿", "命令"], "category_biases": [0, 0],
 "category_weights": {"没空管": [100, 0], "快点": [0, 100]}}"""


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    folder = write_tiny_pack(tmp_path / "pack")
    (folder / "models").mkdir()
    (folder / "models" / "tiny.json").write_text(MODEL, encoding="utf-8")
    rule = folder / "rules" / "forbidden" / "banned_phrase.yaml"
    text = rule.read_text(encoding="utf-8")
    rule.write_text(
        text.replace(
            "cases: []",
            "categories: [推诿, 命令]\nmodel: {name: tiny, severity: {推诿: critical, 命令: major}}\ncases: []",
        ).replace("any_of: [不关我的事]", "any_in: [shirk]"),
        encoding="utf-8",
    )
    (folder / "words").mkdir(exist_ok=True)
    header = "# name: shirk\n# title: 推诿\n# source: own\n# licence: Apache-2.0\nphrase\tcategory\n"
    (folder / "words" / "shirk.tsv").write_text(header + "不关我的事\t推诿\n", encoding="utf-8")
    return load_pack(folder)


def entry(line: str, pack: Pack) -> dict[str, object]:
    return dict(rule_entry(analyze(read_case(f"00:01.0 坐席: {line}").transcript, pack), "banned_phrase"))


def test_a_sentence_above_the_deducting_probability_violates_and_quotes_what_decided(pack: Pack) -> None:
    found = entry("您好。这个我没空管啦。", pack)
    assert found["outcome"] == "violation"
    finding = found["findings"][0]  # type: ignore[index]
    assert (finding["match"], finding["category"], finding["severity"]) == ("model", "推诿", "critical")
    assert finding["quote"] == "没空管"


def test_a_sentence_below_it_is_unsure_and_one_below_the_showing_one_is_fine(pack: Pack) -> None:
    assert entry("您快点说。", pack)["outcome"] == "unsure"
    assert entry("您慢慢说。", pack)["outcome"] == "pass"


def test_a_short_utterance_of_several_sentences_is_also_read_as_one(pack: Pack) -> None:
    assert entry("能改吗？", pack)["outcome"] == "pass"
    found = entry("能改吗？您自己看看。", pack)
    assert found["outcome"] == "unsure"
    assert [finding["quote"] for finding in found["findings"]] == ["改吗？您自"]  # type: ignore[attr-defined]
    assert entry("能改吗？您自己看看。" + "我再帮您核对一遍资料，" * 5, pack)["outcome"] == "pass"


def test_a_listed_phrase_keeps_the_model_out_of_its_sentence(pack: Pack) -> None:
    found = entry("不关我的事，我没空管。", pack)
    assert [finding["match"] for finding in found["findings"]] == ["exact"]  # type: ignore[attr-defined]


def test_a_model_of_another_kind_or_name_is_a_fault(tmp_path: Path, pack: Pack) -> None:
    folder = tmp_path / "pack"
    (folder / "models" / "tiny.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"tiny\.json:1: not a likeness model"):
        load_pack(folder)
    (folder / "models" / "tiny.json").rename(folder / "models" / "other.json")
    (folder / "models" / "other.json").write_text(MODEL, encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown model 'tiny'"):
        load_pack(folder)


def test_the_model_is_part_of_the_packs_digest(tmp_path: Path, pack: Pack) -> None:
    model = tmp_path / "pack" / "models" / "tiny.json"
    model.write_text(MODEL.replace("0.9,", "0.95,"), encoding="utf-8")
    assert load_pack(tmp_path / "pack").digest != pack.digest


def sentences(paths: Iterable[Path]) -> list[str]:
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [re.sub(r"\W", "", line.split("\t")[0]) for line in lines]


def test_no_sentence_teaches_twice_or_measures_what_it_taught() -> None:
    """Unlike words, which lists repeat on purpose: a model is measured on sentences it has not seen."""
    taught = sentences(WORDING.glob("agents_*.tsv"))
    assert len(taught) == len(set(taught))
    measured = [*sentences(WORDING.glob("validation*.tsv")), *sentences([ORDINARY_TURNS])]
    assert not set(taught) & set(measured)
