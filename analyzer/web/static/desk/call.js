/** The page of one call: hear it, see what was found, decide, go on to the next. */

import { clockText } from "../clock.js";
import { byId, make, setAttribute, setData, show, write } from "../dom.js";
import { noticeText } from "../words.js";
import { ask, isGood, post, troubleText } from "./api.js";
import { isDecided, neighbour, nextUndecided, progress, splitFindings, withChanges } from "./call_state.js";
import { button, FindingCards } from "./findings.js";
import { drawJudgements } from "./judgements.js";
import { onKeys } from "./keys.js";
import { drawManual, missingItems } from "./manual.js";
import { MissedDialog } from "./missed.js";
import { drawComments, drawHistory } from "./notes.js";
import { blocks, Peaks } from "./peaks.js";
import { Player } from "./player.js";
import { drawProgress, drawRules, drawScores } from "./scorecard.js";
import { tell } from "./toast.js";
import { Transcript } from "./transcript.js";
import { CALL_ACTIONS, STATES } from "./words.js";
import { Waveform } from "./waveform.js";

const asked = new URLSearchParams(location.search);
const callId = Number(byId("call").dataset.id);
const isFromQueue = asked.get("from") === "queue";
const ids = neighbours();

let detail, player, waveform, transcript, cards, missed;
let chosen = null; // id of the open finding
let isHistoryOld = false; // something was done since it was read

start();

async function start() {
  const answer = await ask(`/calls/${callId}`);
  if (!isGood(answer)) {
    write(byId("loading"), troubleText(answer));
    return;
  }
  detail = answer.body;
  show(byId("loading"), false);
  show(byId("desk"), true);
  build();
  draw();
  const wanted = Number(asked.get("finding"));
  const { work } = splitFindings(detail.findings);
  choose(work.find((one) => one.id === wanted) ?? work.find((one) => !isDecided(one)) ?? work[0] ?? null, { quietly: true });
  document.documentElement.dataset.ready = "true";
}

// ---- parts

function build() {
  const sides = detail.recording?.channels ?? ["agent", "customer"];
  player = new Player(detail.recording && `/api/desk/calls/${callId}/audio`, sides, detail.duration_ms);
  transcript = new Transcript(byId("transcript"), {
    turns: detail.turns, activity: detail.activity, durationMs: detail.duration_ms,
    onSeek: (ms) => hearFrom(ms), onFinding: (id) => chooseAndHear(id),
  });
  waveform = new Waveform({
    still: byId("wave-still"), moving: byId("wave-moving"), durationMs: detail.duration_ms, lanes: lanes(sides),
    read: reader(), onSeek: (ms) => player.seek(ms), onFinding: (finding) => chooseAndHear(finding.id),
  });
  waveform.show({ pauses: transcript.pauses });
  cards = new FindingCards(byId("findings"), {
    onChoose: (finding) => (finding.id === chosen ? undefined : choose(finding)),
    onHear: (finding) => hear(finding), onDecide: decide,
  });
  if (detail.may.add) {
    missed = new MissedDialog({ transcript, rules: detail.rules, onAdd: addMissed });
  }
  buildPlayer(sides);
  buildTabs();
  byId("comment-form").addEventListener("submit", comment);
  show(byId("comment-internal-field"), detail.history.length > 0 || detail.may.decide);
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("help-close").addEventListener("click", () => byId("help").close());
  listenToKeys();
}

function lanes(sides) {
  const seen = sides.filter((side) => side !== "system");
  return seen.length ? seen : ["agent", "customer"];
}

/** Peaks of the recording; where there is none, blocks of who spoke when. */
function reader() {
  if (detail.recording) {
    const asked = { onArrive: () => waveform.draw(), onTrouble: cannotHear };
    return new Peaks(callId, detail.duration_ms, asked).read;
  }
  const turns = Object.groupBy(detail.turns, (turn) => turn.role);
  const said = Object.fromEntries(Object.entries(turns).map(([role, own]) => [role, own.map((turn) => [turn.start_ms, turn.end_ms])]));
  return blocks({ ...said, ...detail.activity });
}

function buildPlayer(sides) {
  const play = byId("play");
  play.addEventListener("click", () => player.toggle());
  byId("speed").addEventListener("change", (event) => player.setRate(Number(event.target.value)));
  byId("zoom-in").addEventListener("click", () => waveform.zoom(2));
  byId("zoom-out").addEventListener("click", () => waveform.zoom(0.5));
  byId("zoom-all").addEventListener("click", () => waveform.fit());
  keepChoices();
  transcript.follows = byId("follow").checked;
  byId("follow").addEventListener("change", (event) => (transcript.follows = event.target.checked));
  if (player.canPlay) player.setRate(Number(byId("speed").value));
  for (const side of ["agent", "customer"]) {
    byId(`mute-${side}`).addEventListener("click", () => player.toggleMute(side));
    show(byId(`mute-${side}`), player.canMute && sides.includes(side));
  }
  show(byId("no-recording"), !player.canPlay);
  if (!player.canPlay) write(byId("no-recording"), "没有录音：这通电话导入时只有文字稿，仍可按文字复核");
  play.disabled = byId("speed").disabled = !player.canPlay;
  player.addEventListener("moved", moved);
  player.addEventListener("changed", drawPlayer);
  player.addEventListener("failed", audioFailed);
  player.addEventListener("refused", () => tell("浏览器不让自动播放，请点一下“播放”", { kind: "bad" }));
  drawPlayer();
  moved();
}

/** How somebody likes to listen stays as it is, on this machine. */
function keepChoices() {
  for (const field of [byId("speed"), byId("follow"), byId("autoplay")]) {
    const kept = localStorage.getItem(`desk.${field.id}`);
    if (kept !== null && field.type === "checkbox") field.checked = kept === "true";
    else if (kept !== null) field.value = kept;
    field.addEventListener("change", () => localStorage.setItem(`desk.${field.id}`, field.type === "checkbox" ? field.checked : field.value));
  }
}

function drawPlayer() {
  write(byId("play-word"), player.isPlaying ? "暂停" : "播放");
  write(byId("play-shape"), player.isPlaying ? "❚❚" : "▶");
  byId("speed").value = String(player.rate);
  for (const side of ["agent", "customer"]) setAttribute(byId(`mute-${side}`), "aria-pressed", player.muted.has(side));
  waveform.show({ muted: player.muted });
}

function moved() {
  const ms = player.atMs;
  write(byId("now"), clockText(ms));
  waveform.moveTo(ms, player.isPlaying && transcript.follows);
  transcript.moveTo(ms, player.isPlaying);
}

/** Say why, in the server's words: the file may be gone, or may not be heard. */
async function audioFailed() {
  const answer = await fetch(`/api/desk/calls/${callId}/audio`, { headers: { Range: "bytes=0-0" } }).catch(() => null);
  const body = answer?.ok ? null : await answer?.json().catch(() => null);
  cannotHear(body?.message ?? "浏览器不能播放这个文件");
}

function cannotHear(why) {
  write(byId("no-recording"), `没有录音可听：${why}`);
  show(byId("no-recording"), true);
  byId("play").disabled = byId("speed").disabled = true;
}

// ---- drawing

function draw() {
  const { work, remarks } = splitFindings(detail.findings);
  waveform.show({ findings: [...work, ...remarks.filter((one) => one.id === chosen)], chosen });
  transcript.mark(detail.findings, chosen);
  cards.draw(shownFindings(), chosen);
  drawHead();
  drawRules(byId("rules"), detail.rules, (rule) => choose(work.find((one) => one.rule === rule) ?? remarks.find((one) => one.rule === rule) ?? null));
  drawManual(byId("manual"), detail.manual, { mayScore: detail.may.score_manual, onScore: scoreManual });
  show(byId("no-manual"), detail.manual.length === 0);
  drawComments(byId("comments"), detail.comments, hearFrom);
  drawHistory(byId("history"), detail.history, detail.findings);
  write(byId("count-rules"), String(detail.rules.filter((rule) => rule.final_outcome === "violation").length));
  write(byId("count-manual"), `${detail.manual.length - missingItems(detail.manual)}/${detail.manual.length}`);
  write(byId("count-comments"), String(detail.comments.length));
  show(byId("remarks-toggle"), remarks.length > 0);
  write(byId("remarks-count"), `试行与提示 ${remarks.length}`);
  show(byId("nothing-found"), shownFindings().length === 0);
  show(byId("nothing-hint"), detail.may.add);
}

function shownFindings() {
  const { work, remarks } = splitFindings(detail.findings);
  return byId("remarks-shown").checked ? [...work, ...remarks] : work;
}

function drawHead() {
  drawScores(byId("scores"), detail);
  drawJudgements(byId("judgements"), detail);
  const done = progress(detail.findings);
  drawProgress(byId("progress"), done);
  setData(byId("progress"), "done", done.total > 0 && done.decided === done.total);
  write(byId("state"), STATES[detail.state] ?? detail.state);
  const troubles = [
    detail.notice && noticeText(detail.notice),
    detail.truncated && "录音不完整：有一部分没有判定",
    ...detail.warnings,
  ].filter(Boolean);
  byId("troubles").replaceChildren(...troubles.map((text) => make("li", "trouble", text)));
  const known = detail.actions.filter((action) => action in CALL_ACTIONS);
  byId("actions").replaceChildren(...known.map((action) => button(CALL_ACTIONS[action].word, "", () => act(action))));
  const isDone = detail.may.decide && (done.total === 0 || done.decided === done.total);
  show(byId("finish"), isDone);
  if (isDone) {
    const left = missingItems(detail.manual);
    const what = done.total === 0 ? "没有待复核的发现。" : "发现都已复核。";
    write(byId("finish-text"), left && detail.may.score_manual ? `${what}还有 ${left} 项人工项没有评分。` : what);
  }
}

function buildTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const open = (tab) => {
    for (const one of tabs) {
      setAttribute(one, "aria-selected", one === tab);
      one.tabIndex = one === tab ? 0 : -1;
      show(byId(one.getAttribute("aria-controls")), one === tab || (isWide.matches && one.id === "tab-findings"));
    }
    if (tab.id === "tab-history" && isHistoryOld) readAgain();
  };
  const selected = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true");
  const isWide = matchMedia("(min-width: 1600px)"); // then findings have a column of their own
  const fit = () => open(isWide.matches && selected().id === "tab-findings" ? byId("tab-rules") : selected());
  for (const tab of tabs) tab.addEventListener("click", () => open(tab));
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.stopPropagation();
    const next = tabs[(tabs.indexOf(selected()) + step + tabs.length) % tabs.length];
    open(next);
    next.focus();
  });
  isWide.addEventListener("change", fit);
  byId("remarks-shown").addEventListener("change", draw);
  openTab = (name) => open(byId(`tab-${name}`));
  fit();
}

let openTab = () => {};

// ---- choosing and hearing

function find(id) {
  return detail.findings.find((one) => one.id === id) ?? null;
}

function choose(finding, { quietly = false } = {}) {
  chosen = finding?.id ?? null;
  if (finding && !shownFindings().includes(finding)) byId("remarks-shown").checked = true;
  draw();
  if (!finding) return;
  if (!matchMedia("(min-width: 1600px)").matches) openTab("findings");
  waveform.frame(finding.start_ms, finding.end_ms);
  transcript.reveal(finding);
  cards.reveal(finding);
  if (quietly) player.seek(finding.start_ms - 1_000);
}

function chooseAndHear(id) {
  const finding = find(id);
  choose(finding);
  hear(finding);
}

/** A hit is played to its end; of something missing one hears where it was due, as long as one likes. */
function hear(finding) {
  player.playFrom(finding.start_ms, finding.match === "absent" ? null : finding.end_ms);
}

function hearFrom(ms) {
  player.seek(ms);
  player.play();
}

// ---- deciding

async function decide(finding, decision, reason) {
  const answer = await post(`/findings/${finding.id}/decision`, { decision, reason, version: detail.version });
  if (!isGood(answer)) return refuse(answer, () => decide(find(finding.id), decision, reason));
  take(answer.body);
  const next = nextUndecided(splitFindings(detail.findings).work, finding.id);
  if (next) goOn(next);
  else await finished();
  return true;
}

function goOn(finding) {
  choose(finding);
  if (byId("autoplay").checked) hear(finding);
}

/** Everything on this call is decided: in the queue the next one comes at once, unless manual items were begun. */
async function finished() {
  player.pause();
  const left = missingItems(detail.manual);
  const isBegun = left > 0 && left < detail.manual.length;
  if (isFromQueue && !isBegun) await toNextCall();
  else tell("这通电话的发现都已复核");
}

/** In the queue: what is done is handed in, on to the next one; from the list: the call below. */
async function toNextCall() {
  if (!isFromQueue) {
    const next = ids[ids.indexOf(callId) + 1];
    if (next) location.href = `/calls/${next}`;
    else location.href = byId("back").href;
    return;
  }
  if (!byId("finish").hidden) {
    const done = await finishAssignment();
    if (!isGood(done)) return void tell(troubleText(done), { kind: "bad" });
  }
  const answer = await ask(`/queue/next?after_call=${callId}`);
  const next = isGood(answer) ? answer.body : null;
  if (!next) {
    location.href = "/queue?done=1";
    return;
  }
  const query = new URLSearchParams({ from: "queue" });
  if (next.finding_id) query.set("finding", next.finding_id);
  location.href = `/calls/${next.call_id}?${query}`;
}

/** My open assignment of this call, if there is one, is done. */
async function finishAssignment() {
  const answer = await ask("/queue?state=open&limit=200");
  if (!isGood(answer)) return answer;
  const own = answer.body.assignments.find(({ call, round }) => call.id === callId && (round === "first" || round === "second"));
  return own ? post(`/assignments/${own.id}/done`) : answer;
}

async function addMissed(sent) {
  const answer = await post(`/calls/${callId}/findings`, { ...sent, version: detail.version });
  if (!isGood(answer)) return refuse(answer);
  take(answer.body);
  choose(answer.body.finding ? find(answer.body.finding.id) : null);
  tell("已补记，并作为规则用例的草稿留给规则维护者");
  return true;
}

async function scoreManual(sent) {
  const answer = await post(`/calls/${callId}/manual`, { ...sent, version: detail.version });
  if (!isGood(answer)) return refuse(answer);
  take(answer.body);
  tell("已评分");
  return true;
}

async function comment(event) {
  event.preventDefault();
  const text = byId("comment-text");
  const answer = await post(`/calls/${callId}/comments`, {
    text: text.value.trim(),
    at_ms: byId("comment-at").checked ? player.atMs : null,
    is_internal: byId("comment-internal").checked,
  });
  if (!isGood(answer)) return refuse(answer);
  text.value = "";
  take(answer.body);
}

async function act(action) {
  const { asks, needs, word } = CALL_ACTIONS[action];
  const why = asks ? await askWhy(word, asks, needs) : "";
  if (why === null) return;
  const me = action === "assign" ? { reviewer_id: Number(byId("call").dataset.user) } : {};
  const answer = await post(`/calls/${callId}/actions`, { action, why, version: detail.version, ...me });
  if (!isGood(answer)) return refuse(answer, () => act(action));
  take(answer.body);
  tell(`已${word}`);
}

function take(changes) {
  detail = withChanges(detail, changes);
  isHistoryOld = true;
  draw();
}

/** The call as the server has it now. */
async function readAgain() {
  const answer = await ask(`/calls/${callId}`);
  if (!isGood(answer)) return;
  detail = answer.body;
  isHistoryOld = false;
  draw();
}

/** Nothing was saved: say so; if others changed the call meanwhile, show what they did. Answers false. */
function refuse(answer, again = null) {
  if (answer.status === 409) {
    readAgain().then(() => tell("其他人刚改过这通电话，已经刷新；请看过后再提交一次", { kind: "bad" }));
  } else {
    tell(troubleText(answer), { kind: "bad", act: again && { text: "再试一次", run: again } });
  }
  return false;
}

function askWhy(title, text, needs) {
  const dialog = byId("why");
  write(byId("why-title"), title);
  write(byId("why-hint"), text);
  const box = byId("why-text");
  box.value = "";
  box.required = Boolean(needs);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? box.value.trim() : null), { once: true });
  });
}

// ---- keys

function listenToKeys() {
  const step = (by) => {
    const next = neighbour(shownFindings(), chosen, by);
    if (next) choose(next);
    if (next && byId("autoplay").checked) hear(next);
  };
  const decideChosen = (decision) => {
    const finding = find(chosen);
    if (finding) cards.ask(finding, decision);
  };
  const skip = (ms) => player.seek(player.atMs + ms);
  onKeys({
    " ": () => player.toggle(),
    ArrowLeft: (event) => skip(event.shiftKey ? -15_000 : -3_000),
    ArrowRight: (event) => skip(event.shiftKey ? 15_000 : 3_000),
    "[": () => player.changeRate(-1),
    "]": () => player.changeRate(1),
    n: () => step(1),
    p: () => step(-1),
    "shift+n": () => toNextCall(),
    "shift+p": () => ids[ids.indexOf(callId) - 1] && (location.href = `/calls/${ids[ids.indexOf(callId) - 1]}`),
    r: () => find(chosen) && hear(find(chosen)),
    1: () => decideChosen("confirmed"),
    2: () => decideChosen("overturned"),
    3: () => decideChosen("unsure"),
    Escape: () => cards.cancel(),
    a: () => missed && !missed.open() && tell("先在文字里选中漏检的那句话，再按 A"),
    c: () => {
      openTab("notes");
      byId("comment-text").focus();
    },
    f: () => byId("follow").click(),
    x: () => player.toggleMute("agent"),
    y: () => player.toggleMute("customer"),
    "+": () => waveform.zoom(2),
    "=": () => waveform.zoom(2),
    "-": () => waveform.zoom(0.5),
    0: () => waveform.fit(),
    "shift+Enter": () => !byId("finish").hidden && toNextCall(),
    "?": () => byId("help").showModal(),
  });
  byId("finish-next").addEventListener("click", toNextCall);
}

/** The calls of the list this page was opened from, in its order. */
function neighbours() {
  try {
    const list = JSON.parse(sessionStorage.getItem("desk.list") ?? "{}");
    if (list.url) byId("back").href = isFromQueue ? "/queue" : list.url;
    return list.ids ?? [];
  } catch {
    return [];
  }
}
