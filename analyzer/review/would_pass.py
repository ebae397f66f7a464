"""What would have had to be otherwise for a finding's rule to pass, in one Chinese sentence.

Read off the report alone: what was measured against which limit, which elements are missing at which level, and the
words that were said. It is the nearest way to a pass, not the only one; where nothing exact can be said it is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analyzer.labels import clock

_ABSENT = "absent"
_BANDS = {"absolute": "", "customer": "（与客户语速相称）"}


def would_pass_if(
    finding: Mapping[str, Any],
    rule: Mapping[str, Any] | None,
    *,
    others: int = 0,
    levels: Mapping[str, Any] | None = None,
    titles: Mapping[str, str] | None = None,
) -> str | None:
    """How the rule of a finding would have passed.

    finding  as the desk's API shows one: outcome, source, match, category, quote, start_ms, end_ms, suggestion
    rule     what the report says of its rule: level, measured, elements; null where it did not apply
    others   how many further findings keep the same rule from passing
    levels   of the rule in the call's direction (``review.final.pack_weights``): core, others, pass; null if unknown
    titles   what its elements are called; one that is not there goes by its id

    >>> slow = {"measured": {"value": 13.6, "unit": "秒", "low": None, "high": 3}}
    >>> would_pass_if({"outcome": "violation", "match": "absent"}, slow)
    '如果不超过 3 秒（实测 13.6 秒，超出 10.6 秒），则通过'
    """
    if finding["outcome"] not in ("violation", "unsure"):
        return None
    names = titles or {}
    condition = (
        _by_elements(finding, rule or {}, levels, names)
        or _by_measure((rule or {}).get("measured"))
        or _by_words(finding, others)
        or _by_absence(finding)
    )
    if condition is None:
        return None
    return f"{'如果能确认' if finding['outcome'] == 'unsure' else '如果'}{condition}，则通过"


# ---- elements


def _by_elements(
    finding: Mapping[str, Any], rule: Mapping[str, Any], levels: Mapping[str, Any] | None, titles: Mapping[str, str]
) -> str | None:
    elements = rule.get("elements") or {}
    if rule.get("level") is None or not elements or finding["match"] != _ABSENT:
        return None
    absent = [name for name, element in elements.items() if not element["present"]]
    if levels is None:
        wanted = [name for name in absent if name == finding.get("category")] or absent
        return f"还说到{_listed(wanted, titles)}" if wanted else None
    return _by_level(elements, absent, levels, titles)


def _by_level(
    elements: Mapping[str, Any], absent: list[str], levels: Mapping[str, Any], titles: Mapping[str, str]
) -> str | None:
    """What lacks to the level that passes: core elements, supporting ones, and so many in all."""
    wanted, core = levels["pass"], levels["core"]
    core_wanted = len(core) if wanted["core"] is None else wanted["core"]
    core_absent = [name for name in absent if name in core]
    others_absent = [name for name in absent if name not in core]
    said, core_said = len(elements) - len(absent), len(core) - len(core_absent)
    core_lacking = max(0, core_wanted - core_said)
    lacking = max(wanted["supporting"] - (said - core_said), wanted["elements"] - said - core_lacking)
    parts = [_some_of(core_absent, core_lacking, titles), _some_of(others_absent, lacking, titles)]
    wanted_words = [part for part in parts if part]
    return f"还说到{'，并且说到'.join(wanted_words)}" if wanted_words else None


def _some_of(names: list[str], count: int, titles: Mapping[str, str]) -> str | None:
    if count <= 0 or not names:
        return None
    if count >= len(names):
        return _listed(names, titles)
    return f"{_listed(names, titles)}中的{'任一项' if count == 1 else f'任 {count} 项'}"


def _listed(names: Iterable[str], titles: Mapping[str, str]) -> str:
    return "、".join(f"“{titles.get(name, name)}”" for name in names)


# ---- measures


def _by_measure(measured: Mapping[str, Any] | None) -> str | None:
    if not measured:
        return None
    value, low, high = measured["value"], measured.get("low"), measured.get("high")
    unit = measured.get("unit") or ""
    if unit == "毫秒":
        unit, value, low, high = "秒", *(None if one is None else one / 1000 for one in (value, low, high))
    bands = [_band(band, unit) for band in measured.get("bands") or () if not band["inside"]]
    if bands:
        return f"在 {'，或在 '.join(bands)}（实测 {_amount(value, unit)}）"
    if high is not None and value > high:
        if high == 0:
            return f"一{unit or '次'}也没有（实测 {_amount(value, unit)}）"
        return f"不超过 {_amount(high, unit)}（实测 {_amount(value, unit)}，超出 {_amount(value - high, unit)}）"
    if low is not None and value < low:
        return f"不低于 {_amount(low, unit)}（实测 {_amount(value, unit)}，还差 {_amount(low - value, unit)}）"
    return None


def _band(band: Mapping[str, Any], unit: str) -> str:
    return f"{_amount(band['low'])}–{_amount(band['high'], unit)}{_BANDS.get(band['name'], '')}"


def _amount(value: float, unit: str = "") -> str:
    return f"{round(value, 2):g}{f' {unit}' if unit else ''}"


# ---- words


def _by_words(finding: Mapping[str, Any], others: int) -> str | None:
    quote = finding.get("quote")
    if not quote or finding["match"] == _ABSENT:
        return None
    more = f"，另外 {others} 处也没有" if others else ""
    if finding["match"] == "homophone":
        return f"说的不是“{quote}”而是同音的别的话{more}"
    return f"没有说“{quote}”{more}"


def _by_absence(finding: Mapping[str, Any]) -> str | None:
    if finding["match"] != _ABSENT or not finding.get("suggestion"):
        return None
    window = f"在 {clock(finding['start_ms'])}–{clock(finding['end_ms'])} 之间"
    return f"{window}说了类似“{finding['suggestion'].rstrip('。')}”的话"
