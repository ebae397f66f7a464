/** A pasted dialogue, judged. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";
import { OUTCOME_WORDS, ROLES } from "./words.js";

const dialogue = document.getElementById("dialogue");
const result = document.getElementById("result");
const scheme = document.getElementById("scheme");
const withDrafts = document.getElementById("with-drafts");

async function drafts() {
  if (!withDrafts?.checked) return [];
  const answer = await ask("/rules/drafts");
  return isGood(answer) ? answer.body.drafts.map((draft) => draft.id) : [];
}

async function run() {
  result.replaceChildren(make("p", { className: "soft" }, "正在判定…"));
  const answer = await post("/rules/try", { dialogue: dialogue.value, drafts: await drafts(), profile: scheme.value });
  result.replaceChildren(...(isGood(answer) ? shown(answer.body) : [make("p", { className: "bad" }, troubleText(answer))]));
}

function shown(report) {
  const judged = report.rules.filter((rule) => rule.outcome !== "not_applicable");
  const flagged = judged.filter((rule) => rule.outcome !== "pass").toSorted((one, other) => (one.outcome === "unsure") - (other.outcome === "unsure"));
  return [
    make("h2", {}, `得分 ${report.score ?? "无"} · ${flagged.length} 条规则违规或无法判定，${judged.length - flagged.length} 条符合`),
    ...report.turns.map((turn, number) => saidLine(turn, hitsIn(report, number))),
    make("h2", {}, "判定"),
    make("ul", { className: "fault-list" }, ...flagged.map(ruleLine)),
  ];
}

function hitsIn(report, number) {
  return report.rules
    .filter((rule) => rule.outcome !== "pass" && rule.outcome !== "not_applicable")
    .flatMap((rule) => rule.findings)
    .flatMap((finding) => finding.spans)
    .filter((span) => span.turn === number)
    .sort((one, other) => one.char_start - other.char_start);
}

function saidLine(turn, hits) {
  const characters = [...turn.text];
  const parts = [];
  let at = 0;
  for (const hit of hits) {
    if (hit.char_start < at) continue;
    parts.push(characters.slice(at, hit.char_start).join(""), make("mark", {}, characters.slice(hit.char_start, hit.char_end).join("")));
    at = hit.char_end;
  }
  return make("p", { className: "said" }, make("span", { className: "who" }, ROLES[turn.role]), ...parts, characters.slice(at).join(""));
}

function ruleLine(rule) {
  const messages = rule.findings.map((finding) => make("p", {}, finding.message + (finding.suggestion ? ` → ${finding.suggestion}` : "")));
  return make("li", {}, make("a", { href: `/rules/${rule.rule}`, className: rule.outcome === "violation" ? "bad" : "" }, `${OUTCOME_WORDS[rule.outcome]}：${rule.title}`), ...messages);
}

document.getElementById("run").addEventListener("click", run);
dialogue.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
