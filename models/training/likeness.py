"""Train the likeness model of ``banned_phrase`` from labelled sentences, and set its thresholds on others.

    python -m models.training.likeness [--out lexicons/models/banned_phrase.json]

``wording/agents_*.tsv`` teach it (columns text, label), with copies as a recogniser might have misheard them, and what
agents say in the passing cases of the rules. What it may do, sentences decide that nothing was tuned on and that other
writers wrote, ``wording/validation*.tsv``, and the ordinary turns of ``bench/data/rules``, in none of which anything is
forbidden. They are judged as calls are, by the whole rule: what a listed phrase finds or an exemption excuses is not
the model's doing.

* ``deduct_from``: the lowest probability from which the precision on the validation sentences has a Wilson lower bound
  (95 %) of at least 0.98 and no more than one ordinary turn in a thousand is found; null where there is none;
* ``show_from``: the lowest probability from which that precision is at least 0.95 and no more than one ordinary turn in
  a thousand is found: shown to people as unsure.

Needs scikit-learn, which the product does not.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from analyzer.catalog import LIKENESS_SCHEMA, load_pack
from analyzer.normalize import fold
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack
from analyzer.rules.forbid import Forbid
from analyzer.rules.likeness import UNIT, names
from analyzer.transcripts import read_call
from bench.error_simulator import garble
from bench.rules import call_of

HERE = Path(__file__).parent / "wording"
ROOT = Path(__file__).parent.parent.parent
RULE = "banned_phrase"
FINE = "无"
MISHEARD_AT = (0.1, 0.2, 0.1)  # character error rates of the garbled copies; no two have the same errors
WANTED_BOUND, SHOWN_PRECISION = 0.98, 0.95
ALARMS = 0.001  # share of ordinary turns that may be found
STRENGTH = 0.5  # inverse regularisation, chosen by cross-validation on the teaching sentences
COPIES = 1 + len(MISHEARD_AT)
RAREST = 1 + COPIES  # occurrences of an n-gram, copies counted: it stands in two sentences at least
KEPT = 0.04  # a weaker weight changes hardly a verdict; what is left is what is measured
KEPT_CATEGORY = 0.15

AGENT_LINE = re.compile(r"坐席[^:：\n]*[:：] *(.+)")

Labelled = tuple[str, str]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def read(paths: Iterable[Path]) -> list[Labelled]:
    rows: list[Labelled] = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as lines:
            rows += [(r["text"], r["label"]) for r in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return rows


def passing_lines() -> list[Labelled]:
    """What agents say in cases in which nothing is marked and the rule passes."""
    lines = []
    for path in sorted((ROOT / "lexicons" / "rules").rglob("*.yaml")):
        for case in YAML(typ="safe").load(path).get("cases", []):
            if "[[" not in case["call"] and case.get("expect", {}).get("outcome", "pass") == "pass":
                lines += [(text, FINE) for text in AGENT_LINE.findall(case["call"])]
    return lines


def features(text: str) -> list[str]:
    return sorted(names(fold(text).text))


def misheard(rows: Sequence[Labelled]) -> list[Labelled]:
    return [(garble(text, rate, seed), label) for seed, rate in enumerate(MISHEARD_AT) for text, label in rows]


def wilson_lower(hits: int, of: int, z: float = 1.96) -> float:
    """Lower bound of Wilson's score interval; 0 for no trials."""
    if not of:
        return 0.0
    share, spread = hits / of, z * z / of
    return (share + spread / 2 - z * math.sqrt(share * (1 - share) / of + spread / of / 4)) / (1 + spread)


def forbidden(rows: Sequence[Labelled]) -> Bools:
    return np.array([label != FINE for _, label in rows])


class Trained:
    """The two fitted regressions and the n-grams to write them down in."""

    def __init__(self, rows: Sequence[Labelled]) -> None:
        self._vectors = CountVectorizer(analyzer=features, binary=True, min_df=RAREST)
        matrix = csr_matrix(self._vectors.fit_transform([text for text, _ in rows]))
        is_forbidden = forbidden(rows)
        self._detector = LogisticRegression(C=STRENGTH, solver="liblinear").fit(matrix, is_forbidden)
        self._detector.coef_[np.abs(self._detector.coef_) < KEPT] = 0
        labels = np.array([label for _, label in rows])
        each = LogisticRegression(C=STRENGTH, solver="liblinear")
        self._sorter = OneVsRestClassifier(each).fit(matrix[is_forbidden], labels[is_forbidden])

    def chances(self, texts: Sequence[str]) -> Floats:
        """Probability of each sentence to be forbidden."""
        return np.asarray(self._detector.predict_proba(self._vectors.transform(texts))[:, 1])

    def as_json(self, deduct_from: float | None, show_from: float) -> dict[str, Any]:
        names = self._vectors.get_feature_names_out()
        tips = self._detector.coef_[0]
        sorts = np.array([each.coef_[0] for each in self._sorter.estimators_]).T
        biases = [each.intercept_[0] for each in self._sorter.estimators_]
        return {
            "schema": LIKENESS_SCHEMA,
            "deduct_from": deduct_from,
            "show_from": show_from,
            "bias": hundredths(self._detector.intercept_[0]),
            "categories": self._sorter.classes_.tolist(),
            "category_biases": list(map(hundredths, biases)),
            "weights": {str(n): hundredths(w) for n, w in sorted(zip(names, tips, strict=True)) if w},
            "category_weights": {
                str(names[i]): list(map(hundredths, sorts[i]))
                for i in np.argsort(names)
                if np.abs(sorts[i]).max() >= KEPT_CATEGORY
            },
        }


def hundredths(weight: float) -> int:
    return round(UNIT * float(weight))


def threshold(chances: Floats, right: Bools, holds: Callable[[int, int], bool]) -> float | None:
    """The lowest probability from which ``holds(right, found)`` is true of the sentences above it."""
    order = np.argsort(-chances)
    hits = np.cumsum(right[order])
    fitting = [i for i in range(len(order)) if chances[order[i]] > 0 and holds(int(hits[i]), i + 1)]
    return math.ceil(1e4 * chances[order[fitting[-1]]]) / 1e4 if fitting else None


def exceeded_by(chances: Floats, share: float) -> float:
    """The lowest probability that no more than this share of the sentences reach."""
    descending = np.sort(chances)[::-1]
    return math.ceil(1e4 * (float(descending[int(share * len(descending))]) + 1e-4)) / 1e4


def only(model: dict[str, Any], pack: Pack) -> Pack:
    """The pack with nothing but the model's rule, which may deduct from even odds on."""
    rule = pack.rule(RULE)
    check = rule.check
    assert isinstance(check, Forbid)
    assert check.likeness
    likeness = check.likeness.read({**model, "deduct_from": 0.5, "show_from": 0.5}, check.likeness.phrases)
    return replace(pack, rules=(replace(rule, check=replace(check, likeness=likeness)),))


def left_to_the_model(texts: Sequence[str], pack: Pack) -> Bools:
    """Which sentences no listed phrase finds and no exemption excuses."""
    left = []
    for number, text in enumerate(texts):
        call_id = str(number)
        findings = rule_entry(analyze(read_call(call_of([("agent", text)], call_id), call_id), pack), RULE)["findings"]
        left.append(bool(findings) and all(finding["match"] == "model" for finding in findings))
    return np.array(left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "lexicons" / "models" / f"{RULE}.json")
    given = parser.parse_args()
    taught = read(sorted(HERE.glob("agents_*.tsv")))
    trained = Trained([*taught, *misheard(taught), *COPIES * passing_lines()])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, trained.as_json(None, 1.0))

    pack = only(trained.as_json(None, 1.0), load_pack("standard"))
    held_out = read(sorted(HERE.glob("validation*.tsv")))
    texts = [text for text, _ in held_out]
    chances = trained.chances(texts) * left_to_the_model(texts, pack)
    right = forbidden(held_out)
    lines = (ROOT / "bench" / "data" / "rules" / "ordinary_turns.txt").read_text(encoding="utf-8").split("\n")
    turns = [line.strip() for line in lines if line.strip()]
    ordinary = trained.chances(turns) * left_to_the_model(turns, pack)
    deduct = threshold(chances, right, lambda hits, found: wilson_lower(hits, found) >= WANTED_BOUND)
    deduct = deduct if deduct is None else max(deduct, exceeded_by(ordinary, ALARMS))
    show = threshold(chances, right, lambda hits, found: hits / found >= SHOWN_PRECISION)
    show = show if show is None else max(show, exceeded_by(ordinary, ALARMS))
    print(f"taught by {len(taught)} sentences; validation {len(held_out)}, {int(right.sum())} forbidden")
    for name, bound in (("deduct_from", deduct), ("show_from", show)):
        found = chances >= (2 if bound is None else bound)
        hits, of = int((found & right).sum()), int(found.sum())
        alarms = int((ordinary >= (2 if bound is None else bound)).sum())
        print(
            f"{name} {bound}: {hits}/{of} right, Wilson from {wilson_lower(hits, of):.3f}; "
            f"{alarms} of {len(turns)} ordinary turns"
        )
    model = trained.as_json(deduct, 1.0 if show is None else show)
    save(given.out, model)
    print(f"{len(model['weights'])} n-grams, {given.out.stat().st_size} bytes")


def save(path: Path, model: dict[str, Any]) -> None:
    path.write_text(json.dumps(model, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
