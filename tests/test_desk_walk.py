"""A first day at the desk in a real browser, on the server as a user starts it: from the setup code to a rule's worth.

With ``ANALYZER_SHOTS=FOLDER`` every page that is passed is kept there as a picture, light and dark.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.databases import NewDatabase
from tests.desk_calls import SAMPLES, sample_reports, write_run
from tests.desk_process import DeskProcess, a_desk

pytestmark = pytest.mark.system

expect.set_options(timeout=30_000)
BAD = "bank-unknown-fee"  # the second worst: a forbidden phrase, two duties after a complaint, an interruption
AGENT_ID = next(one["metadata"]["agent_id"] for one in sample_reports() if one["call_id"] == BAD)
PASSWORDS = {
    "zhou": "Lantern-Harbour-62",
    "wang": "Copper-Meadow-48",
    "li": "Winter-Quarry-95",
    "chen": "Amber-Falcon-31",
}
AFTER_REVIEW, AFTER_APPEAL = 93.1, 96.8
PAGES = ("queue", "plans", "calibrations", "trends", "rules", "rules/banned_phrase", "rules/try", "packs", "password",
         "admin/users", "admin/webhooks", "admin/data", "admin/audit")  # fmt: skip
SHOTS = os.environ.get("ANALYZER_SHOTS")

Enter = Callable[[str], Page]


@pytest.fixture
def desk(new_database: NewDatabase, tmp_path: Path) -> Iterator[DeskProcess]:
    recordings = {one["call_id"]: next((SAMPLES / one["call_id"]).glob("call.*")) for one in sample_reports()}
    run = write_run(tmp_path / "run", sample_reports(), recordings)
    with a_desk(new_database(tmp_path), tmp_path / "data") as desk:
        assert f"{len(sample_reports())} new" in desk.command("db", "import", str(run))
        yield desk


@pytest.fixture
def enter(browser: Browser, desk: DeskProcess) -> Iterator[Enter]:
    """Logs somebody in, in a browser of their own. At the end no script may have failed."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def start(name: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 800}))
        contexts[-1].set_default_timeout(120_000)  # the first page of rules loads the pack
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on("console", lambda said: faults.append(f"{page.url}: {said.text}") if said.type == "error" else None)
        page.on(
            "response", lambda answer: faults.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
        )
        if name:
            page.goto(desk.origin)
            page.fill("[name=name]", name)
            page.fill("[name=password]", PASSWORDS[name])
            page.keyboard.press("Enter")
            page.wait_for_selector(".account")
        return page

    yield start
    for context in contexts:
        context.close()
    assert faults == []


def keep(page: Page, name: str) -> None:
    """A picture of it, light and dark, where somebody asked for them."""
    if SHOTS:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.screenshot(path=f"{SHOTS}/{name}-{scheme}.png")
        page.emulate_media(color_scheme="light")


def be_ready(page: Page) -> None:
    page.wait_for_selector("html[data-ready]")


def test_a_first_day_from_the_setup_code_to_what_a_rule_is_worth(desk: DeskProcess, enter: Enter) -> None:
    set_up(desk, enter(""))
    hire(desk)
    number = review_a_bad_call(enter("wang"))
    appeal(enter("chen"), number)
    lead = enter("li")
    decide_the_appeal(lead)
    see_what_came_of_it(lead, number)
    look_around(enter("zhou"))
    assert "all in order" in desk.command("audit", "verify")


def set_up(desk: DeskProcess, page: Page) -> None:
    page.goto(desk.read_setup_url())
    keep(page, "setup")
    page.fill("[name=name]", "zhou")
    page.fill("[name=display_name]", "周管理")
    page.fill("[name=password]", PASSWORDS["zhou"])
    page.fill("[name=again]", PASSWORDS["zhou"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/calls$"))
    expect(page.locator("#total")).to_contain_text(str(len(sample_reports())))


def hire(desk: DeskProcess) -> None:
    for name, *about in (
        ("wang", "--role", "reviewer", "--display-name", "王质检"),
        ("li", "--role", "lead", "--display-name", "李主管"),
        ("chen", "--role", "agent", "--display-name", "小陈", "--agent-id", AGENT_ID),
    ):
        desk.command("user", "add", name, *about, typed=f"{PASSWORDS[name]}\n")


def review_a_bad_call(page: Page) -> int:
    """Heard, its forbidden phrase overturned, all else confirmed, and shared. returns its number"""
    be_ready(page)
    keep(page, "calls")
    page.get_by_role("link", name="最差的先看").click()
    expect(page.locator(".call-row").nth(1)).to_contain_text(AGENT_ID)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/calls/\d+$"))
    be_ready(page)
    page.locator("#autoplay").uncheck()
    before = score(page)
    hear(page)
    page.keyboard.press("2")
    keep(page, "call-reason")
    page.keyboard.type("客户先说的，坐席在复述")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("已复核 1 ")
    count = int((page.locator("#progress").text_content() or "").rpartition("/")[2])
    for done in range(2, count + 1):
        page.keyboard.press("1")
        expect(page.locator("#progress")).to_contain_text(f"已复核 {done} ")
    assert score(page) == AFTER_REVIEW > before
    keep(page, "call-decided")
    page.get_by_role("button", name="下发给坐席").click()
    page.get_by_role("button", name="确定").click()
    expect(page.locator("#state")).to_have_text("已下发")
    return int(page.url.rpartition("/")[2])


def hear(page: Page) -> None:
    """The audio itself, from one second before the words to one second after."""
    finding = page.evaluate("fetch(location.pathname.replace('/calls', '/api/desk/calls')).then((it) => it.json())")[
        "findings"
    ][0]
    page.evaluate(
        """() => {
          const play = HTMLMediaElement.prototype.play;
          HTMLMediaElement.prototype.play = function () {
            globalThis.heard = { audio: this, fromMs: this.currentTime * 1000 };
            return play.call(this);
          };
        }"""
    )
    page.locator(".card").first.locator(".hear").click()
    expect(page.locator("#play-word")).to_have_text("暂停", timeout=30_000)
    expect(page.locator("#now")).not_to_have_text(page.locator("#now").text_content() or "")  # time goes on
    assert page.evaluate("heard.fromMs") == pytest.approx(finding["start_ms"] - 1000, abs=50)
    keep(page, "call-heard")
    expect(page.locator("#play-word")).to_have_text("播放", timeout=30_000)
    assert page.evaluate("heard.audio.currentTime * 1000") == pytest.approx(finding["end_ms"] + 1000, abs=1500)


def score(page: Page) -> float:
    final = page.locator(".score-part.final .score")
    return float((final if final.count() else page.locator("#scores .score").first).text_content() or "nan")


def appeal(page: Page, number: int) -> None:
    be_ready(page)
    expect(page.locator(".items li")).to_have_count(1)
    keep(page, "my")
    box = page.locator(".box", has=page.get_by_role("button", name="我要申诉")).first
    box.get_by_role("button", name="我要申诉").click()
    box.locator("textarea").fill("我当时已经道歉并说明了原因")
    box.get_by_role("button", name="提交申诉").click()
    expect(page.locator("#detail")).to_contain_text("申诉 · 待处理")
    keep(page, "my-appealed")
    page.goto(f"{page.url.partition('/my')[0]}/calls/{number}")
    be_ready(page)
    keep(page, "call-of-agent")


def decide_the_appeal(page: Page) -> None:
    page.get_by_role("link", name="申诉", exact=True).click()
    be_ready(page)
    expect(page.locator("#detail")).to_contain_text("我当时已经道歉并说明了原因")
    keep(page, "appeals")
    page.keyboard.press("1")
    page.keyboard.type("听了录音，属实")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toast")).to_contain_text("申诉成立")


def see_what_came_of_it(page: Page, number: int) -> None:
    """The final score is better again, and two rules are worth less than before."""
    origin = page.url.partition("/appeals")[0]
    page.goto(f"{origin}/calls/{number}")
    be_ready(page)
    assert score(page) == AFTER_APPEAL
    keep(page, "call-after-appeal")
    page.goto(f"{origin}/worth")
    keep(page, "worth")
    assert precision(page, "banned_phrase") == "0.0% n=1"
    assert precision(page, "complaint_apology") == "0.0% n=1"  # it was confirmed, and 100 %, until the appeal
    assert precision(page, "complaint_enquiry") == "100.0% n=1"


def precision(page: Page, rule: str) -> str:
    row = page.locator("tbody tr", has=page.locator("th .hint", has_text=re.compile(f"^{rule}$")))
    return (row.locator("td").nth(6).text_content() or "").strip()


def look_around(page: Page) -> None:
    """Every other page opens, for the admin."""
    origin = page.url.partition("/calls")[0]
    for name in PAGES:
        answer = page.goto(f"{origin}/{name}")
        assert answer
        assert answer.status == 200, name
        page.wait_for_load_state("networkidle")
        keep(page, name.replace("/", "-"))
    actions = page.locator("tbody tr td:nth-child(4)").all_text_contents()
    assert actions
    assert [word for word in actions if word.isascii()] == []  # each has its word
