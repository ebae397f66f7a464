/** Addresses that are told what happens: added, with the secret shown once, and removed. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";

const form = document.getElementById("add");
const problem = document.getElementById("problem");
const secret = document.getElementById("secret");
const hooks = document.getElementById("hooks");

function fail(answer) {
  problem.hidden = false;
  problem.textContent = troubleText(answer);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const fields = new FormData(form);
  const answer = await post("/webhooks", { url: fields.get("url"), events: fields.getAll("event") });
  if (!isGood(answer)) {
    fail(answer);
    return;
  }
  secret.hidden = false;
  secret.textContent = `已添加。签名密钥（只显示这一次）：${answer.body.secret}`;
  const titles = [...form.querySelectorAll("[name=event]:checked")].map((box) => box.parentElement.textContent.trim());
  hooks.querySelector("li:not([data-hook])")?.remove();
  hooks.append(hookItem(answer.body, titles));
  form.reset();
});

/** As the page draws it. */
function hookItem({ id, url, waiting }, titles) {
  const item = make("li", {}, make("strong", {}, url), make("p", { className: "soft" }, titles.join("、")),
    make("p", {}, `待送 ${waiting}`), make("button", { type: "button", className: "remove" }, "删除"));
  item.dataset.hook = id;
  return item;
}

hooks.addEventListener("click", async (event) => {
  const item = event.target.closest(".remove")?.closest("li");
  if (!item || !globalThis.confirm("不再向这个地址推送？")) return;
  const answer = await ask(`/webhooks/${item.dataset.hook}`, { method: "DELETE" });
  if (isGood(answer)) item.remove();
  else fail(answer);
});
