/** Parts of a call's row that several pages draw, as the list's template draws them. */

import { make, makeShape } from "../dom.js";
import { SEVERITIES, VERDICTS } from "../words.js";

const VERDICT_SHAPES = { pass: "✓", fail: "✗", review: "？" };

export function verdictSign(verdict) {
  const sign = make("span", "verdict", makeShape(VERDICT_SHAPES[verdict] ?? ""), VERDICTS[verdict] ?? "");
  sign.dataset.verdict = verdict;
  return sign;
}

export function scoreCell(score, verdict) {
  return make("td", "points", make("strong", "", score === null ? "无" : String(score)), verdict ? verdictSign(verdict) : "");
}

export function severityCounts({ criticals, majors, minors, unsures }) {
  const counts = [
    ["critical", SEVERITIES.critical.shape, "严重", criticals],
    ["major", SEVERITIES.major.shape, "较重", majors],
    ["minor", SEVERITIES.minor.shape, "轻微", minors],
    ["info", "？", "无法判定", unsures],
  ];
  const cell = make("td", "found");
  for (const [severity, shape, word, count] of counts) {
    const sign = make("span", count ? "sev" : "sev zero", makeShape(shape), String(count), make("span", "unseen", word));
    sign.dataset.severity = severity;
    sign.title = `${word} ${count}`;
    cell.append(sign);
  }
  return cell;
}

/** A cell of two lines. */
export function twoLines(classes, first, second) {
  return make("td", classes, first, make("span", "under", second ?? ""));
}
