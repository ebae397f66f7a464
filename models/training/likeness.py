"""Train the likeness model of a ``forbid`` rule from labelled sentences, and set its thresholds on others.

    python -m models.training.likeness [--out lexicons/models/banned_phrase.json]

``wording/agents_*.tsv`` teach it (columns text, label), with copies as a recogniser might have misheard them, and what
agents say in the passing cases of the rules. What it may do, sentences decide that nothing was tuned on,
``wording/validation.tsv``, a third of them forbidden, and the ordinary turns of ``bench/data/rules``, none of them:

* ``deduct_from``: the lowest probability from which the precision on the validation sentences has a Wilson lower bound
  (95 %) of at least 0.98 and no more than one ordinary turn in a thousand is found; null where there is none;
* ``show_from``: the lowest probability from which that precision is at least 0.9 and no more than two ordinary turns in
  a thousand are found: shown to people as unsure.

Needs scikit-learn, which the product does not.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from analyzer.normalize import fold
from analyzer.rules.likeness import ngrams
from bench.error_simulator import garble

HERE = Path(__file__).parent / "wording"
ROOT = Path(__file__).parent.parent.parent
FINE = "无"
MISHEARD_AT = (0.1, 0.2)  # character error rates of the garbled copies
WANTED_BOUND, SHOWN_PRECISION = 0.98, 0.9
ALARMS_DEDUCTED, ALARMS_SHOWN = 0.001, 0.002  # of ordinary turns
KEPT = 0.1  # a weight below this in every category changes hardly a verdict
STRENGTH = 2.0  # inverse regularisation, chosen by cross-validation on the teaching sentences

AGENT_LINE = re.compile(r"坐席[^:：\n]*[:：] *(.+)")

Labelled = tuple[str, str]


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
    return sorted({name for name, _, _ in ngrams(fold(text).text)})


def misheard(rows: Sequence[Labelled]) -> list[Labelled]:
    return [(garble(text, rate, seed), label) for seed, rate in enumerate(MISHEARD_AT) for text, label in rows]


def wilson_lower(hits: int, of: int, z: float = 1.96) -> float:
    """Lower bound of Wilson's score interval; 0 for no trials."""
    if not of:
        return 0.0
    share, spread = hits / of, z * z / of
    return (share + spread / 2 - z * math.sqrt(share * (1 - share) / of + spread / of / 4)) / (1 + spread)


class Trained:
    """A fitted model and the words to write it down in."""

    def __init__(self, rows: Sequence[Labelled]) -> None:
        self._vectors = CountVectorizer(analyzer=features, binary=True, min_df=2)
        matrix = self._vectors.fit_transform([text for text, _ in rows])
        self._regression = LogisticRegression(C=STRENGTH, max_iter=1_000, class_weight=None)
        self._regression.fit(matrix, [label for _, label in rows])
        self.labels: list[str] = list(self._regression.classes_)

    def forbidden(self, rows: Sequence[Labelled]) -> NDArray[np.float64]:
        """Probability of each sentence to be none of the fine ones."""
        chances = self._regression.predict_proba(self._vectors.transform([text for text, _ in rows]))
        return np.asarray(1 - chances[:, self.labels.index(FINE)])

    def as_json(self, deduct_from: float | None, show_from: float) -> dict[str, Any]:
        weights, bias = self._regression.coef_, self._regression.intercept_
        fine = self.labels.index(FINE)
        others = [i for i in range(len(self.labels)) if i != fine]
        relative = (weights - weights[fine])[others].T
        names = self._vectors.get_feature_names_out()
        kept = np.abs(relative).max(axis=1) >= KEPT
        return {
            "schema": "analyzer.likeness/1",
            "categories": [self.labels[i] for i in others],
            "deduct_from": deduct_from,
            "show_from": show_from,
            "bias": [round(float(v), 3) for v in (bias - bias[fine])[others]],
            "weights": {
                name: [round(float(v), 2) for v in row]
                for name, row, keep in sorted(zip(names, relative, kept, strict=True), key=lambda item: item[0])
                if keep
            },
        }


def threshold(chances: NDArray[np.float64], forbidden: NDArray[np.bool_], holds: Any) -> float | None:
    """The lowest probability from which ``holds(right, found)`` is true of the sentences above it."""
    order = np.argsort(-chances)
    right = np.cumsum(forbidden[order])
    fitting = [i for i in range(len(order)) if holds(int(right[i]), i + 1)]
    return round(float(chances[order[fitting[-1]]]), 4) if fitting else None


def exceeded_by(descending: NDArray[np.float64], share: float) -> float:
    """The lowest probability that no more than this share of the sentences reach."""
    return round(float(descending[int(share * len(descending))]) + 1e-4, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "lexicons" / "models" / "banned_phrase.json")
    given = parser.parse_args()
    taught = read(sorted(HERE.glob("agents_*.tsv")))
    held_out = read([HERE / "validation.tsv"])
    fine = 3 * passing_lines()  # few and telling: look-alikes of forbidden phrases
    trained = Trained([*taught, *misheard(taught), *fine])
    chances = trained.forbidden(held_out)
    forbidden = np.array([label != FINE for _, label in held_out])
    turns = (ROOT / "bench" / "data" / "rules" / "ordinary_turns.txt").read_text(encoding="utf-8").split("\n")
    ordinary = np.sort(trained.forbidden([(turn, FINE) for turn in turns if turn.strip()]))[::-1]
    deduct = threshold(chances, forbidden, lambda right, found: wilson_lower(right, found) >= WANTED_BOUND)
    deduct = deduct if deduct is None else max(deduct, exceeded_by(ordinary, ALARMS_DEDUCTED))
    show = threshold(chances, forbidden, lambda right, found: right / found >= SHOWN_PRECISION)
    show = show if show is None else max(show, exceeded_by(ordinary, ALARMS_SHOWN))
    print(f"taught by {len(taught)} sentences; validation {len(held_out)}, forbidden {int(forbidden.sum())}")
    for name, bound in (("deduct_from", deduct), ("show_from", show)):
        found = chances >= (2 if bound is None else bound)
        right = int((found & forbidden).sum())
        share = f"{right}/{int(found.sum())} right, Wilson from {wilson_lower(right, int(found.sum())):.3f}"
        print(f"{name} {bound}: {share}, recall {right / max(1, forbidden.sum()):.3f}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    model = trained.as_json(deduct, 1.0 if show is None else show)
    given.out.write_text(json.dumps(model, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(model['weights'])} n-grams, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
