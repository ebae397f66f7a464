/** The list of what was found in a call. */

import { clockText } from "./clock.js";
import { drawList, make, makeShape, setData, show, write } from "./dom.js";
import { FINDINGS, SEVERITIES } from "./words.js";

/** Newest first; what was withdrawn goes to the end. */
export function inReadingOrder(findings) {
  const isGone = (finding) => finding.status === "withdrawn";
  return [...findings].reverse().sort((one, other) => isGone(one) - isGone(other));
}

/** choose  (finding) => void, when one is clicked */
export function drawFindings(list, findings, choose) {
  drawList(list, inReadingOrder(findings), (finding) => finding.id, () => makeFinding(choose), drawFinding);
}

function makeFinding(choose) {
  const head = make("span", "finding-head", makeShape(), make("span", "finding-severity"), make("span", "finding-title"));
  const state = make("span", "badge");
  const time = make("span", "finding-time");
  head.append(state, time);
  const button = make("button", "finding", head, make("span", "finding-quote"), make("span", "finding-say"));
  button.type = "button";
  const item = make("li", "", button);
  button.addEventListener("click", () => choose(item.dataset.key));
  return item;
}

function drawFinding(item, finding) {
  const [button] = item.children;
  const [head, quote, say] = button.children;
  const [shape, severity, title, state, time] = head.children;
  setData(button, "severity", finding.severity);
  setData(button, "status", finding.status);
  write(shape, SEVERITIES[finding.severity].shape);
  write(severity, SEVERITIES[finding.severity].word);
  write(title, finding.category ? `${finding.title} · ${finding.category}` : finding.title);
  write(state, FINDINGS[finding.status]);
  write(time, clockText(finding.start_ms));
  write(quote, finding.quote ? `“${finding.quote}”` : finding.message);
  show(say, Boolean(finding.suggestion) && finding.status !== "withdrawn");
  write(say, finding.suggestion ? `宜说：${finding.suggestion}` : "");
}
