/** The scores beside each other, and every rule with what the machine and the people say of it. */

import { clockText } from "../clock.js";
import { make, makeShape, write } from "../dom.js";
import { SEVERITIES, VERDICTS } from "../words.js";
import { orderRules, scoreChange } from "./call_state.js";
import { OUTCOMES } from "./words.js";

const VERDICT_SHAPES = { pass: "✓", fail: "✗", review: "？" };

export function drawScores(box, call) {
  const isReviewed = call.final_score !== null || call.final_verdict !== null;
  const change = scoreChange(call.score, call.final_score);
  box.replaceChildren(
    scorePart("自动分", call.score, call.verdict),
    make("span", "score-arrow", makeShape("→")),
    isReviewed ? scorePart("终审分", call.final_score, call.final_verdict, "final") : unknownFinal(call.why_no_final),
    make("span", "score-change", change),
  );
}

function unknownFinal(why) {
  const part = make("span", "score-part", make("span", "label", "终审分"), why ? "无法计算" : "复核后得出");
  if (why) part.title = why;
  return part;
}

export function scorePart(name, score, verdict, classes = "") {
  const word = make("span", "verdict", makeShape(VERDICT_SHAPES[verdict] ?? ""), VERDICTS[verdict] ?? "");
  if (verdict) word.dataset.verdict = verdict;
  return make("span", `score-part ${classes}`, make("span", "label", name), make("strong", "score", score === null ? "无" : String(score)), word);
}

/** onRule  (ruleId) => void: show its first finding */
export function drawRules(box, rules, onRule) {
  const { judged, notApplicable } = orderRules(rules);
  const table = make("table", "table rules", ruleHead());
  const body = make("tbody");
  for (const rule of judged) body.append(ruleRow(rule, onRule));
  table.append(body);
  const folded = make("details", "folded-rules", make("summary", "", `不适用 ${notApplicable.length} 条`));
  folded.append(make("p", "rule-names", notApplicable.map((rule) => rule.title).join("、")));
  const isOpen = box.querySelector(".folded-rules")?.open ?? false;
  folded.open = isOpen;
  box.replaceChildren(table, ...(notApplicable.length ? [folded] : []));
}

function ruleHead() {
  const row = make("tr");
  for (const title of ["规则", "自动", "终审", "得失"]) row.append(make("th", title === "得失" ? "number" : "", title));
  return make("thead", "", row);
}

function ruleRow(rule, onRule) {
  const isChanged = rule.final_outcome !== rule.outcome;
  const name = make("button", "rule-name", rule.title);
  name.type = "button";
  name.addEventListener("click", () => onRule(rule.rule));
  const first = make("td", "", name);
  if (rule.status === "trial") first.append(make("span", "tag", "试行"));
  if (rule.elements) first.append(elementList(rule));
  const points = rule.final_points ?? rule.points;
  const shown = rule.max_points ? `${points === 0 ? 0 : points > 0 ? `+${points}` : `−${-points}`} / ${rule.max_points}` : "不计分";
  const row = make("tr", "", first, outcomeCell(rule.outcome, rule.severity), outcomeCell(rule.final_outcome, rule.severity, isChanged), make("td", "number", shown));
  row.dataset.outcome = rule.final_outcome;
  return row;
}

function outcomeCell(outcome, severity, isChanged = false) {
  const { shape, word } = OUTCOMES[outcome] ?? { shape: "", word: outcome };
  const part = make("span", "outcome", makeShape(shape), word);
  part.dataset.outcome = outcome;
  if (outcome === "violation") part.title = SEVERITIES[severity].word;
  return make("td", isChanged ? "changed" : "", part);
}

function elementList({ elements }) {
  const list = make("ul", "elements");
  for (const [id, element] of Object.entries(elements)) {
    const item = make("li", "", makeShape(element.present ? "✓" : "✗"), element.title ?? id);
    item.dataset.present = element.present;
    if (element.present && element.at_ms !== null) item.title = `${clockText(element.at_ms)} ${element.quote ?? ""}`;
    item.append(make("span", "unseen", element.present ? "已说" : "未说"));
    list.append(item);
  }
  return list;
}

export function drawProgress(node, { decided, total }) {
  write(node, total ? `已复核 ${decided} / ${total}` : "没有待复核的发现");
}
