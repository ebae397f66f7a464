"""The reviewers' pages in a real browser, on the real desk."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from analyzer.store import users
from analyzer.store.importing import import_run
from tests.desk_calls import SAMPLES, many_reports, write_run
from tests.desk_stage import AGENT_ID, Stage, open_stage

pytestmark = pytest.mark.system

expect.set_options(timeout=15_000)
WORST = "bank-unknown-fee"  # a forbidden phrase, two duties after a complaint, an interruption
FAULTY = ("Failed to load resource",)  # what a server refused is no fault of the page

Open = Callable[..., Page]


@contextlib.contextmanager
def running(stage: Stage) -> Iterator[str]:
    """The origin at which the stage answers."""
    server = uvicorn.Server(uvicorn.Config(stage.app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    reports = list(many_reports(65))
    recordings = {}
    for report in reports:
        sample, _, number = report["call_id"].rpartition("-")
        report["metadata"]["agent_id"] = AGENT_ID if sample == WORST else report["metadata"]["agent_id"]
        if number != "00000":  # one call without a recording
            recordings[report["call_id"]] = next((SAMPLES / sample).glob("call.*"))
    with open_stage(folder) as stage:
        stage.clock.now = datetime.now(UTC)  # the browser has a clock of its own
        import_run(stage.store, write_run(folder / "run", reports, recordings))
        yield stage


@pytest.fixture(scope="module")
def origin(stage: Stage) -> Iterator[str]:
    with running(stage) as origin:
        yield origin


@pytest.fixture
def open_page(browser: Browser, stage: Stage, origin: str) -> Iterator[Open]:
    """Opens pages as somebody; at the end no script of theirs may have failed and no request left the host."""
    contexts, faults, asked = [], [], []

    def start(who: str, path: str, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        with stage.store.writing() as session:
            login = users.log_in(session, stage.users[who], stage.clock(), timedelta(hours=12))
        context.add_cookies([{"name": "analyzer_session", "value": login.token, "url": origin}])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(origin + path)
        page.wait_for_selector("html[data-ready]")
        return page

    yield start
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith(FAULTY)] == []
    assert [url for url in asked if not url.startswith((origin, "data:", "blob:"))] == []


def worst_calls(stage: Stage) -> list[int]:
    calls = stage.client("lead").get("/api/desk/calls", params={"agent": AGENT_ID, "sort": "id"}).json()["calls"]
    return [call["id"] for call in calls]


def rows(page: Page) -> Any:
    return page.locator(".call-row")


# ---- the list


def test_a_filter_changes_rows_count_and_address_without_a_new_page(open_page: Open) -> None:
    page = open_page("reviewer", "/calls")
    page.evaluate("window.isSame = true")
    page.select_option("[name=verdict]", "fail")
    expect(page.locator("#total")).not_to_contain_text("65")
    expect(page).to_have_url(re.compile(r"/calls\?verdict=fail$"))
    assert page.locator(".verdict[data-verdict=pass]").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("要投诉就投诉吧")
    expect(page).to_have_url(re.compile("q="))
    expect(rows(page)).to_have_count(5)
    page.go_back()
    expect(page.locator("[name=q]")).to_have_value("")
    expect(page).to_have_url(re.compile(r"/calls\?verdict=fail$"))
    assert page.evaluate("window.isSame")


def test_a_filter_in_the_address_is_what_one_sees(open_page: Open) -> None:
    page = open_page("reviewer", "/calls?severity=critical&sort=score")
    expect(page.locator("[name=severity]")).to_have_value("critical")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("自动分")
    expect(rows(page)).to_have_count(10)


def test_more_comes_at_the_end_until_all_are_there(open_page: Open) -> None:
    page = open_page("reviewer", "/calls")
    expect(rows(page)).to_have_count(50)
    page.locator("#more").scroll_into_view_if_needed()
    expect(rows(page)).to_have_count(65)
    expect(page.locator("#more")).to_be_hidden()


def test_the_list_is_walked_and_opened_by_keys(open_page: Open) -> None:
    page = open_page("reviewer", "/calls?sort=score")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    wanted = rows(page).first.get_attribute("data-id")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/calls/{wanted}$"))
    page.wait_for_selector("html[data-ready]")
    page.locator("#back").click()
    expect(page).to_have_url(re.compile(r"/calls\?sort=score$"))
    expect(rows(page).first.locator(".open")).to_be_focused()


# ---- a call


def test_a_finding_is_heard_from_one_second_before(open_page: Open, stage: Stage) -> None:
    page = open_page("reviewer", f"/calls/{worst_calls(stage)[-1]}")
    card = page.locator(".card").first
    card.locator(".card-head").click()
    expect(card).to_contain_text("要投诉就投诉吧")
    expect(page.locator("mark[data-chosen]")).to_have_text("要投诉就投诉吧")
    card.locator(".hear").click()
    expect(page.locator("#play-word")).to_have_text("暂停", timeout=30_000)
    expect(page.locator("#now")).to_have_text(re.compile("01:0[2-6]"))
    expect(page.locator("#play-word")).to_have_text("播放")  # it stops by itself a second after the words
    expect(page.locator("#now")).to_have_text("01:06")


def test_a_call_is_decided_by_keys_and_its_score_changes_at_once(open_page: Open, stage: Stage) -> None:
    page = open_page("reviewer", f"/calls/{worst_calls(stage)[0]}")
    page.locator("#autoplay").uncheck()
    expect(page.locator("#progress")).to_have_text("已复核 0 / 4")
    before = page.locator("#scores .score").first.text_content()
    page.keyboard.press("2")
    expect(page.locator(".reason-text")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".reason-text")).to_have_attribute("aria-invalid", "true")  # no overturning without a reason
    page.keyboard.press("2")  # the second of the common reasons
    expect(page.locator(".reason-text")).to_have_value("坐席转述客户原话")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_have_text("已复核 1 / 4")
    expect(page.locator(".card").first).to_have_attribute("data-decision", "overturned")
    expect(page.locator(".card").nth(1)).to_have_attribute("data-open", "true")  # the next item, at once
    for done in (2, 3):
        page.keyboard.press("2")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        expect(page.locator("#progress")).to_have_text(f"已复核 {done} / 4")
    page.keyboard.press("1")
    expect(page.locator("#progress")).to_have_text("已复核 4 / 4")
    expect(page.locator(".score-part.final .score")).not_to_have_text(before or "")
    expect(page.locator(".score-change")).to_contain_text("+")
    page.locator("#tab-rules").click()
    expect(page.locator(".rules tr", has_text="服务禁语").locator("td").nth(2)).to_contain_text("符合")
    page.locator("#tab-history").click()
    expect(page.locator("#history")).to_contain_text("推翻（误判）")


def test_what_was_missed_is_added_from_the_words_themselves(open_page: Open, stage: Stage) -> None:
    page = open_page("reviewer", f"/calls/{worst_calls(stage)[1]}")
    page.locator(".turn-text", has_text="谢谢您，这六十块钱").evaluate(
        """(words) => {
          const range = document.createRange();
          range.setStart(words.firstChild, 4);
          range.setEnd(words.firstChild, 8);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
        }"""
    )
    expect(page.locator("#missed-offer")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("#missed-quote")).to_have_text("“这六十块”")
    page.keyboard.type("语气")
    page.locator("#missed-search").fill("不与客户争执")
    page.keyboard.press("Enter")
    expect(page.locator("#missed-chosen")).to_contain_text("争执")
    page.locator("#missed-reason").fill("听起来是在顶嘴")
    page.locator("#missed-save").click()
    expect(page.locator(".card", has_text="人工补记")).to_contain_text("这六十块")
    expect(page.locator("mark[data-chosen]")).to_have_text("这六十块")


def test_manual_items_and_comments_are_kept(open_page: Open, stage: Stage) -> None:
    page = open_page("reviewer", f"/calls/{worst_calls(stage)[1]}")
    page.locator("#tab-manual").click()
    item = page.locator(".manual").first
    item.get_by_text("没做到").click()
    item.locator(".manual-comment").fill("语气生硬")
    item.locator("button").click()
    expect(item.locator(".past")).to_contain_text("没做到")
    expect(page.locator("#count-manual")).to_contain_text("1/")
    page.locator("body").click(position={"x": 5, "y": 300})
    page.keyboard.press("c")
    page.keyboard.type("请注意语气")
    page.locator("#comment-internal").check()
    page.locator("#comment-form button").click()
    expect(page.locator("#comments")).to_contain_text("请注意语气")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator("#tab-notes").click()
    expect(page.locator("#comments")).to_contain_text("内部，坐席看不到")


def test_somebody_elses_change_is_shown_before_one_decides(open_page: Open, stage: Stage) -> None:
    number = worst_calls(stage)[2]
    page = open_page("reviewer", f"/calls/{number}")
    page.locator("#autoplay").uncheck()
    client = stage.client("lead")
    detail = client.get(f"/api/desk/calls/{number}").json()
    finding = next(one for one in detail["findings"] if "confirm" in one["actions"] and one["quote"])
    decided = client.post(f"/api/desk/findings/{finding['id']}/decision", json={"decision": "confirmed"})
    assert decided.status_code == 200
    page.keyboard.press("n")
    page.keyboard.press("1")
    expect(page.locator("#toast")).to_contain_text("其他人刚改过")
    expect(page.locator(f"#finding-{finding['id']}")).to_have_attribute("data-decision", "confirmed")


def test_a_call_without_a_recording_says_so_and_is_reviewed_by_its_text(open_page: Open, stage: Stage) -> None:
    found = stage.client("lead").get("/api/desk/calls", params={"q": "bank-card-limit-00000"}).json()["calls"]
    page = open_page("reviewer", f"/calls/{found[0]['id']}")
    expect(page.locator("#no-recording")).to_contain_text("没有录音")
    expect(page.locator("#play")).to_be_disabled()
    page.locator(".turn-time").nth(3).click()
    expect(page.locator("#now")).not_to_have_text("00:00")


def test_the_queue_leads_from_finding_to_finding_and_from_call_to_call(open_page: Open, stage: Stage) -> None:
    client, me = stage.client("lead"), stage.users["other_reviewer"].id
    calls = client.get("/api/desk/calls", params={"limit": 200, "sort": "id"}).json()["calls"]
    first, second = [call["id"] for call in calls if call["call_id"].startswith("mall-late-washer")][:2]
    for number, hours in ((second, 20), (first, 2)):
        due_at = (stage.clock() + timedelta(hours=hours)).isoformat()
        sent = {"action": "assign", "reviewer_id": me, "due_at": due_at}
        assert client.post(f"/api/desk/calls/{number}/actions", json=sent).status_code == 200

    page = open_page("other_reviewer", "/queue")
    expect(page.locator("#sums")).to_contain_text("待复核 2 通")
    expect(page.locator(".deadline").first).to_have_text("还剩 2 小时")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/calls/{first}\?from=queue&finding="))
    page.wait_for_selector("html[data-ready]")
    page.locator("#autoplay").uncheck()
    total = int((page.locator("#progress").text_content() or "").rpartition("/")[2])
    for done in range(1, total):
        page.keyboard.press("1")
        expect(page.locator("#progress")).to_have_text(f"已复核 {done} / {total}")
    page.keyboard.press("1")
    expect(page).to_have_url(re.compile(rf"/calls/{second}\?from=queue"))
    own = stage.client("other_reviewer").get("/api/desk/queue").json()
    assert own["open"] == 1


# ---- from the reviewer to the agent and back


def test_a_finding_goes_to_its_agent_is_appealed_and_upheld(open_page: Open, stage: Stage) -> None:
    number = worst_calls(stage)[3]
    client = stage.client("reviewer")
    for finding in client.get(f"/api/desk/calls/{number}").json()["findings"]:
        if "confirm" in finding["actions"]:
            client.post(f"/api/desk/findings/{finding['id']}/decision", json={"decision": "confirmed"})
    page = open_page("reviewer", f"/calls/{number}")
    page.get_by_role("button", name="下发给坐席").click()
    page.get_by_role("button", name="确定").click()
    expect(page.locator("#state")).to_have_text("已下发")

    own = open_page("agent", f"/my?call={number}")
    box = own.locator(".box", has_text="要投诉就投诉吧")
    expect(own.locator(".deadline")).to_contain_text("可申诉至")
    box.get_by_role("button", name="我要申诉").click()
    box.locator("textarea").fill("客户先这么说，我只是重复他的话")
    box.get_by_role("button", name="提交申诉").click()
    expect(box).to_contain_text("申诉 · 待处理")

    desk = open_page("lead", "/appeals")
    expect(desk.locator("#detail")).to_contain_text("客户先这么说")
    desk.keyboard.press("1")
    desk.keyboard.type("听录音，确是重复客户的话")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#toast")).to_contain_text("申诉成立")

    own.reload()
    expect(own.locator("#detail")).to_contain_text("复核时已推翻 1 条")


# ---- how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1920])
def test_nothing_is_wider_than_the_screen(open_page: Open, stage: Stage, width: int, scheme: str) -> None:
    number = worst_calls(stage)[-1]
    for who, path in (("reviewer", "/calls"), ("reviewer", f"/calls/{number}"), ("lead", "/appeals"), ("agent", "/my")):
        page = open_page(who, path, width=width, height=800 if width == 1280 else 1080, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


# ---- modules without a DOM


@pytest.fixture
def run(open_page: Open) -> Callable[[str, str], Any]:
    """Evaluates an expression with what a module of static/desk exports."""
    page = open_page("reviewer", "/calls")
    return lambda module, code: page.evaluate(f"import('/static/desk/{module}.js').then((m) => {{ {code} }})")


def test_the_view_of_the_waveform_stays_inside_the_call(run: Callable[[str, str], Any]) -> None:
    code = """
      const whole = m.wholeCall(7_200_000);
      const near = m.zoomed(whole, 1_000_000, 7_199_000);
      const beyond = m.scrolled(near, 60_000);
      const back = m.zoomed(near, 1e-9, 0);
      return [near.toMs - near.fromMs, near.toMs <= 7_200_000, beyond.toMs, back.fromMs, back.toMs,
        m.msOf(near, 1000, m.xOf(near, 1000, 7_199_000)), m.ticks(whole, 1200).length];
    """
    length, is_inside, beyond, first, last, same, ticks = run("timeline", f"return (() => {{{code}}})()")
    assert (length, is_inside, beyond, first, last) == (2_000, True, 7_200_000, 0, 7_200_000)
    assert same == pytest.approx(7_199_000)
    assert 3 <= ticks <= 14


def test_the_spoken_character_follows_its_times_not_its_place(run: Callable[[str, str], Any]) -> None:
    code = """
      const turn = {start_ms: 0, end_ms: 1000, text: '😀您好', chars: [[0, 600], [600, 700], [700, 1000]]};
      const plain = {start_ms: 0, end_ms: 900, text: '一二三', chars: null};
      return [m.characterAt(turn, 650), m.characterAt(plain, 650), m.characterAt(plain, 900),
        m.unitsOf(turn.text, 1, 2), m.codePointsBefore(turn.text, 2)];
    """
    assert run("spoken", f"return (() => {{{code}}})()") == [1, 2, -1, [2, 3], 1]


def test_pauses_are_told_apart_by_what_the_agent_said_before(run: Callable[[str, str], Any]) -> None:
    code = """
      const turns = [
        {role: 'agent', start_ms: 0, end_ms: 1000, text: '请您稍等'},
        {role: 'agent', start_ms: 20000, end_ms: 21000, text: '您好'},
        {role: 'customer', start_ms: 30000, end_ms: 31000, text: '喂'},
      ];
      return [m.pauses(turns, null, 31000).map((one) => one.kind),
        m.readingOrder(turns, m.pauses(turns, null, 31000)).map((row) => row.turn ? 't' : 'p').join('')];
    """
    assert run("spoken", f"return (() => {{{code}}})()") == [["hold", "silence"], "tptpt"]


def test_after_a_decision_comes_the_next_undecided_then_the_first(run: Callable[[str, str], Any]) -> None:
    code = """
      const list = [1, 2, 3].map((id) => ({id, decision: id === 2 ? 'confirmed' : null, reviews: []}));
      return [m.nextUndecided(list, 1)?.id, m.nextUndecided(list, 3)?.id,
        m.nextUndecided(list.map((one) => ({...one, decision: 'unsure'})), 1),
        m.neighbour(list, 3, 1).id, m.neighbour(list, null, 1).id, m.scoreChange(74.8, 82.1), m.scoreChange(80, 80)];
    """
    assert run("call_state", f"return (() => {{{code}}})()") == [3, 1, None, 3, 1, "+7.3", ""]


def test_the_address_holds_only_what_narrows_the_list(run: Callable[[str, str], Any]) -> None:
    code = """
      const query = m.tidied([['q', ' 退款 '], ['team', ''], ['sort', '-started_at']]);
      return [query.toString(), m.isSame(new URLSearchParams('a=1&b=2'), new URLSearchParams('b=2&a=1')),
        m.nextSort('-started_at', 'score'), m.nextSort('-score', 'score'), m.nextSort('score', 'score')];
    """
    found = run("calls_query", f"return (() => {{{code}}})()")
    assert found == ["q=%E9%80%80%E6%AC%BE", True, "-score", "score", "-started_at"]


def test_a_deadline_of_a_week_has_seven_days_left_when_it_begins(run: Callable[[str, str], Any]) -> None:
    code = """
      const now = new Date('2026-11-23T09:00:05Z');
      return ['2026-11-30T09:00:00Z', '2026-11-25T08:59:00Z', '2026-11-23T11:10:00Z', '2026-11-23T09:59:50Z',
        '2026-11-20T09:00:00Z'].map((iso) => m.untilText(iso, now).text);
    """
    found = run("moments", f"return (() => {{{code}}})()")
    assert found == ["还剩 7 天", "还剩 2 天", "还剩 2 小时", "还剩 1 小时", "已过 3 天"]
