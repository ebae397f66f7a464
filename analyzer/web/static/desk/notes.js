/** Comments at moments of the call, and what happened to it. */

import { clockText } from "../clock.js";
import { make } from "../dom.js";
import { button } from "./findings.js";
import { moment } from "./moments.js";
import { ACTIONS, STATES } from "./words.js";

/** onSeek  (ms) => void */
export function drawComments(list, comments, onSeek) {
  const rows = comments.map((one) => {
    const head = make("p", "note-head", make("strong", "", one.by), ` ${moment(one.at)} `);
    if (one.is_internal) head.append(make("span", "tag", "内部，坐席看不到"));
    if (one.at_ms !== null) head.append(button(clockText(one.at_ms), "turn-time", () => onSeek(one.at_ms)));
    return make("li", "note", head, make("p", "", one.text));
  });
  list.replaceChildren(...(rows.length ? rows : [make("li", "empty", "还没有评论")]));
}

export function drawHistory(list, history, findings) {
  const titles = new Map(findings.map((finding) => [finding.id, finding.title]));
  const rows = history.toReversed().map((one) => {
    const what = `${ACTIONS[one.action] ?? one.action}${one.finding_id ? `：${titles.get(one.finding_id) ?? ""}` : ""}`;
    const states = one.before === one.after ? "" : `${STATES[one.before] ?? one.before} → ${STATES[one.after] ?? one.after}`;
    return make(
      "li", "note",
      make("p", "note-head", make("strong", "", what), ` ${one.by ?? "系统"} · ${moment(one.at)}`),
      make("p", "hint", [states, one.why, `规则包 ${one.pack}`].filter(Boolean).join(" · ")),
    );
  });
  list.replaceChildren(...(rows.length ? rows : [make("li", "empty", "还没有人改动过")]));
}
