"""What a call's watchers are told while it is heard: nothing that its report denies, and as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.asr import Window
from analyzer.asr.windows import Filling
from analyzer.catalog import load_pack
from analyzer.live import ear
from analyzer.live.ear import Ear, Ending, Hearing
from analyzer.live.journal import EventLog
from analyzer.live.judge import Facts, Judge
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Span, Utterance
from analyzer.vad import Segment
from tests.fake_speech import FakeRecogniser
from tests.test_live_call import FakeLiveDetector
from tests.tiny_pack import write_tiny_pack

ROLES = (Role.AGENT, Role.CUSTOMER)
BANNED = "这不关我的事。"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load_pack(write_tiny_pack(tmp_path_factory.mktemp("pack")))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path, "c1", {})
    yield opened
    opened.close()


def a_judge(pack: Pack, log: EventLog, *, rejudge: bool = False) -> Judge:
    judge = Judge(Facts("c1", Direction.INBOUND, ROLES), pack, log, rejudge=rejudge)
    judge.start(None)
    return judge


def segment(start_ms: int, end_ms: int, role: Role = Role.AGENT) -> Segment:
    span = Span(start_ms, end_ms)
    return Segment(role, span, np.zeros(16 * span.duration_ms, np.int16), (span,), -20.0)


def said(one: Segment, text: str) -> Utterance:
    return Utterance(one.role, one.span, text, 0.9)


def events(log: EventLog, kind: str) -> list[dict[str, Any]]:
    return [event for _, line in log.after(0, 1000) if (event := json.loads(line))["type"] == kind]


def findings(log: EventLog, rule: str = "banned_phrase") -> list[str]:
    return [event["status"] for event in events(log, "finding") if event["rule"] == rule]


def finish(judge: Judge, duration_ms: int = 20_000) -> dict[str, Any]:
    judge.hear(Hearing(duration_ms, settled=dict.fromkeys(ROLES, duration_ms)))
    return judge.finish(duration_ms, dict.fromkeys(ROLES, 20_000))


def recognised(judge: Judge, one: Segment, text: str | None, error: Exception | None = None) -> None:
    judge.hear(Hearing(one.span.end_ms, windows=(Window((one,)),)))
    utterances: Sequence[Utterance | None] = () if error else (said(one, text) if text is not None else None,)
    judge.recognised(Window((one,)), utterances, error)


def test_a_side_is_settled_although_its_30_s_window_still_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fills(FakeRecogniser):
        def packer(self) -> Filling:
            return Filling()

    monkeypatch.setattr(ear, "CallDetector", FakeLiveDetector)
    listening = Ear(ROLES, Fills())
    quiet, loud = np.zeros(16_000, np.int16), np.full(16_000, 5_000, np.int16)
    hearings = [listening.hear({Role.AGENT: one, Role.CUSTOMER: quiet}) for one in (quiet, loud, quiet, loud, quiet)]
    (first, second) = [one for hearing in hearings for one in hearing.segments]
    assert not any(hearing.windows for hearing in hearings)
    assert hearings[-1].settled[Role.AGENT] >= second.span.end_ms > first.span.end_ms
    assert hearings[-1].segments == (second,)


def test_what_is_told_early_is_settled_before_its_window_is_there(pack: Pack, log: EventLog) -> None:
    judge = a_judge(pack, log, rejudge=True)
    one = segment(1_000, 2_000)
    judge.hear(Hearing(12_000, segments=(one,), settled=dict.fromkeys(ROLES, 12_000)))
    judge.glimpsed(one, said(one, BANNED), complete=True)
    assert findings(log)[-1] == "confirmed"


def test_another_leg_s_voice_in_a_window_holds_nothing_up(pack: Pack, log: EventLog) -> None:
    judge = a_judge(pack, log)
    echo = segment(1_000, 2_000)
    gated = Segment(echo.role, echo.span, echo.samples, echo.speech, echo.level_db, gated=True)
    judge.hear(Hearing(12_000, windows=(Window((gated, segment(8_000, 9_000))),), settled=dict.fromkeys(ROLES, 12_000)))
    assert judge._sides[Role.AGENT].settled_ms == 8_000


def glimpse_banned(judge: Judge, one: Segment) -> None:
    """Two passes agree on it."""
    for _ in range(2):
        judge.glimpsed(one, said(one, BANNED), complete=False)


def test_a_pass_over_the_end_of_speech_goes_on_with_its_interim_text(pack: Pack, log: EventLog) -> None:
    judge = a_judge(pack, log)
    one = segment(1_000, 5_000)
    for text in ("您好", "您好，这不关", "您好，这不关我的"):
        judge.glimpsed(one, said(one, text), complete=False)
    agreed_ms = judge.agreed_ms(Role.AGENT)
    assert one.span.start_ms < agreed_ms < one.span.end_ms
    late = segment(agreed_ms, 5_000)
    rest = Ending(late.role, late.span, late.samples, late.speech, late.level_db, begun_ms=1_000)
    judge.glimpsed(rest, said(rest, "我的事"), complete=False)
    assert events(log, "interim")[-1]["text"] == "您好，这不关我的事"
    assert events(log, "interim")[-1]["start_ms"] == 1_000


@pytest.mark.parametrize("error", [None, RuntimeError()])
def test_interim_text_that_no_final_takes_up_is_cleared_and_its_finding_withdrawn(
    pack: Pack, log: EventLog, error: Exception | None
) -> None:
    judge = a_judge(pack, log)
    one = segment(1_000, 2_000)
    glimpse_banned(judge, one)
    assert findings(log) == ["provisional"]
    assert events(log, "nudge")[-1]["state"] == "shown"
    recognised(judge, one, None, error)
    assert findings(log) == ["provisional", "withdrawn"]
    assert events(log, "interim")[-1]["text"] == ""
    assert events(log, "nudge")[-1]["state"] == "withdrawn"


def test_speech_that_goes_on_keeps_its_interim_text_when_an_earlier_segment_has_none(pack: Pack, log: EventLog) -> None:
    judge = a_judge(pack, log)
    glimpse_banned(judge, segment(3_000, 4_000))
    recognised(judge, segment(1_000, 2_000), None)
    assert findings(log) == ["provisional"]
    assert events(log, "interim")[-1]["text"] == BANNED


def test_no_finding_is_provisional_when_the_call_is_over(pack: Pack, log: EventLog) -> None:
    judge = a_judge(pack, log)
    glimpse_banned(judge, segment(3_000, 4_000))
    finish(judge)
    assert findings(log) == ["provisional", "withdrawn"]


def told_early_then_windowed(judge: Judge, early: str, final: str) -> dict[str, Any]:
    one = segment(1_000, 2_000)
    judge.hear(Hearing(12_000, segments=(one,), settled=dict.fromkeys(ROLES, 12_000)))
    judge.glimpsed(one, said(one, early), complete=True)
    recognised(judge, one, final)
    return finish(judge)


def standing(log: EventLog, rule: str = "banned_phrase") -> list[str]:
    """How each finding ended, by its id."""
    last = {event["id"]: event["status"] for event in events(log, "finding") if event["rule"] == rule}
    return sorted(status for status in last.values() if status != "withdrawn")


def reported(report: dict[str, Any], rule: str = "banned_phrase") -> int:
    return next(len(entry["findings"]) for entry in report["rules"] if entry["rule"] == rule)


@pytest.mark.parametrize("early", [BANNED, "好的，谢谢您。", "嗯，这不关我的事。"])
@pytest.mark.parametrize("final", [BANNED, "好的，谢谢您。"])
def test_where_the_report_rests_on_other_windows_the_findings_end_as_it_has_them(
    pack: Pack, log: EventLog, early: str, final: str
) -> None:
    report = told_early_then_windowed(a_judge(pack, log, rejudge=True), early, final)
    assert standing(log) == ["confirmed"] * reported(report)
    assert reported(report) == (final == BANNED)
    assert standing(log, "opening") == ["confirmed"] * reported(report, "opening")
    if early == BANNED == final:
        assert "withdrawn" not in findings(log)


@pytest.mark.parametrize("final", [BANNED, None])
def test_what_only_interim_text_showed_ends_once_as_the_report_has_it(
    pack: Pack, log: EventLog, final: str | None
) -> None:
    judge = a_judge(pack, log, rejudge=True)
    told_early = segment(1_000, 2_000)
    judge.hear(Hearing(2_000, segments=(told_early,)))
    judge.glimpsed(told_early, None, complete=True)
    glimpse_banned(judge, told_early := segment(2_500, 3_500))
    judge.hear(Hearing(4_000, windows=(Window((segment(1_000, 2_000),)),)))
    judge.recognised(Window((segment(1_000, 2_000),)), (said(told_early, final) if final else None,), None)
    finish(judge)
    assert findings(log) == ["provisional", "confirmed" if final else "withdrawn"]
