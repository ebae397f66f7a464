/**
 * One call as the page knows it: the answer of `GET /calls/{id}`, and what decisions made of it since. Pure: no DOM.
 * A part that changes is replaced, never altered in place.
 */

/** Whether a person is to decide it. Trial rules, remarks and hints may be decided, but need not be. */
function needsDecision({ source, status, outcome, severity }) {
  return source === "added" || (status === "stable" && severity !== "info" && ["violation", "unsure"].includes(outcome));
}

/** Of two reviewers, each sees only their own review until both are done; then there is no decision yet. */
export function isDecided(finding) {
  return finding.decision !== null || finding.reviews.length > 0;
}

/** Findings that a person is to decide, in the order of the call; and beside them what is only shown. */
export function splitFindings(findings) {
  const inOrder = [...findings].sort((one, other) => one.start_ms - other.start_ms || one.id - other.id);
  return { work: inOrder.filter(needsDecision), remarks: inOrder.filter((finding) => !needsDecision(finding)) };
}

/** {decided, total} of the findings that are to be decided. */
export function progress(findings) {
  const { work } = splitFindings(findings);
  return { decided: work.filter(isDecided).length, total: work.length };
}

/** The finding `step` places on in `list`; the first or last where none is chosen yet; stays at the ends. */
export function neighbour(list, id, step) {
  const at = list.findIndex((finding) => finding.id === id);
  if (at < 0) return (step > 0 ? list[0] : list.at(-1)) ?? null;
  return list[Math.min(list.length - 1, Math.max(0, at + step))];
}

/** The next finding nobody decided, after `id` first and then from the beginning; null when all are decided. */
export function nextUndecided(list, id) {
  const at = list.findIndex((finding) => finding.id === id);
  const round = [...list.slice(at + 1), ...list.slice(0, at + 1)];
  return round.find((finding) => !isDecided(finding) && finding.id !== id) ?? null;
}

/** The detail after an answer that carries its changed parts: the call's row, findings, rules; the rest as it is now. */
export function withChanges(detail, { call, finding, findings = [], rules = [], ...others }) {
  const changed = finding ? [...findings, finding] : findings;
  return {
    ...detail,
    ...call,
    ...others,
    findings: changed.reduce((all, one) => replaced(all, one, "id"), detail.findings),
    rules: rules.reduce((all, one) => replaced(all, one, "rule"), detail.rules),
  };
}

function replaced(list, item, key) {
  const isThere = list.some((one) => one[key] === item[key]);
  return isThere ? list.map((one) => (one[key] === item[key] ? item : one)) : [...list, item];
}

/** The marks of each turn: Map turn -> [{char_start, char_end, finding}]. What was overturned stays, to be seen. */
export function marksByTurn(findings) {
  const turns = new Map();
  for (const finding of findings) {
    for (const span of finding.spans) {
      if (span.turn === null || span.turn === undefined) continue;
      if (!turns.has(span.turn)) turns.set(span.turn, []);
      turns.get(span.turn).push({ char_start: span.char_start, char_end: span.char_end, finding });
    }
  }
  return turns;
}

/** Rules by what became of them: {judged, notApplicable}; the gravest outcome first, then what costs most. */
export function orderRules(rules) {
  const rank = { violation: 0, unsure: 1, pass: 2 };
  const judged = rules.filter((rule) => rule.outcome !== "not_applicable" || rule.final_outcome !== "not_applicable");
  judged.sort(
    (one, other) =>
      (rank[one.outcome] ?? 3) - (rank[other.outcome] ?? 3) ||
      other.max_points - one.max_points ||
      one.title.localeCompare(other.title, "zh"),
  );
  return { judged, notApplicable: rules.filter((rule) => !judged.includes(rule)) };
}

/** 82.1 against 74.8 -> "+7.3"; "" where either is missing or nothing changed. */
export function scoreChange(before, after) {
  if (typeof before !== "number" || typeof after !== "number") return "";
  const change = Math.round((after - before) * 10) / 10;
  return change === 0 ? "" : change > 0 ? `+${change}` : `−${-change}`;
}
