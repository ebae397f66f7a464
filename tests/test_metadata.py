"""Call attributes are typed the same wherever they come from."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.errors import InputError
from analyzer.metadata import check_writable, read_metadata


def test_text_from_a_spreadsheet_becomes_the_type_of_its_key() -> None:
    fields = {"ring_ms": "4000", "transferred": "是", "hung_up_by": "Customer", "agent_id": 3017, "company": "云岭 "}
    assert read_metadata(fields) == (
        {"ring_ms": 4000, "transferred": True, "hung_up_by": "customer", "agent_id": "3017", "company": "云岭"},
        (),
    )


def test_blank_and_null_mean_unknown_and_are_left_out() -> None:
    assert read_metadata({"ring_ms": "", "company": None, "customer_surname": "  "}) == ({}, ())


def test_a_time_stays_as_it_is_written() -> None:
    assert read_metadata({"started_at": " 2026-11-22 09:30 "}) == ({"started_at": "2026-11-22 09:30"}, ())


def test_an_unknown_key_is_kept_and_named() -> None:
    assert read_metadata({"city": "昆明"}) == ({"city": "昆明"}, ("city",))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ring_ms", "4s"),
        ("ring_ms", -1),
        ("ring_ms", True),
        ("ring_ms", float("inf")),
        ("ring_ms", 1.5),
        ("ring_count", "三"),
        ("transferred", "maybe"),
        ("hung_up_by", "nobody"),
        ("ended_by", 3),
        ("company", ["a"]),
        ("started_at", "昨天上午"),
        ("replied_at", 20261122),
    ],
)
def test_a_value_its_key_cannot_have_is_an_error_that_names_the_key(key: str, value: object) -> None:
    with pytest.raises(InputError, match=key):
        read_metadata({key: value})


@pytest.mark.parametrize("value", ["\ud83d", float("nan"), float("inf"), ["a", {"b": float("nan")}], {"\udc00": 1}])
def test_what_no_report_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="'city' is or holds"):
        check_writable({"agent_id": "3017", "city": value})
