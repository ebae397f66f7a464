"""What travels is what docs/schemas/live.schema.json says."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from analyzer.live import messages
from analyzer.live.messages import EVENT, FROM_AUDIO, Event, as_json, schema_text
from tests.live_client import SCHEMA_FILE, ProtocolError, check

SPAN = {"start_ms": 900, "end_ms": 1_900}
TURN_SPAN = {"turn": 3, "char_start": 0, "char_end": 2}

# one with all it may say for each kind of event
FULL: dict[str, dict[str, Any]] = {
    "CallEvent": {"state": "ending", "direction": "inbound", "channels": ["agent", "customer"], "notice": "demo",
                  "gaps": {"agent": [(20, 40)]}, "lost": {"late": 2}},
    "UtteranceEvent": {"turn": 3, "role": "agent", **SPAN, "text": "您好", "confidence": 0.9,
                       "chars": [(900, 1_400), (1_400, 1_900)]},
    "InterimEvent": {"role": "customer", **SPAN, "text": "喂", "agreed": 1},
    "FindingEvent": {"id": "f1", "status": "provisional", "rule": "banned_phrase", "title": "服务禁语",
                     "category": "推诿", "severity": "critical", "role": "agent", **TURN_SPAN, "spans": [TURN_SPAN],
                     **SPAN, "quote": "不归我管", "match": "homophone", "confidence": 0.8, "message": "…",
                     "suggestion": "…", "clauses": ["S003-4.1"]},
    "OwedEvent": {"rule": "opening", "element": "agent_id", "title": "报工号", "state": "pending", "due_ms": 15_000},
    "NudgeEvent": {"id": "n1", "state": "shown", "kind": "owed", "priority": "high", "rule": "opening",
                   "element": "agent_id", "finding": "f1", "provisional": True, "message": "还没报工号",
                   "suggestion": "…", "show_ms": 6_000},
    "GaugeEvent": {"rate": {"agent": {"now": 130, "call": 120, "low": 96, "high": 144}}, "talk_ratio": 0.5,
                   "hold": {"since_ms": 10, "limit_ms": 7_000}, "silence": {"since_ms": 10}, "behind_ms": 300,
                   "blind": ["customer"], "score": 88.5},
    "WhisperEvent": {"id": "w1", "text": "请致歉", "sender": "班长", "state": "seen"},
    "DismissEvent": {"nudge": "n1", "rule": "opening"},
    "ScorecardEvent": {"report": {"schema": "analyzer.report/1", "score": 86.5}},
}  # fmt: skip


def event(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    model: type[BaseModel] = getattr(messages, name)
    return dict(json.loads(as_json(model(call_id="c1", seq=1, at_ms=0, **fields))))


def test_the_published_schema_is_that_of_the_models() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run `make schemas`"
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_kind_of_event_is_tried() -> None:
    assert set(FULL) == {model.__name__ for model in get_args(get_args(Event)[0])}


@pytest.mark.parametrize("name", FULL)
def test_an_event_follows_the_schema_and_reads_back(name: str) -> None:
    required = {key for key, field in getattr(messages, name).model_fields.items() if field.is_required()}
    for fields in (FULL[name], {key: value for key, value in FULL[name].items() if key in required}):
        sent = event(name, fields)
        check("event", sent)
        assert as_json(EVENT.validate_python(sent)) == json.dumps(sent, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("name", FULL)
def test_the_schema_knows_an_event_that_is_not_right(name: str) -> None:
    sent = event(name, FULL[name])
    for wrong in ({**sent, "surprise": 1}, {**sent, "seq": 0}, {**sent, "type": "other"}, {**sent, "at_ms": None}):
        with pytest.raises(ProtocolError):
            check("event", wrong)
    for missing in sent:
        with pytest.raises(ProtocolError):
            check("event", {key: value for key, value in sent.items() if key != missing})


def test_a_newer_client_may_say_more_and_the_schema_lets_it() -> None:
    hello = {"type": "hello", "schema": "analyzer.live/1", "token": "t", "codec_options": {"bitrate": 9}}
    check("audio_in", hello)
    assert FROM_AUDIO.validate_python(hello).framing == "raw"


@pytest.mark.parametrize(
    "change", [{"sample_rate": 11_025}, {"encoding": "opus"}, {"channels": []}, {"schema": "analyzer.live/2"}]
)
def test_schema_and_model_refuse_the_same_hello(change: dict[str, Any]) -> None:
    hello = {"type": "hello", "schema": "analyzer.live/1", "token": "t", **change}
    with pytest.raises(ProtocolError):
        check("audio_in", hello)
    with pytest.raises(ValidationError):
        FROM_AUDIO.validate_python(hello)
