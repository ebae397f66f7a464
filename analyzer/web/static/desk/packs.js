/** Versions of the pack, and publishing drafts as the next one. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";

const mayPublish = document.getElementById("packs-page").dataset.mayPublish === "yes";
const form = document.getElementById("publish");

async function drawVersions() {
  const answer = await ask("/packs");
  const list = document.getElementById("versions");
  list.replaceChildren(...(isGood(answer) ? answer.body.packs.map(versionItem) : [make("li", {}, troubleText(answer))]));
}

function versionItem(version) {
  const when = version.at ? new Date(version.at).toLocaleString("zh-CN") : "随软件提供";
  const changed = version.changed.length ? `改动：${version.changed.join("、")}` : "";
  return make("li", { className: version.in_force ? "in-force" : "" },
    make("strong", {}, `${version.name} ${version.version}`), version.in_force ? make("span", { className: "good" }, " 使用中") : "",
    make("p", { className: "soft" }, `${when}${version.author ? ` · ${version.author}` : ""}`),
    version.note ? make("p", {}, version.note) : "", changed ? make("p", { className: "soft" }, changed) : "",
    make("code", {}, version.digest.slice(0, 19)));
}

async function drawDrafts() {
  const answer = await ask("/rules/drafts");
  if (!isGood(answer) || answer.body.drafts.length === 0) return;
  document.getElementById("drafts").replaceChildren(...answer.body.drafts.map(draftRow));
}

function draftRow(draft) {
  return make("label", { className: "draft-row" },
    make("input", { type: "checkbox", name: "draft", value: draft.id, checked: true }),
    make("a", { href: `/rules/${draft.rule}/edit` }, titleIn(draft.text) ?? draft.rule),
    make("span", { className: "soft" }, `${draft.file}${draft.is_stale ? " · 基于较早版本" : ""}`));
}

/** The title in the text of a rule file, as far as it is readable at all. */
function titleIn(text) {
  return /^title:\s*(\S.*)$/m.exec(text)?.[1];
}

async function publish(event) {
  event.preventDefault();
  const problem = document.getElementById("problem");
  const fields = new FormData(form);
  problem.hidden = false;
  problem.textContent = "正在校验并发布…";
  const drafts = fields.getAll("draft").map(Number);
  const answer = await post("/packs", { drafts, version: fields.get("version"), note: fields.get("note"), profile: fields.get("profile") });
  if (isGood(answer)) {
    globalThis.location.reload();
    return;
  }
  problem.textContent = troubleText(answer);
}

drawVersions();
if (mayPublish) {
  drawDrafts();
  form.addEventListener("submit", publish);
}
