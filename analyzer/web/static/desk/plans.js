/** Sampling plans: say how to draw, see what it would draw, save, draw. */

import { byId, make, show, write } from "../dom.js";
import { isGood, post, troubleText } from "./api.js";
import { tell } from "./toast.js";

const HINTS = {
  random: "比例和数量填一个：都填时以数量为准。",
  per_agent: "每名坐席抽这么多通。",
  by_rule: "每条所选规则抽这么多通有该发现的通话。",
  by_score: "每个分数段随机抽取。",
  critical: "有严重违规的全部复核。",
  audit: "随机抽通话，再从每通里随机抽未命中的坐席语句来听，用于估计规则漏了多少（召回率）。",
};

const form = byId("plan-form");
form.addEventListener("change", drawKind);
byId("preview").addEventListener("click", preview);
form.addEventListener("submit", save);
for (const button of document.querySelectorAll("[data-draw]")) button.addEventListener("click", () => draw(button));
drawKind();

function kind() {
  return form.elements.kind.value;
}

function drawKind(event) {
  for (const field of form.querySelectorAll("[data-for]")) show(field, field.dataset.for.split(" ").includes(kind()));
  write(byId("kind-hint"), HINTS[kind()]);
  byId("second").disabled = kind() === "audit" || !byId("never-assigned").checked;
  if (event?.target.name === "kind" && kind() === "per_agent" && !byId("count").value) byId("count").value = 2;
}

function numberOf(id) {
  const given = byId(id).value.trim();
  return given === "" ? null : Number(given);
}

function plan() {
  const uses = (id) => !byId(id).closest("[data-for]").hidden;
  const count = uses("count") ? numberOf("count") : null;
  const share = uses("share") && count === null ? numberOf("share") : null;
  const value = (id) => byId(id).value || null;
  const only = (id) => (byId(id).value ? [byId(id).value] : []);
  return {
    name: byId("name").value.trim() || "未命名",
    kind: kind(),
    options: {
      seed: numberOf("seed") ?? 1,
      share: share === null ? null : share / 100,
      count,
      rules: kind() === "by_rule" ? [...byId("rules").selectedOptions].map((option) => option.value) : [],
      bands: kind() === "by_score" ? bands() : [],
      per_call: numberOf("per-call") ?? 10,
      second_share: byId("second").disabled ? 0 : (numberOf("second") ?? 0) / 100,
      due_days: numberOf("due-days"),
      reviewers: reviewers(),
      frame: {
        first_day: value("first-day"), last_day: value("last-day"), teams: only("plan-team"), agents: only("plan-agent"),
        direction: value("direction"), never_assigned: byId("never-assigned").checked,
      },
    },
  };
}

function bands() {
  return byId("bands").value.split("\n").map((line) => line.match(/^\s*(\d+(?:\.\d+)?)\s*[-–~]\s*(\d+(?:\.\d+)?)(?:\s+(\d+))?\s*$/))
    .filter(Boolean)
    .map(([, low, high, count]) => ({ low: Number(low), high: Number(high), count: count ? Number(count) : null }));
}

function reviewers() {
  return [...byId("people").rows].filter((row) => row.querySelector("[type=checkbox]").checked).map((row) => {
    const most = row.querySelector("[type=number]").value;
    return { reviewer_id: Number(row.dataset.id), most: most === "" ? null : Number(most) };
  });
}

function isWhole() {
  const lacking = reviewers().length === 0 ? "请至少选一名质检员" : "";
  write(byId("wrong"), lacking);
  return !lacking;
}

async function preview() {
  if (!isWhole()) return;
  const answer = await post("/plans/preview", plan());
  if (!isGood(answer)) return write(byId("wrong"), troubleText(answer));
  drawForeseen(answer.body);
}

function drawForeseen(drawn) {
  const facts = [
    ["可抽通话", `${drawn.frame} 通`],
    ["抽取", `${drawn.calls} 通，${drawn.agents} 名坐席，录音共 ${hours(drawn.talk_ms)}`],
    ...Object.entries(drawn.by).map(([id, rounds]) => [nameOf(id), roundsText(rounds)]),
  ];
  if (drawn.unassigned) facts.push(["没有人有余量", `${drawn.unassigned} 通`]);
  if (drawn.single) facts.push(["缺复评人", `${drawn.single} 通`]);
  byId("foreseen-facts").replaceChildren(...facts.flatMap(([what, said]) => [make("dt", "", what), make("dd", "", said)]));
  show(byId("foreseen"), true);
}

function hours(ms) {
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} 分钟` : `${(ms / 3_600_000).toFixed(1)} 小时`;
}

function nameOf(id) {
  return byId("people").querySelector(`[data-id="${id}"] label`)?.firstElementChild?.nextSibling?.textContent.trim() ?? `用户 ${id}`;
}

function roundsText({ first = 0, second = 0, audit = 0 }) {
  return [[first, "初评"], [second, "双盲复评"], [audit, "审计"]].filter(([n]) => n).map(([n, what]) => `${what} ${n} 通`).join("，");
}

async function save(event) {
  event.preventDefault();
  if (!isWhole()) return;
  byId("make").disabled = true;
  const answer = await post("/plans", plan());
  byId("make").disabled = false;
  if (!isGood(answer)) return write(byId("wrong"), troubleText(answer));
  location.reload();
}

async function draw(button) {
  button.disabled = true;
  const answer = await post(`/plans/${button.dataset.draw}/draw`);
  if (isGood(answer)) return location.reload();
  button.disabled = false;
  tell(troubleText(answer), { kind: "bad" });
}
