"""A recording that no browser plays, heard in one: at the right second, one side without the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from analyzer.store import users
from analyzer.store.importing import import_run
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import Stage, open_stage
from tests.sounds import chirps, write_sound
from tests.test_desk_browser import running

pytestmark = pytest.mark.system

AT = [1.0, 61.0, 150.25, 299.75]  # seconds into the recording, on the agent's side
LEAD = 0.5

# After a seek the last sound before it may still come out of the graph: it is let go by before listening.
LISTEN = """async ([url, times, lead]) => {
  const audio = new Audio(url);
  await new Promise((resolve, reject) => {
    audio.onloadedmetadata = resolve;
    audio.onerror = () => reject(new Error(audio.error.message));
  });
  const context = new AudioContext();
  const sides = context.createChannelSplitter(2);
  context.createMediaElementSource(audio).connect(sides);
  const agent = context.createScriptProcessor(256, 1, 1), customer = context.createScriptProcessor(256, 1, 1);
  sides.connect(agent, 0); sides.connect(customer, 1);
  agent.connect(context.destination); customer.connect(context.destination);
  const loudest = (event) => event.inputBuffer.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  let leaked = 0;
  customer.onaudioprocess = (event) => { leaked = Math.max(leaked, loudest(event)); };
  const heard = [];
  for (const time of times) {
    audio.currentTime = time - lead;
    await new Promise((resolve) => { audio.onseeked = resolve; });
    await audio.play();
    heard.push(await new Promise((resolve) => {
      agent.onaudioprocess = (event) => {
        if (audio.currentTime > time - lead / 2 && loudest(event) > 0.2) resolve(audio.currentTime);
        if (audio.currentTime > time + 1) resolve(null);
      };
    }));
    audio.pause();
  }
  return { heard, leaked, duration: audio.duration };
}"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    sound = write_sound(tmp_path / "call.wav", chirps(301, AT), 0 * chirps(301, []), codec="adpcm_ms")
    with open_stage(tmp_path) as stage:
        stage.clock.now = datetime.now(UTC)
        reports = list(many_reports(1))
        import_run(stage.store, write_run(tmp_path / "run", reports, {reports[0]["call_id"]: sound}))
        yield stage


def test_a_browser_hears_every_moment_where_the_report_says(browser: Browser, stage: Stage) -> None:
    with running(stage) as origin:
        with stage.store.writing() as session:
            login = users.log_in(session, stage.users["admin"], stage.clock(), timedelta(hours=1))
        context = browser.new_context()
        context.add_cookies([{"name": "analyzer_session", "value": login.token, "url": origin}])
        page = context.new_page()
        page.goto(f"{origin}/healthz")
        page.mouse.click(1, 1)  # sound needs somebody to have touched the page
        found = page.evaluate(LISTEN, ["/api/desk/calls/1/audio", AT, LEAD])
        context.close()
    assert found["duration"] == pytest.approx(301, abs=0.2)  # ADPCM fills its last block
    assert found["heard"] == pytest.approx(AT, abs=0.1)
    assert found["leaked"] < 1e-6
