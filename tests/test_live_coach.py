"""What an agent is told in the course of a call: each test is a call as it goes on."""

from __future__ import annotations

from pathlib import Path

from analyzer.types import Direction, Role, Span
from tests.live_timeline import AGENT, CUSTOMER, Played, played, sample, standard_pack, utterance

SAMPLES = Path(__file__).parent.parent / "samples"
OPENING = "您好，云岭银行，工号三零一七，请问有什么可以帮您？"
CLOSING = "感谢您的来电，祝您生活愉快，再见。"


def kinds(call: Played) -> list[str]:
    return [nudge["kind"] for nudge in call.nudges]


def states(call: Played) -> list[tuple[str, str]]:
    return [(event["id"], event["state"]) for event in call.events("nudge")]


# --- the checklist ----------------------------------------------------------------------------------------------------


def test_elements_tick_themselves_as_soon_as_they_are_text() -> None:
    call = played([(AGENT, 500, OPENING)], 7_750)
    assert call.engine.call.said == []  # not settled yet
    assert call.states("opening", "greeting") == ["pending", "done"]
    assert call.states("opening", "agent_id") == ["pending", "done"]
    assert call.states("opening", "glad_to_serve") == ["pending", "cleared"]  # enough was said without it


def test_the_opening_is_listed_before_the_closing_whatever_the_order_in_the_pack() -> None:
    call = played([], 250)
    assert [rule.id for rule in standard_pack().rules if rule.id in ("opening", "closing")] == ["closing", "opening"]
    rules = [event["rule"] for event in call.events("owed")]
    assert rules == sorted(rules, reverse=True)
    assert set(rules) == {"opening", "closing"}


def test_what_was_never_said_is_missed_when_its_window_is_over() -> None:
    lines = [
        (AGENT, 500, "您好。"),
        (CUSTOMER, 2_000, "我要查余额。"),
        (AGENT, 4_500, "您的卡号是多少？"),
        (CUSTOMER, 7_500, "我的卡号是这个。"),
        (AGENT, 10_500, "您的余额是三百元。"),
        (CUSTOMER, 14_000, "那积分是多少呢？"),
        (AGENT, 17_000, "积分是五百分。"),
    ]
    call = played(lines, 25_000)
    assert call.states("opening", "company") == ["pending", "missed"]


def test_a_thank_you_along_the_way_closes_nothing() -> None:
    lines = [
        (AGENT, 500, OPENING),
        (CUSTOMER, 8_000, "我想查一下余额。"),
        (AGENT, 11_000, "好的，谢谢您，您的余额是三百元，请问还有其他可以帮您的吗？"),
        (CUSTOMER, 19_500, "没有了。"),
        (AGENT, 21_000, CLOSING),
    ]
    half = played(lines, 19_000)
    assert half.states("closing", "thanks") == ["pending"]
    whole = played(lines, 30_000).end()
    assert whole.states("closing", "ask_more")[-1] == "done"
    assert {whole.states("closing", name)[-1] for name in ("thanks", "farewell", "blessing")} == {"done"}
    assert whole.nudges == []


def test_an_answer_is_owed_from_its_cue_on() -> None:
    lines = [
        (AGENT, 500, OPENING),
        (CUSTOMER, 8_000, "你们服务态度真好，太感谢了。"),
        (AGENT, 13_500, "您过奖了，这是我们应该做的。"),
    ]
    call = played(lines, 25_000)
    assert call.states("praise_response", "reply") == ["pending", "done"]


def test_what_an_interrupted_call_leaves_is_settled_at_its_end() -> None:
    lines = [(AGENT, 500, "您好，云岭银行。"), (CUSTOMER, 3_000, "我昨天在你们网点办了一张卡可是到今天还不能用呢")]
    call = played(lines, 12_000)
    shown = call.nudges
    call.end()
    assert [nudge["kind"] for nudge in shown] == ["owed"]
    assert states(call)[-1] == (shown[0]["id"], "withdrawn")
    assert call.states("opening", "offer_help")[-1] == "missed"
    assert all(call.states("closing", name)[-1] != "pending" for name in ("thanks", "farewell"))


# --- reminders --------------------------------------------------------------------------------------------------------


def test_a_missing_opening_element_is_named_before_it_is_too_late() -> None:
    lines = [
        (AGENT, 500, "您好，云岭银行，请问有什么可以帮您？"),
        (CUSTOMER, 6_000, "我想问一下信用卡怎么还款比较划算。"),
        (AGENT, 13_000, "工号三零一七。"),
    ]
    call = played(lines, 20_000)
    assert [nudge["message"] for nudge in call.nudges] == ["还没报工号"]
    assert call.nudges[0]["at_ms"] < 13_000
    assert [state for _, state in states(call)] == ["shown", "withdrawn"]


def test_a_reminder_stays_while_the_agent_speaks_of_something_else() -> None:
    lines = [
        (AGENT, 500, "您好，云岭银行，请问有什么可以帮您？"),
        (CUSTOMER, 6_000, "我想问一下信用卡怎么还款比较划算。"),
        (AGENT, 11_500, "好的，我看一下，您这张卡的账单日是每个月的五号。"),
    ]
    call = Played([utterance(*line) for line in lines])
    call.play(13_000)
    assert [state for _, state in states(call)] == ["shown"]


def test_no_reminder_comes_while_what_was_said_is_still_being_recognised() -> None:
    lines = [(AGENT, 4_000, OPENING)]  # over at 10.25 s, the reminder's time is 10 s
    call = Played([utterance(*line) for line in lines], lag_ms=5_000).play(20_000)
    assert "owed" not in kinds(call)


def test_the_closing_is_asked_for_once_the_customer_is_through() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "没事了，再见。")]
    call = played(lines, 15_000)
    nudge = call.nudges[0]
    assert (nudge["rule"], nudge["kind"]) == ("closing", "owed")
    assert nudge["message"] == "还没感谢客户；还没道别；还没问其他需求"
    assert nudge["at_ms"] >= 8_000 + 7 * 250 + 3_000


def test_an_angry_customer_is_soothed_first() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "你们就是一群骗子，混蛋！")]
    call = played(lines, 15_500)
    nudge = call.nudges[0]
    assert nudge["kind"] == "respond"
    assert nudge["priority"] == "high"
    assert nudge["rule"] in ("abuse_response", "complaint_apology")
    assert "理解" in nudge["suggestion"] or "抱歉" in nudge["suggestion"]
    answered = played([*lines, (AGENT, 12_000, "非常抱歉，我理解您的心情。")], 20_000)
    assert answered.nudges == []
    assert answered.states("abuse_response", "soothe") == ["pending", "done"]


def test_a_complaint_asks_for_an_apology() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "我要投诉你们，等了三天都没人理我。")]
    call = played(lines, 18_000)
    assert [nudge["rule"] for nudge in call.nudges] == ["complaint_apology"]


def test_praise_asks_for_thanks() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "你们服务态度真好，太感谢了。")]
    call = played(lines, 18_000)
    assert ("praise_response", "respond") in [(nudge["rule"], nudge["kind"]) for nudge in call.nudges]


def test_a_silence_the_agent_owes_an_end_to_is_timed_and_told_of() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "我的卡被吞了怎么办呢？")]
    call = played(lines, 21_000)
    end_ms = 8_000 + 11 * 250
    nudge = next(nudge for nudge in call.nudges if nudge["rule"] == "dead_air")
    assert nudge["kind"] == "silence"
    assert end_ms + 7_000 <= nudge["at_ms"] < end_ms + 8_000
    timers = [event["silence"] for event in call.events("gauge") if event["silence"]]
    assert timers[0] == {"since_ms": end_ms, "limit_ms": 10_000}


def test_a_dead_line_is_asked_twice_and_then_given_up() -> None:
    lines = [(AGENT, 500, OPENING)]
    call = played(lines, 14_000)
    assert [(nudge["rule"], nudge["element"]) for nudge in call.nudges] == [("silent_call", "repeat")]
    assert call.states("silent_call", "script") == ["pending"]
    lines.append((AGENT, 14_000, "您好，请问听得到吗？"))
    call = played(lines, 25_000)
    assert [nudge["element"] for nudge in call.nudges] == ["repeat", "script"]
    assert call.states("silent_call", "repeat") == ["pending", "done"]


def test_a_customer_who_speaks_is_no_dead_line() -> None:
    lines = [(AGENT, 500, OPENING), (CUSTOMER, 9_500, "我想问一下我的信用卡这个月的账单是怎么回事啊怎么多了这么多")]
    assert played(lines, 18_000).nudges == []


# --- waiting ----------------------------------------------------------------------------------------------------------

HOLD = [
    (AGENT, 500, OPENING),
    (CUSTOMER, 8_000, "帮我查一下上个月的账单。"),
    (AGENT, 12_000, "我帮您查询一下，请您稍等，好吗？"),
    (CUSTOMER, 16_500, "好的。"),
]
HOLD_MS = 16_500 + 3 * 250


def test_a_wait_is_timed_against_one_limit_after_the_other() -> None:
    call = played(HOLD, 330_000)
    timers = [event["hold"] for event in call.events("gauge") if event["hold"]]
    limits = list(dict.fromkeys(timer["limit_ms"] for timer in timers))
    assert {timer["since_ms"] for timer in timers} == {HOLD_MS}
    assert limits == [7_000, 120_000, 300_000]
    assert len(call.events("gauge")) < 30  # the client counts the seconds itself


def test_a_long_wait_calls_for_an_apology_a_number_and_an_end() -> None:
    call = played(HOLD, 330_000)
    told = [(nudge["rule"], nudge["kind"], nudge["at_ms"] - HOLD_MS) for nudge in call.nudges]
    assert [(rule, kind) for rule, kind, _ in told] == [
        ("hold_return_apology", "respond"),
        ("hold_callback_offer", "hold"),
        ("hold_duration", "hold"),
    ]
    assert [round(ms / 1_000) for *_, ms in told] == [7, 100, 120]
    assert call.states("hold_return_apology", "apology") == ["pending"]


def test_back_with_an_apology_all_is_well() -> None:
    call = played([*HOLD, (AGENT, 30_000, "让您久等了，您上个月的账单是三百元。")], 45_000)
    assert call.states("hold_return_apology", "apology") == ["pending", "done"]
    assert call.states("hold_consent", "assent")[-1] == "done"
    assert call.events("gauge")[-1]["hold"] is None


def test_a_wait_that_was_not_asked_for_is_put_right() -> None:
    lines = [*HOLD[:2], (AGENT, 12_000, "请您稍等。")]
    call = played(lines, 17_000)
    assert [(nudge["rule"], nudge["kind"]) for nudge in call.nudges] == [("hold_consent", "hold")]
    assert call.states("hold_consent", "question")[0] == "pending"


# --- forbidden sentences ----------------------------------------------------------------------------------------------

SLIP = [(AGENT, 500, OPENING), (CUSTOMER, 8_000, "我的快递丢了怎么办？"), (AGENT, 11_500, "这不关我的事。")]


def test_a_forbidden_sentence_brings_one_calm_better_one() -> None:
    call = played(SLIP, 20_000)
    told = [event for event in call.events("nudge") if event["kind"] == "forbidden"]
    assert {event["id"] for event in told} == {told[0]["id"]}
    assert [event["provisional"] for event in told] == [True, False]
    assert told[0]["priority"] == "critical"
    assert told[0]["suggestion"] == "我马上帮您核实，请您稍等。"
    assert told[-1]["finding"].startswith("banned_phrase:")
    assert "不关我的事" not in told[0]["message"]


def test_a_way_out_in_the_next_breath_takes_the_hint_back() -> None:
    lines = [*SLIP[:2], (AGENT, 11_500, "这个我们处理不了。"), (AGENT, 15_000, "我帮您转接专员处理，请您稍等。")]
    call = played(lines, 25_000)
    told = [(event["state"], event["provisional"]) for event in call.events("nudge") if event["kind"] == "forbidden"]
    assert told == [("shown", True), ("withdrawn", True)]


def glimpse(call: Played, text: str, start_ms: int) -> None:
    span = utterance(AGENT, start_ms, text).span
    call.coach.glimpse(AGENT, call.engine.preview(AGENT, text, span), call.at_ms)


def test_interim_and_final_words_are_one_hint() -> None:
    call = Played([utterance(*line) for line in SLIP])
    call.play(20_000, {13_250: lambda: glimpse(call, "这不关我的事", 11_400)})
    told = [event for event in call.events("nudge") if event["kind"] == "forbidden"]
    assert len({event["id"] for event in told}) == 1
    assert told[0]["at_ms"] == 13_250
    assert len({event["finding"] for event in told}) == 1
    assert [event["provisional"] for event in told] == [True, False]


def test_interim_words_that_were_misheard_are_taken_back() -> None:
    lines = [*SLIP[:2], (AGENT, 11_500, "这不关机也行的。")]
    call = Played([utterance(*line) for line in lines])
    call.play(20_000, {13_250: lambda: glimpse(call, "这不关我的事", 11_400)})
    assert [event["state"] for event in call.events("nudge")] == ["shown", "withdrawn"]


def test_a_guess_that_was_taken_back_does_not_use_up_the_real_hint() -> None:
    call = Played([utterance(*line) for line in SLIP])
    passes = {12_250: lambda: glimpse(call, "这不关我的事", 11_400), 12_500: lambda: glimpse(call, "这不关机", 11_400)}
    call.play(20_000, passes)
    told = [(event["state"], event["provisional"]) for event in call.events("nudge") if event["kind"] == "forbidden"]
    assert told == [("shown", True), ("withdrawn", True), ("shown", True), ("shown", False)]


def test_a_final_does_not_clear_what_the_next_segment_brought_to_light() -> None:
    call = Played([utterance(*line) for line in SLIP[:2]]).play(13_000)
    glimpse(call, "这不关我的事", 11_400)
    call.coach.said(utterance(AGENT, 10_000, "好的好的"), 13_000)
    call.play(13_500)
    assert [event["state"] for event in call.events("nudge") if event["kind"] == "forbidden"] == ["shown"]


def test_an_agent_in_full_flow_is_not_told_of_less_than_the_worst() -> None:
    def at_first_hint(words: str) -> int:
        text = words + "，您再看看说明书上的第三页和第四页上面都写得清清楚楚的了"
        call = Played([utterance(AGENT, 500, OPENING), utterance(AGENT, 11_500, text)])
        call.play(24_000, {ms: lambda: glimpse(call, words, 11_500) for ms in (14_000, 15_000)})
        return next(event["at_ms"] for event in call.nudges if event["kind"] == "forbidden")

    assert at_first_hint("这不关我的事") == 14_000
    assert at_first_hint("你听明白了没有啊") > 11_500 + 36 * 250


def test_a_rule_whose_hint_was_put_away_is_silent_from_then_on() -> None:
    lines = [*SLIP, (CUSTOMER, 80_000, "你怎么这样啊？"), (AGENT, 82_500, "你爱找谁找谁去。")]
    call = Played([utterance(*line) for line in lines])
    call.play(95_000, {15_500: lambda: call.coach.dismiss(call.nudges[0]["id"], call.at_ms)})
    put_away = call.events("dismiss")
    assert [(event["nudge"], event["rule"]) for event in put_away] == [(call.nudges[0]["id"], "banned_phrase")]
    assert kinds(call).count("forbidden") == 1
    call.coach.dismiss(call.nudges[0]["id"], call.at_ms)
    assert call.events("dismiss") == put_away


# --- rate and gauges --------------------------------------------------------------------------------------------------


def conversation(agent_ms: int, until_ms: int, customer_ms: int | None = None) -> Played:
    """Question and answer in turns, with so many milliseconds a character."""
    said, at_ms = [utterance(AGENT, 500, OPENING, agent_ms)], 0
    while at_ms < until_ms:
        for role, text, ms in (
            (CUSTOMER, "那我这个月用不完的流量能不能结转到下个月", customer_ms or agent_ms),
            (AGENT, "这款套餐每个月包含三十个流量和一百分钟通话", agent_ms),
        ):
            said.append(utterance(role, said[-1].span.end_ms + 1_500, text, ms))
        at_ms = said[-1].span.end_ms
    return Played(said).play(until_ms)


def test_the_rate_gauge_shows_both_sides_and_the_band() -> None:
    rate = conversation(250, 60_000).events("gauge")[-1]["rate"]
    assert 230 <= rate["agent"]["now"] <= 250
    assert 230 <= rate["agent"]["call"] <= 250
    assert (rate["agent"]["low"], rate["agent"]["high"]) == (96, 144)
    assert rate["customer"]["now"] is not None
    assert rate["customer"]["high"] is None


def rate_hints(call: Played) -> list[str]:
    return [nudge["message"] for nudge in call.nudges if nudge["kind"] == "rate"]


def test_an_agent_as_fast_as_the_customer_is_left_alone() -> None:
    call = conversation(250, 120_000)
    assert rate_hints(call) == []


def test_an_agent_who_stays_faster_than_the_customer_is_told_once() -> None:
    call = conversation(300, 240_000, customer_ms=450)
    assert rate_hints(call) == ["语速偏快，请放慢一些"]
    assert [nudge["priority"] for nudge in call.nudges if nudge["kind"] == "rate"] == ["normal"]


def test_a_much_too_fast_agent_is_told_again_and_not_within_a_minute() -> None:
    call = conversation(200, 240_000, customer_ms=450)
    at = [nudge["at_ms"] for nudge in call.nudges if nudge["kind"] == "rate"]
    assert len(at) == 2
    assert at[1] - at[0] >= 60_000


def test_a_side_without_audio_is_blind_and_a_silent_one_is_not() -> None:
    call = played([(AGENT, 500, OPENING)], 9_000)
    assert call.events("gauge")[-1]["blind"] == []
    call.coach.blind([Role.CUSTOMER])
    call.play(9_250)
    assert call.events("gauge")[-1]["blind"] == ["customer"]


def test_gauges_are_silent_when_nothing_changes() -> None:
    call = played(HOLD, 30_000)
    before = len(call.events("gauge"))
    call.play(100_000)
    assert len(call.events("gauge")) == before


def test_gauges_tell_how_the_talk_is_shared() -> None:
    call = Played([utterance(AGENT, 0, "好" * 12), utterance(CUSTOMER, 4_000, "好" * 4)]).play(10_000)
    assert call.events("gauge")[-1]["talk_ratio"] == 0.75


# --- as a whole -------------------------------------------------------------------------------------------------------


def test_the_same_call_brings_the_same_events() -> None:
    first, second = (played(SLIP, 30_000).end() for _ in range(2))
    assert first.log.events == second.log.events


def test_on_the_samples_hints_are_few() -> None:
    counts = sorted(len(sample(folder).nudges) for folder in SAMPLES.iterdir() if (folder / "expected.json").exists())
    assert counts[-1] > 0
    assert counts[round(0.95 * (len(counts) - 1))] <= 3


def test_a_call_of_unknown_direction_has_no_opening_to_tick() -> None:
    call = Played([], direction=Direction.UNKNOWN, activity={AGENT: [Span(0, 100)]}).play(1_000)
    assert "opening" not in {event["rule"] for event in call.events("owed")}
