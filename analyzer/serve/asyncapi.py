"""The streams as an AsyncAPI 3 document, made from the models of their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analyzer import __version__
from analyzer.live.messages import live_schema
from analyzer.serve.board import Calls

_CALL_ID = {"call_id": {"description": "Id of the call; what was sent as call_id, percent-encoded"}}
_AUDIO_IN, _AUDIO_OUT, _OVERLAY_IN = ("Hello", "End"), ("Ready", "Refused", "Ack"), ("Dismiss", "Seen")
_EVENTS = ("CallEvent", "UtteranceEvent", "InterimEvent", "FindingEvent", "OwedEvent", "NudgeEvent", "GaugeEvent",
           "WhisperEvent", "DismissEvent", "ScorecardEvent")  # fmt: skip
_QUERY = {
    "after": {"type": "integer", "minimum": 0, "description": "Number of the last event the client has"},
    "viewer": {
        "enum": ["overlay", "supervisor"],
        "description": "An overlay is the agent's screen: what it was sent counts as delivered",
    },
}
_FREESWITCH_QUERY = {
    "rate": {"enum": ["8000", "16000", "48000"], "default": "8000"},
    "channels": {"type": "string", "default": "customer,agent"},
    "direction": {"enum": ["inbound", "outbound", "unknown"], "default": "unknown"},
}


def asyncapi_document() -> dict[str, Any]:
    """AsyncAPI 3.0: what the server receives and sends on each WebSocket."""
    schemas = dict(live_schema()["$defs"])
    calls = Calls.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    schemas |= calls.pop("$defs", {})
    schemas["Calls"] = calls
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "analyzer live streams",
            "version": __version__,
            "description": "Times: integer milliseconds of call time. See docs/live.md and /schemas/live.schema.json.",
        },
        "defaultContentType": "application/json",
        "servers": {"here": {"host": "127.0.0.1:8765", "protocol": "ws", "security": _SECURITY}},
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "httpApiKey", "in": "query", "name": "token"},
                "cookie": {"type": "httpApiKey", "in": "cookie", "name": "analyzer_token"},
            },
            "messages": {
                name: {
                    "name": name,
                    "contentType": "application/json",
                    "payload": {"$ref": f"#/components/schemas/{name}"},
                }
                for name in (*_AUDIO_IN, *_AUDIO_OUT, *_OVERLAY_IN, *_EVENTS, "Calls")
            }
            | {
                name: {"name": name, "contentType": "application/octet-stream", "description": text, "payload": {}}
                for name, text in _BINARY.items()
            },
            "schemas": _moved(schemas),
        },
    }


_SECURITY = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "query", "cookie")]
_BINARY = {
    "AudioFrame": "Samples as the hello says, channels interleaved; with framing timed after 8 bytes of position "
    "(unsigned, little endian, samples per channel since the start of the call). At most 64 KiB.",
    "L16Frame": "FreeSWITCH mod_audio_stream: PCM16 little endian, channels interleaved.",
    "TwilioMessage": "Twilio Media Streams: connected, start, media, stop, as JSON text; token, call_id, direction and "
    "inbound_role as custom parameters.",
}


def _channels() -> dict[str, Any]:
    return {
        "audio": _channel("/live/{call_id}/audio", [*_AUDIO_IN, "AudioFrame", *_AUDIO_OUT], "Audio of a call"),
        "events": _channel("/live/{call_id}/events", [*_EVENTS, *_OVERLAY_IN], "What happens in a call", _QUERY),
        "calls": _channel("/live/calls", ["Calls"], "How all calls stand, once a second and on change"),
        "twilio": _channel("/live/twilio", ["TwilioMessage"], "Audio from Twilio Media Streams"),
        "freeswitch": _channel(
            "/live/freeswitch/{call_id}", ["L16Frame", "Refused"], "Audio from mod_audio_stream", _FREESWITCH_QUERY
        ),
    }


def _channel(address: str, messages: list[str], title: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": address,
        "title": title,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }
    if "{call_id}" in address:
        channel["parameters"] = _CALL_ID
    if query:
        channel["bindings"] = {"ws": {"query": {"type": "object", "properties": dict(query)}}}
    return channel


def _operations() -> dict[str, Any]:
    """From the server's side, as AsyncAPI has it."""
    return {
        "receiveAudio": _operation("receive", "audio", (*_AUDIO_IN, "AudioFrame")),
        "answerAudio": _operation("send", "audio", _AUDIO_OUT),
        "sendEvents": _operation("send", "events", _EVENTS),
        "hearOverlay": _operation("receive", "events", _OVERLAY_IN),
        "sendCalls": _operation("send", "calls", ("Calls",)),
        "receiveTwilio": _operation("receive", "twilio", ("TwilioMessage",)),
        "receiveFreeSwitch": _operation("receive", "freeswitch", ("L16Frame",)),
        "refuseFreeSwitch": _operation("send", "freeswitch", ("Refused",)),
    }


def _operation(action: str, channel: str, messages: tuple[str, ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _moved(value: Any) -> Any:
    """References point into this document."""
    if isinstance(value, dict):
        return {
            key: part.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(part)
            for key, part in value.items()
        }
    return [_moved(part) for part in value] if isinstance(value, list) else value
