"""The pages of live coaching in a real browser, against scripted calls."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from analyzer.live.messages import CallEvent
from tests.live_stage import Call, Stage, open_stage

pytestmark = pytest.mark.system

BAND = {"low": 96, "high": 144}
BETTER = "请您稍等，我马上为您核实。"
PLANTED = "这个我不知道，不归我管。"
NETWORK = ("WebSocket connection to", "Failed to load resource")  # what the network did is no fault of the page

expect.set_options(timeout=10_000)

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def running_stage() -> Iterator[Stage]:
    with open_stage() as stage:
        yield stage


@pytest.fixture
def stage(running_stage: Stage) -> Stage:
    running_stage.reset()
    return running_stage


@pytest.fixture
def open_page(browser: Browser, stage: Stage) -> Iterator[Open]:
    """Opens pages; at the end no script of theirs may have failed and no request may have left the host."""
    contexts, faults, asked = [], [], []

    def start(path: str, *, width: int = 480, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda line: asked.append(line.url))
        page.goto(stage.origin + path)
        return page

    yield start
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith(NETWORK)] == []
    host = stage.origin.removeprefix("http://")
    assert [url for url in asked if re.match(r"\w+://([^/]+)", url)[1] != host] == []  # type: ignore[index]


@pytest.fixture
def call(stage: Stage) -> Call:
    """A call that has begun: greeted, the staff number still owed."""
    call = stage.call("c1")
    call.start()
    call.owe("greeting", "问候")
    call.owe("agent_id", "工号或姓名", due_ms=15_000)
    call.at_ms = 3_000
    call.say("agent", 0, "您好，云岭银行。", 900, 2_800)
    call.owe("greeting", "问候", "done")
    return call


def plant(call: Call, *, show_ms: int = 60_000) -> None:
    """The agent says something forbidden: provisional, with a hint."""
    call.at_ms += 2_000
    call.say("agent", 1, PLANTED, call.at_ms - 1_500, call.at_ms)
    call.find("f1", "provisional", turn=1, at=(2, 6), quote="我不知道", category="推诿", suggestion=BETTER)
    call.nudge("n1", "“我不知道”听起来像推诿", suggestion=BETTER, finding="f1", provisional=True, show_ms=show_ms)


def item(page: Page, title: str) -> Any:
    return page.locator(".owed", has_text=title)


# ---- overlay


def test_a_planted_violation_shows_the_better_sentence_first_and_the_checklist_ticks(
    open_page: Open, call: Call
) -> None:
    page = open_page("/overlay/c1", width=320)
    expect(item(page, "问候")).to_have_text("✓问候已说")
    expect(item(page, "工号")).to_contain_text(re.compile("○工号或姓名剩 00:1"))
    plant(call)
    call.owe("agent_id", "工号或姓名", "done")
    hint = page.locator(".hint")
    expect(hint.locator(".hint-first")).to_have_text(BETTER)
    expect(hint.locator(".hint-second")).to_contain_text("听起来像推诿")
    expect(hint).to_contain_text("待确认")
    expect(item(page, "工号")).to_have_text("✓工号或姓名已说")
    expect(page.locator("#say-now")).to_contain_text(BETTER)  # screen readers hear it at once
    call.nudge("n1", "“我不知道”听起来像推诿", suggestion=BETTER, finding="f1", show_ms=60_000)
    expect(hint.locator(".badge")).to_be_hidden()
    expect(hint).to_have_count(1)


def test_a_withdrawn_hint_is_struck_through_then_gone(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    plant(call)
    expect(page.locator(".hint")).to_contain_text("待确认")
    call.find("f1", "withdrawn", turn=1, at=(2, 6), quote="我不知道")
    call.nudge("n1", "“我不知道”听起来像推诿", state="withdrawn", suggestion=BETTER, finding="f1", provisional=True)
    expect(page.locator(".hint .badge")).to_have_text("已撤回")
    expect(page.locator(".hint del").first).to_have_text(BETTER)
    call.at_ms += 5_000
    call.gauge()
    expect(page.locator(".hint")).to_have_count(0)
    expect(page.locator("#calm")).to_be_visible()
    expect(page.locator("#calm-before")).not_to_contain_text(BETTER)  # what was wrong is not recalled


def test_a_hint_taken_back_because_it_was_done_is_not_called_wrong(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    call.nudge("n1", "还没报工号", kind="owed", rule="opening", element="agent_id", priority="high", show_ms=60_000)
    expect(page.locator(".hint-first")).to_have_text("还没报工号")
    call.nudge("n1", "还没报工号", kind="owed", rule="opening", element="agent_id", priority="high", state="withdrawn")
    call.owe("agent_id", "工号或姓名", "done")
    expect(page.locator(".hint .badge")).to_have_text("已说")
    expect(page.locator(".hint del")).to_have_count(0)


def test_a_hint_leaves_when_its_time_is_up_and_is_recalled_small(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    plant(call, show_ms=6_000)
    expect(page.locator(".hint")).to_have_count(1)
    call.at_ms += 6_500
    call.gauge()
    expect(page.locator(".hint")).to_have_count(0)
    expect(page.locator("#calm-before")).to_contain_text(BETTER)


def test_the_graver_hint_has_the_large_place(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    plant(call)
    call.nudge("n2", "说得有点快", kind="rate", rule="speech_rate", priority="normal", show_ms=60_000)
    expect(page.locator(".hint")).to_have_count(2)
    expect(page.locator(".hint-first").first).to_have_text(BETTER)


def test_a_page_opened_late_shows_the_present_and_reads_out_nothing_old(open_page: Open, call: Call) -> None:
    plant(call, show_ms=6_000)
    for turn in range(2, 300):
        call.at_ms += 1_000
        call.say("customer", turn, f"第{turn}句", call.at_ms - 900, call.at_ms)
    page = open_page("/overlay/c1")
    expect(page.locator("#spoken")).to_contain_text("第299句")
    expect(page.locator("#clock")).to_have_text(re.compile("05:0"))
    assert page.locator(".hint").count() == 0
    assert page.locator("#say-now").text_content() == ""


def test_a_dropped_line_comes_back_without_loss_or_repetition(open_page: Open, stage: Stage, call: Call) -> None:
    page = open_page("/overlay/c1")
    watcher = open_page("/supervisor/c1", width=1280)
    expect(watcher.locator(".turn")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text("已连接")
    heard = len(call.lines)
    stage.is_refusing = True
    stage.drop()
    expect(page.locator("#status")).to_contain_text("重连中")
    plant(call)
    call.say("customer", 2, "那谁管", 5_100, 5_900)
    stage.is_refusing = False
    expect(page.locator("#status")).to_contain_text("已连接")
    expect(page.locator(".hint-first")).to_have_text(BETTER)
    expect(page.locator("#spoken li")).to_have_text([re.compile("您好"), re.compile(PLANTED), re.compile("那谁管")])
    expect(watcher.locator(".turn")).to_have_count(3)
    expect(watcher.locator(".finding")).to_have_count(1)
    assert set(call.asked_after[-2:]) == {heard}


def test_an_event_that_is_missing_is_asked_for_again(open_page: Open, call: Call) -> None:
    page = open_page("/supervisor/c1", width=1280)
    expect(page.locator(".turn")).to_have_count(1)
    good = len(call.lines)
    call.swallow.add(good + 1)
    call.say("agent", 1, "第一句", 4_000, 5_000)
    call.say("agent", 2, "第二句", 5_000, 6_000)
    expect(page.locator(".turn-text")).to_have_text(["您好，云岭银行。", "第一句", "第二句"])
    assert call.asked_after[-1] == good


@pytest.mark.parametrize("key", ["Escape", "x"])
def test_a_hint_is_dismissed_by_key_and_stays_away(open_page: Open, call: Call, key: str) -> None:
    page = open_page("/overlay/c1")
    plant(call)
    expect(page.locator(".hint")).to_have_count(1)
    page.keyboard.press(key)
    expect(page.locator(".hint")).to_have_count(0)
    wait_until(lambda: call.sent == [{"type": "dismiss", "nudge": "n1"}])
    page.reload()
    expect(page.locator("#status")).to_contain_text("已连接")
    expect(page.locator("#spoken")).to_contain_text(PLANTED)
    assert page.locator(".hint").count() == 0


def test_a_dismissal_while_the_line_is_down_arrives_when_it_is_back(open_page: Open, stage: Stage, call: Call) -> None:
    page = open_page("/overlay/c1")
    plant(call)
    expect(page.locator(".hint")).to_have_count(1)
    stage.is_refusing = True
    stage.drop()
    expect(page.locator("#status")).to_contain_text("重连中")
    page.locator(".hint-close").click()
    expect(page.locator(".hint")).to_have_count(0)
    assert call.sent == []
    stage.is_refusing = False
    wait_until(lambda: call.sent == [{"type": "dismiss", "nudge": "n1"}])


def test_enter_confirms_the_whisper(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1", width=320)
    call.whisper("w1", "先安抚，再转给我", "delivered")
    expect(page.locator("#whisper")).to_contain_text(re.compile(r"李主管：\s*先安抚，再转给我"))
    expect(page.locator("#say-now")).to_contain_text("先安抚")
    page.keyboard.press("Enter")
    expect(page.locator("#whisper")).to_be_hidden()
    wait_until(lambda: call.sent == [{"type": "seen", "whisper": "w1"}])


def test_the_question_mark_shows_the_keys_and_escape_then_closes_only_them(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    plant(call)
    expect(page.locator(".hint")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator(".hint")).to_have_count(1)
    assert call.sent == []


@pytest.mark.parametrize("width", [320, 480, 900])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_however_long_the_words(open_page: Open, call: Call, width: int, scheme: str) -> None:
    plant(call)
    call.owe("long", "核对客户身份证号码与预留手机号码是否一致", "missed")
    call.say("customer", 2, "https://example-without-any-break/" + "a" * 200, 5_000, 6_000)
    call.whisper("w1", "这位客户上个月投诉过两次请先安抚情绪再解释费用最后转给我处理" * 2)
    call.gauge(
        rate={"agent": {"now": 1_078, **BAND}, "customer": {"now": 201}},
        hold={"since_ms": 0, "limit_ms": 3_600_000},
        silence={"since_ms": 0, "limit_ms": 1_000},
        blind=["customer", "agent"],
        behind_ms=123_000,
    )
    page = open_page("/overlay/c1", width=width, color_scheme=scheme)
    expect(page.locator("#whisper")).to_be_visible()
    expect(page.locator(".trouble")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = "[...document.body.querySelectorAll('*')].filter(one => one.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{wide}.map(one => one.id || one.className)") == []


def test_blind_and_behind_are_said_and_unsaid(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    call.gauge(blind=["customer"], behind_ms=4_300)
    expect(page.locator("#troubles")).to_have_text("▲听不到客户声道▲落后 4 秒")
    expect(page.locator("#say")).to_contain_text("听不到客户声道")
    call.gauge()
    expect(page.locator(".trouble")).to_have_count(0)


def test_gauges_say_in_words_what_the_bar_shows(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    call.gauge(rate={"agent": {"now": 178, "call": 150, **BAND}, "customer": {"now": 201}})
    agent, customer = page.locator(".pace").all()
    expect(agent).to_have_text("坐席178↑ 偏快")
    expect(agent).to_have_attribute("aria-valuetext", "178 字每分钟偏快，合适范围 96 到 144")
    expect(customer).to_have_text("客户201")
    call.gauge(rate={"agent": {"now": 80, **BAND}, "customer": {}})
    expect(agent).to_have_text("坐席80↓ 偏慢")
    expect(customer).to_have_text("客户\u2013")


def test_timers_count_up_by_themselves(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1")
    call.at_ms = 60_000
    call.gauge(hold={"since_ms": 58_500, "limit_ms": 62_500}, silence={"since_ms": 59_000, "limit_ms": 600_000})
    hold, silence = page.locator(".timer").all()
    expect(silence).to_contain_text("静默00:01/ 10:00")
    expect(silence).to_contain_text("00:04")
    expect(hold).to_contain_text("超时")
    expect(page.locator("#clock")).to_have_text(re.compile("01:0[3-9]"))


def test_the_end_shows_the_score(open_page: Open, call: Call) -> None:
    page = open_page("/overlay/c1", width=320)
    plant(call)
    expect(page.locator(".hint")).to_have_count(1)
    call.find("f1", "confirmed", turn=1, at=(2, 6), quote="我不知道")
    call.owe("agent_id", "工号或姓名", "missed")
    call.end(71.5, "fail")
    expect(page.locator("#status")).to_have_text("■通话已结束 71.5 分")
    expect(page.locator("#result")).to_have_text(re.compile(r"71.5 分不合格\s*▲ 严重 1✗ 未说 工号或姓名"))
    expect(item(page, "工号")).to_contain_text("✗")
    expect(page.locator(".hint")).to_have_count(0)


def test_an_overlay_opened_before_the_call_waits_for_it(open_page: Open, stage: Stage) -> None:
    page = open_page("/overlay/later", width=320)
    expect(page.locator("#status")).to_contain_text("等待通话开始")
    stage.call("later").start()
    expect(page.locator("#status")).to_contain_text("已连接")


def test_an_agents_overlay_goes_from_call_to_call(open_page: Open, stage: Stage) -> None:
    page = open_page("/overlay?agent=3017")
    expect(page.locator("#status")).to_contain_text("等待下一通")
    stage.call("other", agent_id="4000").start()
    first = stage.call("first")
    first.start()
    first.say("agent", 0, "第一通", 0, 900)
    expect(page.locator("#spoken")).to_contain_text("第一通")
    first.end()
    expect(page.locator("#result")).to_contain_text("86.5 分")
    second = stage.call("second", started_at="2026-01-05T09:10:00Z")
    second.start()
    second.say("agent", 0, "第二通", 0, 900)
    expect(page.locator("#spoken")).to_have_text(re.compile("第二通"))
    expect(page.locator("#result")).to_be_hidden()


def test_an_agents_overlay_leaves_a_call_that_was_cut_off_for_the_next(open_page: Open, stage: Stage) -> None:
    cut = stage.call("cut")
    cut.start()
    page = open_page("/overlay?agent=3017")
    expect(page.locator("#status")).to_contain_text("已连接")
    cut.add(CallEvent, state="disconnected")
    expect(page.locator("#troubles")).to_contain_text("话音中断")
    following = stage.call("following", started_at="2026-01-05T09:10:00Z")
    following.start()
    following.say("agent", 0, "下一通", 0, 900)
    expect(page.locator("#spoken")).to_have_text(re.compile("下一通"))
    expect(page.locator(".trouble")).to_have_count(0)


# ---- supervisor


def test_calls_stand_worst_first_and_can_be_filtered(open_page: Open, stage: Stage) -> None:
    stage.call("calm", agent_id="3001")
    stage.call("bad", agent_id="3002", findings={"critical": 1, "major": 0, "minor": 0},
               last_finding={"title": "服务禁语", "quote": "不归我管", "at_ms": 1}, blind=["customer"],
               silence={"since_ms": 0, "limit_ms": 5}, started_at="2026-01-05T09:30:00Z").at_ms = 9_000  # fmt: skip
    stage.call("over", agent_id="3003", findings={"critical": 9, "major": 0, "minor": 0}, score=0.0).is_over = True
    page = open_page("/supervisor", width=1440)
    expect(page.locator(".call-link")).to_have_text(["3002", "3001", "3003"])
    row = page.locator(".call").first
    expect(row).to_contain_text("服务禁语“不归我管”")
    expect(row).to_contain_text("▲ 静默 00:09")
    expect(row).to_contain_text("▲ 听不到客户")
    expect(page.locator("#sums")).to_have_text("进行中 2 通　▲ 严重 1")
    expect(page.locator(".call").last).to_contain_text("已结束 0 分")
    page.locator("#filter").fill("3001")
    expect(page.locator(".call-link")).to_have_text(["3001"])
    assert page.url.endswith("/supervisor?agent=3001")
    page.locator(".call").click()
    expect(page.locator("#title")).to_have_text("坐席 3001")


def test_rows_do_not_move_away_from_under_the_pointer(open_page: Open, stage: Stage) -> None:
    one = stage.call("one", agent_id="3001")
    stage.call("two", agent_id="3002", started_at="2026-01-05T09:30:00Z")
    page = open_page("/supervisor", width=1440)
    expect(page.locator(".call-link")).to_have_text(["3001", "3002"])
    page.locator(".call").first.hover()
    stage.calls["two"].summary["findings"] = {"critical": 1, "major": 0, "minor": 0}
    expect(page.locator("#sums")).to_contain_text("严重 1")
    expect(page.locator(".call-link")).to_have_text(["3001", "3002"])
    expect(page.locator(".call-link")).to_have_text(["3002", "3001"])  # once the pointer has rested
    assert one.summary["agent_id"] == "3001"


def test_fifty_calls_keep_the_page_light(open_page: Open, stage: Stage) -> None:
    for number in range(50):
        rate = {"agent": {"now": 100 + number, **BAND}, "customer": {"now": 200 - number}}
        stage.call(f"c{number:02d}", agent_id=f"30{number:02d}", rate=rate, silence={"since_ms": 0, "limit_ms": 10_000})
    page = open_page("/supervisor", width=1440)
    expect(page.locator(".call")).to_have_count(50)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time, whatever else the machine does

    def busy_s() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    began, busy = time.monotonic(), busy_s()
    for tick in range(15):
        for number, call in enumerate(list(stage.calls.values())):
            call.at_ms += 200
            call.summary["rate"] = {"agent": {"now": 100 + (number + tick) % 90, **BAND}, "customer": {"now": 200}}
        page.wait_for_timeout(200)
    share = (busy_s() - busy) / (time.monotonic() - began)
    print(f"50 calls, five updates a second: {share:.0%} of one core")
    assert share < 0.3


def test_the_call_page_marks_hits_on_the_very_characters(open_page: Open, call: Call) -> None:
    call.say("agent", 1, "😀这个我不知道，不归我管。", 4_000, 6_000)
    call.find("f1", "provisional", turn=1, at=(3, 7), quote="我不知道", category="推诿", suggestion=BETTER)
    call.find("f2", "confirmed", turn=1, at=(8, 12), quote="不归我管", severity="major")
    call.find("f3", "confirmed", turn=1, title="投诉未致歉", severity="major", message="没有致歉")
    call.interim("customer", "那谁")
    page = open_page("/supervisor/c1", width=1280)
    expect(page.locator("mark.hit")).to_have_text(["我不知道▲", "不归我管◆"])
    expect(page.locator(".note")).to_contain_text("投诉未致歉")
    expect(page.locator("#interims")).to_contain_text("那谁")
    expect(page.locator(".finding")).to_contain_text(["投诉未致歉", "不归我管", "我不知道"])
    call.find("f1", "withdrawn", turn=1, at=(3, 7), quote="我不知道", category="推诿")
    expect(page.locator("mark.hit")).to_have_text(["不归我管◆"])
    expect(page.locator(".finding").last).to_contain_text("已撤回")
    page.locator(".finding").first.click()
    expect(page.locator(".turn.revealed")).to_contain_text("不归我管")


def test_a_whisper_goes_out_and_its_way_is_shown(open_page: Open, call: Call) -> None:
    page = open_page("/supervisor/c1", width=1280)
    expect(page.locator("#status")).to_contain_text("已连接")
    box = page.locator("#text")
    box.fill("字" * 61)
    expect(page.locator("#left")).to_have_text("超出 1 字")
    expect(page.locator("#send")).to_be_disabled()
    box.fill("先道歉，再解释")
    box.press("Enter")
    expect(page.locator(".sent")).to_have_text("主管：先道歉，再解释已发送")
    expect(box).to_have_value("")
    call.whisper("w-new", "先道歉，再解释", "delivered", "主管")
    expect(page.locator(".sent")).to_contain_text("已送达")
    call.whisper("w-new", "先道歉，再解释", "seen", "主管")
    expect(page.locator(".sent")).to_contain_text("✓ 已读")
    call.end()
    expect(box).to_be_disabled()
    expect(page.locator("#result")).to_contain_text("86.5 分合格")


@pytest.mark.parametrize("width", [320, 480, 900, 1440])
@pytest.mark.parametrize("path", ["/supervisor", "/supervisor/c1"])
def test_a_supervisors_pages_fit_any_width(open_page: Open, call: Call, path: str, width: int) -> None:
    plant(call)
    call.summary["last_finding"] = {"title": "服务禁语" * 5, "quote": PLANTED * 9, "at_ms": 1}
    page = open_page(path, width=width)
    expect(page.locator("#status")).to_contain_text("已连接")
    expect(page.locator(".call, .turn").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_wrong_token_is_named_and_the_right_one_opens_the_page_asked_for(
    open_page: Open, stage: Stage, call: Call
) -> None:
    stage.token = "open-sesame"
    page = open_page("/overlay/c1", width=320)
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    expect(page.locator("#wrong")).to_contain_text("令牌不对")
    page.locator("#token").fill("open-sesame")
    page.locator("#token").press("Enter")
    expect(page.locator("#spoken")).to_contain_text("您好")
    assert page.url.endswith("/overlay/c1")


# ---- the pure modules


@pytest.fixture
def module(open_page: Open) -> Callable[[str, str], Any]:
    """The value of an expression in which ``m`` is a module of the pages."""
    page = open_page("/overlay/none")
    return lambda name, said: page.evaluate(
        f"async () => {{ const m = await import('/static/{name}'); return {said}; }}"
    )


def test_the_clock_follows_the_newest_news_forgets_old_ones_and_never_goes_back(module: Any) -> None:
    assert module("clock.js", "[m.clockText(62349), m.clockText(3600000), m.clockText(-5)]") == [
        "01:02",
        "1:00:00",
        "00:00",
    ]
    heard = "(() => { const c = new m.CallClock(); for (const [at, now] of %s) c.hear(at, now); return c.at(%d) })()"
    assert module("clock.js", heard % ("[[1000, 100], [1900, 1100]]", 1_200)) == 2_100  # the second came late
    assert module("clock.js", heard % ("[[1000, 100], [30000, 30100]]", 30_200)) == 30_100  # the first is long ago
    back = "(() => { const c = new m.CallClock(); c.hear(5000, 0); const a = c.at(100); return [a, c.at(50)] })()"
    assert module("clock.js", back) == [5_100, 5_100]


def test_waiting_between_tries_doubles_up_to_eight_seconds_with_chance(module: Any) -> None:
    waits = module("stream.js", "[0, 1, 2, 3, 4, 5, 20].map((n) => [m.backoffMs(n, 0), m.backoffMs(n, 1)])")
    assert waits[0] == [500, 600]
    assert waits[-1] == [6_400, 8_000]
    assert all(low < high for low, high in waits)


def test_overlapping_hits_share_characters_the_gravest_first(module: Any) -> None:
    said = """m.cutAtMarks("一二三四五", [
        {char_start: 1, char_end: 4, finding: {id: "a", severity: "minor"}},
        {char_start: 2, char_end: 9, finding: {id: "b", severity: "critical"}}
    ]).map((piece) => piece.text + piece.findings.map((one) => one.id).join(""))"""
    assert module("marks.js", said) == ["一", "二a", "三四ba", "五b"]


def test_finals_stand_by_time_and_a_read_whisper_stays_read(module: Any) -> None:
    said = """[
        {type: "utterance", turn: 0, start_ms: 900, call_id: "c", seq: 1, at_ms: 9},
        {type: "utterance", turn: 1, start_ms: 100, call_id: "c", seq: 2, at_ms: 9},
        {type: "whisper", id: "w", state: "seen", call_id: "c", seq: 3, at_ms: 9},
        {type: "whisper", id: "w", state: "delivered", call_id: "c", seq: 4, at_ms: 9},
        {type: "of a newer server", call_id: "c", seq: 5, at_ms: 9}
    ].reduce(m.reduce, m.BLANK)"""
    state = module("state.js", said)
    assert [one["turn"] for one in state["utterances"]] == [1, 0]
    assert state["whispers"][0]["state"] == "seen"
    assert state["seq"] == 5


def test_a_long_checklist_folds_what_is_settled_and_nothing_else(module: Any) -> None:
    states = ["done", "missed", "done", "pending", "cleared", "done"]
    items = ", ".join(f'{{state: "{state}"}}' for state in states)
    kept = module("checklist.js", f"m.foldSettled([{items}], 4).kept.map((one) => one.state)")
    assert kept == ["missed", "pending", "cleared", "done"]


def wait_until(is_so: Callable[[], bool], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)
