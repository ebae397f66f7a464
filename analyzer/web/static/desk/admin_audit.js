/** 审计日志: check on demand that nobody touched it. */

import { byId, setData, write } from "../dom.js";
import { ask, isGood, troubleText } from "./api.js";

const button = byId("verify");
const result = byId("verified");

button.addEventListener("click", async () => {
  button.disabled = true;
  tell("wait", "正在校验…");
  const answer = await ask("/audit/verify");
  button.disabled = false;
  if (!isGood(answer)) return tell("bad", `✗ ${troubleText(answer)}`);
  const { entries, head, broken } = answer.body;
  if (broken !== null) return tell("bad", `✗ 第 ${broken} 条起与日志不符，可能被改动或删除`);
  return tell("ok", `✓ 共 ${entries} 条，全部相符${head ? `，末条 ${head.slice(0, head.indexOf(":") + 13)}…` : ""}`);
});

function tell(kind, text) {
  setData(result, "kind", kind);
  write(result, text);
}
