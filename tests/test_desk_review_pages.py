"""The reviewers' pages as files and as the server draws them. No browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from analyzer.desk.review_pages import modules_of
from analyzer.desk.words import DESK_WORDS
from analyzer.labels import DIRECTIONS, ROLES, SEVERITIES, VERDICTS
from analyzer.review.workflow import CALL_ACTIONS, DECIDING, NAMES, Action, Decision, Round, State
from analyzer.store.importing import import_run
from analyzer.types import Direction, Match, Outcome, Role, Severity, Verdict
from analyzer.web import FOLDER, STATIC
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import AGENT_ID, Stage, open_stage
from tests.test_web_pages import _Page

PAGES = ("calls", "call", "queue", "appeals", "my")
WORDS = (STATIC / "desk" / "words.js").read_text("utf-8")


# ---- files


def template(name: str) -> Path:
    return FOLDER / "templates" / f"{name}.html"


def modules(script: Path) -> set[Path]:
    """A module and everything it imports."""
    found, waiting = set(), [script]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            names = re.findall(r'^import [^"]*"(\.[^"]+)"', one.read_text("utf-8"), re.MULTILINE)
            waiting += [(one.parent / name).resolve() for name in names]
    return found


def scripts_of(name: str) -> set[Path]:
    links = [link for link in _Page(template(name)).links if link.endswith(".js")]
    return {module for link in links for module in modules((FOLDER / link.lstrip("/")).resolve())}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_a_page_asks_for_is_in_the_package(name: str) -> None:
    own = [link for link in _Page(template(name)).links if link.startswith("/static/") and "{{" not in link]
    assert any(link.endswith(".js") for link in own)
    assert [link for link in own if not (FOLDER / link.lstrip("/")).is_file()] == []
    assert [path for path in scripts_of(name) if not path.is_file()] == []


def test_a_call_page_fetches_all_its_modules_at_once() -> None:
    wanted = {path.relative_to(STATIC).as_posix() for path in modules(STATIC / "desk" / "call.js")}
    assert {*modules_of("desk/call.js"), "desk/call.js"} == wanted


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_scripts_and_styles_in_files_of_their_own(name: str) -> None:
    assert _Page(template(name)).inline == []


@pytest.mark.parametrize("name", PAGES)
def test_every_id_a_script_asks_for_is_on_its_page_once(name: str) -> None:
    read = _Page(template(name))
    ids = {*read.ids, "rows"} if name == "calls" else set(read.ids)  # the rows are a template of their own
    wanted = {
        found for script in scripts_of(name) for found in re.findall(r'byId\("([\w-]+)"\)', script.read_text("utf-8"))
    }
    assert wanted - ids == set()
    assert len(read.ids) == len(set(read.ids))


@pytest.mark.parametrize(
    ("block", "codes"),
    [
        ("outcomes", Outcome),
        ("decisions", Decision),
        ("states", State),
        ("matches", Match),
        ("rounds", Round),
        ("actions", Action),
        ("severities", Severity),
        ("verdicts", Verdict),
        ("directions", Direction),
        ("roles", Role),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_pages_have_a_word_for_every_code(block: str, codes: type[StrEnum]) -> None:
    assert {*codes} <= {*DESK_WORDS[block]}


def test_scripts_take_the_desk_s_words_from_the_page(stage: Stage) -> None:
    html = stage.client("reviewer").get("/queue").text
    sent = re.search(r'<script type="application/json" id="desk-words">(.*?)</script>', html)
    assert sent is not None
    said = json.loads(sent[1])
    assert said["states"] == {state.value: name for state, name in NAMES.items()}
    wanted = re.findall(r"(\w+): [A-Z_]+", "".join(re.findall(r"export const \{(.*?)\} = said;", WORDS)))
    assert len(wanted) > 5
    assert {*wanted} <= {*said}
    chinese = set(re.findall(r'"([\u4e00-\u9fff]+)"', WORDS.partition("What may be done")[0]))
    assert chinese == set()  # nothing said a second time


@pytest.mark.parametrize(
    ("block", "words"),
    [("DIRECTIONS", DIRECTIONS), ("VERDICTS", VERDICTS), ("SEVERITIES", SEVERITIES), ("ROLES", ROLES)],
)
def test_the_live_pages_call_things_as_the_reports_do(block: str, words: dict[str, str]) -> None:
    """They are plain files, without a template that could bring the words along."""
    live = (STATIC / "words.js").read_text("utf-8")
    text = re.search(rf"export const {block} = \{{(.*?)\}};", live, re.DOTALL)
    assert text is not None
    said = dict(re.findall(r'(\w+): (?:\{ word: )?"([^"]+)"', text[1]))
    said.pop("shape", None)
    assert said == {code: word for code, word in words.items() if code in said}
    assert {*words} - {*said} <= {"system"}  # which never speaks in a live call


def test_the_decision_buttons_know_the_workflows_actions() -> None:
    for decision, action in DECIDING.items():
        assert re.search(rf'\b{decision.value}: \{{[^}}]*ACTIONS.{action.value}[^}}]*action: "{action.value}"', WORDS)
    reasons = re.search(r"export const REASONS = \{(.*?)\n\};", WORDS, re.DOTALL)
    assert reasons is not None
    assert set(re.findall(r"^  (\w+): ", reasons[1], re.MULTILINE)) == {decision.value for decision in Decision}
    known = re.search(r"export const CALL_ACTIONS = \{(.*?)\n\};", WORDS, re.DOTALL)
    assert known is not None
    assert set(re.findall(r"^  (\w+): ", known[1], re.MULTILINE)) <= {action.value for action in CALL_ACTIONS}


@pytest.mark.parametrize(("path", "entry"), [("/packs", "/rules"), ("/rules/try", "/rules"), ("/queue", "/queue")])
def test_a_page_below_an_entry_is_shown_as_part_of_it(stage: Stage, path: str, entry: str) -> None:
    html = stage.client("lead").get(path).text
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', html) == [entry]


# ---- as drawn


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    reports = list(many_reports(60))
    reports[0]["metadata"]["agent_id"] = AGENT_ID
    reports[1]["metadata"]["team"] = "<b>三组</b>"
    with open_stage(folder) as stage:
        import_run(stage.store, write_run(folder / "run", reports))
        yield stage


def rows(html: str) -> list[str]:
    return re.findall(r'<tr class="call-row" data-id="(\d+)"', html)


def test_the_list_is_there_with_the_first_answer(stage: Stage) -> None:
    html = stage.client("reviewer").get("/calls").text
    assert len(rows(html)) == 50
    assert 'data-total="60"' in html
    assert html.count("<table") == html.count("</table>") == 1


def test_the_rows_alone_go_on_where_the_page_ended(stage: Stage) -> None:
    client = stage.client("reviewer")
    page = client.get("/calls").text
    cursor = re.search(r'data-next="([^"]+)"', page)
    assert cursor is not None
    more = client.get("/calls/rows", params={"cursor": cursor[1]}).text
    assert len(rows(more)) == 10
    assert set(rows(more)).isdisjoint(rows(page))
    assert 'data-next=""' in more
    assert "<html" not in more


def test_the_filter_of_the_address_stands_in_the_form(stage: Stage) -> None:
    html = stage.client("lead").get("/calls", params={"verdict": "fail", "q": "投诉", "min_score": "50"}).text
    assert re.search(r'<option value="fail" selected>', html)
    assert 'value="投诉"' in html
    assert re.search(r'name="min_score"[^>]*value="50"', html)
    assert rows(html)
    assert len(rows(html)) < 20


def test_what_was_imported_cannot_write_into_the_page(stage: Stage) -> None:
    html = stage.client("reviewer").get("/calls", params={"limit": "200"}).text
    assert "&lt;b&gt;三组&lt;/b&gt;" in html
    assert "<b>三组</b>" not in html


def test_an_address_that_means_nothing_says_so_on_a_page(stage: Stage) -> None:
    answer = stage.client("reviewer").get("/calls", params={"sort": "nonsense"}, headers={"accept": "text/html"})
    assert answer.status_code == 422
    assert "nonsense" in answer.text


def test_the_scores_stand_beside_each_other_and_demo_results_say_what_they_are(stage: Stage) -> None:
    html = stage.client("reviewer").get("/calls").text
    assert "自动分" in html
    assert "终审分" in html
    assert "demo (synthetic voices only)" in html


def test_scripts_are_asked_after_but_not_sent_again_and_calls_are_not_kept(stage: Stage) -> None:
    client = stage.client("reviewer")
    first = client.get("/static/desk/call.js")
    assert client.get("/static/desk/call.js", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/calls").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/calls", "/calls/rows", "/queue", "/appeals"])
def test_an_agent_does_not_get_the_reviewers_pages(stage: Stage, path: str) -> None:
    assert stage.client("agent").get(path).status_code == 403


def test_a_call_that_was_not_shared_is_not_there_for_its_agent(stage: Stage) -> None:
    number = stage.client("reviewer").get("/api/desk/calls", params={"agent": AGENT_ID}).json()["calls"][0]["id"]
    assert stage.client("agent").get(f"/calls/{number}").status_code == 404
    assert stage.client("reviewer").get(f"/calls/{number}").status_code == 200
    assert stage.client("agent").get("/my").status_code == 200
    assert stage.client("reviewer").get("/my").status_code == 403
