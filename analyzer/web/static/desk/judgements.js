/** The judgements of one telephone call side by side: by which rules, with which score, and which of them counts. */

import { make, makeShape, show } from "../dom.js";
import { moment } from "./moments.js";
import { scorePart } from "./scorecard.js";
import { OUTCOMES, STATES } from "./words.js";

const WHY_COUNTS = "列表和统计中每通电话只算一次：先看下发给坐席的，再看判定过的、分配了的；都一样时以最新的评分为准";

/** Nothing where the call was judged once. What stands open stays open. */
export function drawJudgements(box, call) {
  show(box, call.all_judgements.length > 1);
  if (box.hidden) return;
  const open = new Set([...box.querySelectorAll("details[open]")].map((one) => one.dataset.of));
  box.replaceChildren(...call.all_judgements.map((one) => judgement(one, one.id === call.id, open.has(String(one.id)))));
}

function judgement(one, isThis, isOpen) {
  const item = make("li", "judgement", isThis ? make("strong", "", "本次评分") : link(one));
  if (isThis) item.setAttribute("aria-current", "true");
  const isReviewed = one.final_score !== null || one.final_verdict !== null;
  item.append(scorePart("自动分", one.score, one.verdict));
  if (isReviewed) item.append(makeShape("→"), scorePart("终审分", one.final_score, one.final_verdict, "final"));
  const counts = make("span", one.counts ? "tag" : "tag warn", one.counts ? "计入统计" : "不计入统计");
  counts.title = WHY_COUNTS;
  const rules = `${one.pack.name} ${one.pack.version} · ${one.profile} · ${moment(one.judged_at)} 评`;
  item.append(counts, make("span", "", STATES[one.state] ?? one.state), make("span", "judgement-rules", rules));
  if (one.differences.length) item.append(differences(one, isOpen));
  return item;
}

function link(one) {
  const to = make("a", "", "另一次评分 →");
  to.href = `/calls/${one.id}`;
  return to;
}

function differences({ id, differences: rules }, isOpen) {
  const list = make("ul", "");
  for (const { title, outcome, here } of rules) list.append(make("li", "", `${title}：`, said(outcome), "；本次 ", said(here)));
  const folded = make("details", "", make("summary", "", `${rules.length} 条规则与本次结论不同`), list);
  folded.dataset.of = id;
  folded.open = isOpen;
  return folded;
}

function said(outcome) {
  const { shape, word } = OUTCOMES[outcome] ?? { shape: "", word: outcome };
  const part = make("span", "outcome", makeShape(shape), word);
  part.dataset.outcome = outcome;
  return part;
}
