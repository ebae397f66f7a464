/** Begin a calibration: a call, and who judges it. */

import { byId, write } from "../dom.js";
import { isGood, post, troubleText } from "./api.js";

const chosen = new URLSearchParams(location.search).get("call");
if (chosen && document.getElementById("call")) byId("call").value = chosen;

document.getElementById("calibration-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const reviewers = [...byId("people").querySelectorAll(":checked")].map((box) => Number(box.value));
  if (reviewers.length < 2) return write(byId("wrong"), "请至少选两名质检员");
  const answer = await post("/calibrations", {
    name: byId("name").value.trim(),
    call_id: Number(byId("call").value.match(/(\d+)\D*$/)?.[1] ?? 0),
    reviewers,
    due_day: byId("due").value || null,
  });
  if (!isGood(answer)) return write(byId("wrong"), troubleText(answer));
  location.href = `/calibrations/${answer.body.id}`;
});
