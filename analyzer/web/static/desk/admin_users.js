/** 用户管理: add and change users, give new passwords. The list itself is the server's. */

import { byId, show, write } from "../dom.js";
import { ask, isGood, post, troubleText } from "./api.js";

const editor = byId("editor");
const secret = byId("secret");
const sure = byId("sure");
const fields = byId("editor-form").elements;
let edited = null; // the user being changed; null for a new one

byId("add").addEventListener("click", () => edit(null));
byId("editor-form").addEventListener("submit", save);
byId("users").addEventListener("click", (event) => {
  const action = event.target.dataset.do;
  if (!action) return;
  const user = JSON.parse(event.target.closest("tr").dataset.user);
  if (action === "edit") edit(user);
  else confirmReset(user);
});
for (const dialog of [editor, secret, sure]) {
  dialog.addEventListener("click", (event) => event.target.dataset.do === "close" && dialog.close());
}
secret.addEventListener("close", () => location.reload());
secret.querySelector("[data-do=copy]").addEventListener("click", () => {
  navigator.clipboard?.writeText(byId("secret-text").textContent);
});
sure.querySelector("[data-do=reset-now]").addEventListener("click", reset);

function edit(user) {
  edited = user;
  write(byId("editor-title"), user ? `编辑用户 ${user.name}` : "添加用户");
  write(byId("editor-wrong"), "");
  fields.name.value = user?.name ?? "";
  fields.name.disabled = user !== null;
  fields.display_name.value = user?.display_name ?? "";
  fields.role.value = user?.role ?? "reviewer";
  fields.agent_id.value = user?.agent_id ?? "";
  fields.team.value = user?.team ?? "";
  fields.may_unmask.checked = user?.may_unmask ?? false;
  fields.is_active.checked = user?.is_active ?? true;
  show(byId("active-row"), user !== null);
  editor.showModal();
  (user ? fields.display_name : fields.name).focus();
}

function asked() {
  const given = {
    display_name: fields.display_name.value.trim(),
    role: fields.role.value,
    agent_id: fields.agent_id.value.trim() || null,
    team: fields.team.value.trim() || null,
    may_unmask: fields.may_unmask.checked,
  };
  if (!edited) return { ...given, name: fields.name.value.trim() };
  const all = { ...given, is_active: fields.is_active.checked };
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => value !== edited[name]));
}

async function save(event) {
  event.preventDefault();
  const answer = edited
    ? await ask(`/users/${edited.id}`, { method: "PATCH", send: asked() })
    : await post("/users", asked());
  if (!isGood(answer)) {
    write(byId("editor-wrong"), troubleText(answer));
    return;
  }
  editor.close();
  if (edited) location.reload();
  else tell(answer.body);
}

function confirmReset(user) {
  edited = user;
  write(byId("sure-name"), user.display_name);
  write(byId("sure-wrong"), "");
  sure.showModal();
}

async function reset() {
  const answer = await post(`/users/${edited.id}/password`);
  if (!isGood(answer)) {
    write(byId("sure-wrong"), troubleText(answer));
    return;
  }
  sure.close();
  tell(answer.body);
}

/** The password is known here and nowhere else. */
function tell({ user, password }) {
  write(byId("secret-name"), `${user.display_name}（${user.name}）`);
  write(byId("secret-text"), password);
  secret.showModal();
}
