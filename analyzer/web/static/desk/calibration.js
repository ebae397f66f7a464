/** Judging a call in a calibration, alone. */

import { byId, write } from "../dom.js";
import { isGood, post, troubleText } from "./api.js";
import { hearFinding } from "./hearing.js";
import { tell } from "./toast.js";
import { PLAIN_DECISIONS } from "./words.js";

const { id, call, duration } = byId("meeting").dataset;

for (const item of document.querySelectorAll(".item[data-finding]")) {
  const span = { start_ms: Number(item.dataset.start), end_ms: Number(item.dataset.end), match: "exact" };
  item.querySelector(".hear").addEventListener("click", () => hearFinding(Number(call), span, Number(duration)));
  for (const button of item.querySelectorAll("[data-decision]")) {
    button.addEventListener("click", () => decide(item, button.dataset.decision));
  }
}
document.getElementById("close")?.addEventListener("click", close);

async function decide(item, decision) {
  const reason = item.querySelector(".reason").value.trim();
  const sent = { finding_id: Number(item.dataset.finding), decision, reason };
  const answer = await post(`/calibrations/${id}/decisions`, sent);
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  for (const button of item.querySelectorAll("[data-decision]")) {
    button.setAttribute("aria-pressed", String(button.dataset.decision === decision));
  }
  write(item.querySelector(".saved"), `已判：${PLAIN_DECISIONS[decision]}`);
}

async function close() {
  const button = byId("close");
  if (button.dataset.sure !== "true") {
    button.dataset.sure = "true";
    return write(button, "再按一次：结束后不能再改");
  }
  const answer = await post(`/calibrations/${id}/close`);
  if (isGood(answer)) return location.reload();
  tell(troubleText(answer), { kind: "bad" });
}
