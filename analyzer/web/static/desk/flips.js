/** A back-test: started, followed until it is done, and drawn. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";
import { OUTCOME_WORDS, VERDICTS } from "./words.js";

const AGAIN_MS = 1000;
const MOST_SHOWN = 200;

/** Runs these drafts over stored calls, in a scheme, and draws into `place` what would flip. */
export async function replay(drafts, place, profile) {
  let answer = await post("/rules/backtest", { drafts, profile });
  while (isGood(answer) && (answer.body.state === "waiting" || answer.body.state === "running")) {
    drawProgress(answer.body, place);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    answer = await ask(`/rules/backtest/${answer.body.id}`);
  }
  if (!isGood(answer)) place.replaceChildren(make("p", { className: "bad" }, troubleText(answer)));
  else if (answer.body.state === "failed") place.replaceChildren(make("p", { className: "bad" }, answer.body.error));
  else drawFlips(answer.body, place);
}

function drawProgress(job, place) {
  place.replaceChildren(
    make("p", {}, job.state === "waiting" ? "排队中…" : `正在回测 ${job.done} / ${job.of} 通`),
    make("progress", { max: Math.max(1, job.of), value: job.done }),
  );
}

function drawFlips(job, place) {
  const faults = job.faults ? `，${job.faults} 通无法重判` : "";
  place.replaceChildren(
    make("p", { className: job.flips.length ? "bad" : "good" }, `共 ${job.of} 通，${job.flips.length} 通会改判${faults}`),
    make("ul", { className: "fault-list" }, ...job.flips.slice(0, MOST_SHOWN).map(flipLine)),
    job.flips.length > MOST_SHOWN ? make("p", { className: "soft" }, `只列出前 ${MOST_SHOWN} 通`) : "",
  );
}

function flipLine(flip) {
  const rules = Object.entries(flip.rules).map(([rule, [was, becomes]]) => `${rule} ${OUTCOME_WORDS[was] ?? "无"}→${OUTCOME_WORDS[becomes] ?? "无"}`);
  const verdict = flip.verdict[0] === flip.verdict[1] ? [] : [`${VERDICTS[flip.verdict[0]]}→${VERDICTS[flip.verdict[1]]}`];
  const score = flip.score[0] === flip.score[1] ? [] : [`${flip.score[0] ?? "无"}→${flip.score[1] ?? "无"} 分`];
  return make("li", {}, make("a", { href: `/calls/${flip.id}` }, flip.call_id), ` ${[...score, ...verdict, ...rules].join("，")}`);
}
