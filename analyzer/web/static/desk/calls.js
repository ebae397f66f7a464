/** The list of calls: the filter lives in the address, rows come drawn from the server. */

import { byId, make, setAttribute, setData, show, write } from "../dom.js";
import { ask, isGood, troubleText } from "./api.js";
import { isSame, nextSort, tidied } from "./calls_query.js";
import { onKeys } from "./keys.js";
import { tell } from "./toast.js";

const TYPING_MS = 180; // after the last letter
const COUNTED = 10_000;
const MORE_FILTERS = ["rule", "category", "severity", "outcome", "direction", "min_score", "max_score", "assigned", "flag", "judgement"];

const form = byId("filter");
let running = null; // what is being fetched
let timer = 0;

start();

function start() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(apply, event.target.matches("input[type=search], input:not([type])") ? TYPING_MS : 0);
  });
  byId("clear").addEventListener("click", () => go("/calls"));
  byId("more").addEventListener("click", more);
  for (const head of document.querySelectorAll("[data-sort]")) {
    head.addEventListener("click", () => {
      form.elements.sort.value = nextSort(form.elements.sort.value || "-started_at", head.dataset.sort);
      apply();
    });
  }
  byId("calls").addEventListener("click", (event) => {
    const row = event.target.closest(".call-row");
    if (row && !event.target.closest("a") && !getSelection().toString()) row.querySelector(".open").click();
  });
  byId("views").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.href);
  });
  addEventListener("popstate", () => readAddress());
  new IntersectionObserver(([entry]) => entry.isIntersecting && more(), { rootMargin: "600px" }).observe(byId("more"));
  listenToKeys();
  viewDialog();
  byId("more-filters").open = MORE_FILTERS.some((name) => new URLSearchParams(location.search).has(name));
  drawn();
  drawViews();
  focusOpened();
  document.documentElement.dataset.ready = "true";
}

// ---- the filter

function query() {
  return tidied(new FormData(form));
}

/** Fetch what the form says, and put it into the address. */
function apply() {
  clearTimeout(timer);
  const wanted = query();
  if (isSame(wanted, new URLSearchParams(location.search))) return;
  history.pushState(null, "", wanted.size ? `/calls?${wanted}` : "/calls");
  load();
}

function go(href) {
  history.pushState(null, "", href);
  readAddress();
}

/** The form becomes what the address says. */
function readAddress() {
  const wanted = new URLSearchParams(location.search);
  for (const field of form.elements) {
    if (field.name) field.value = wanted.get(field.name) ?? (field.name === "sort" ? "-started_at" : "");
  }
  byId("more-filters").open ||= MORE_FILTERS.some((name) => wanted.has(name));
  load();
}

async function load() {
  const rows = await fetchRows(new URLSearchParams(location.search));
  if (!rows) return;
  byId("rows").replaceWith(rows);
  drawn();
}

async function more() {
  const body = byId("rows");
  if (!body.dataset.next || running) return;
  const wanted = new URLSearchParams(location.search);
  wanted.set("cursor", body.dataset.next);
  const rows = await fetchRows(wanted);
  if (!rows) return;
  body.append(...rows.children);
  body.dataset.next = rows.dataset.next;
  drawn();
}

/** The rows of one page; null if a newer question came in between. */
async function fetchRows(wanted) {
  running?.abort();
  const own = new AbortController();
  running = own;
  busy(true);
  try {
    const answer = await fetch(`/calls/rows?${wanted}`, { signal: own.signal, credentials: "same-origin" });
    if (!answer.ok) {
      tell(troubleText({ status: answer.status, body: null }), { kind: "bad" });
      return null;
    }
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    return template.content.querySelector("tbody");
  } catch (error) {
    if (error.name !== "AbortError") tell(troubleText({ status: 0 }), { kind: "bad", act: { text: "再试一次", run: load } });
    return null;
  } finally {
    if (running === own) {
      running = null;
      busy(false);
    }
  }
}

function busy(isBusy) {
  setData(byId("calls"), "busy", isBusy);
  setData(byId("total"), "busy", isBusy);
}

// ---- what is seen

function drawn() {
  const body = byId("rows");
  const total = Number(body.dataset.total);
  byId("total").replaceChildren("共 ", make("strong", "", `${total.toLocaleString("zh-CN")}${total >= COUNTED ? "+" : ""}`), " 通");
  show(byId("more"), body.dataset.next !== "");
  show(byId("nothing"), total === 0);
  show(byId("calls"), total > 0);
  write(byId("nothing"), query().size ? "没有符合条件的通话；放宽或清除条件再看" : "还没有通话：用 analyzer db import 导入运行目录");
  show(byId("demo-notice"), body.querySelector('.tag[title^="demo"]') !== null);
  const sort = form.elements.sort.value || "-started_at";
  for (const head of document.querySelectorAll("[data-sort]")) {
    const cell = head.closest("th");
    if (sort.replace("-", "") === head.dataset.sort) setAttribute(cell, "aria-sort", sort.startsWith("-") ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  for (const field of form.elements) if (field.name && field.name !== "sort") setData(field, "set", field.value !== "");
  const set = MORE_FILTERS.filter((name) => form.elements[name].value !== "").length;
  write(byId("more-count"), set ? `（已用 ${set} 项）` : "");
  markView();
  const ids = Array.from(body.children, (row) => Number(row.dataset.id));
  sessionStorage.setItem("desk.list", JSON.stringify({ url: location.pathname + location.search, ids }));
}

// ---- views

async function drawViews() {
  const answer = await ask("/views");
  if (!isGood(answer)) return;
  for (const old of byId("views").querySelectorAll("[data-view]")) old.remove();
  for (const view of answer.body.views) byId("views").append(viewItem(view));
  markView();
}

function viewItem(view) {
  const link = make("a", "", view.name);
  link.href = view.query ? `/calls?${view.query}` : "/calls";
  if (view.is_shared) link.append(make("span", "tag", view.is_mine ? "共享" : view.by));
  const item = make("li", "", link);
  item.dataset.view = view.id;
  if (view.is_mine) {
    const remove = make("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `删除视图：${view.name}`);
    remove.addEventListener("click", async () => {
      const answer = await ask(`/views/${view.id}`, { method: "DELETE" });
      if (isGood(answer)) item.remove();
      else tell(troubleText(answer), { kind: "bad" });
    });
    item.append(remove);
  }
  return item;
}

function markView() {
  const here = new URLSearchParams(location.search);
  for (const link of byId("views").querySelectorAll("a")) {
    if (isSame(here, tidied(new URL(link.href).searchParams))) setAttribute(link, "aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function viewDialog() {
  const dialog = byId("view-dialog");
  byId("save-view").addEventListener("click", () => {
    byId("view-form").reset();
    dialog.showModal();
  });
  byId("view-cancel").addEventListener("click", () => dialog.close());
  byId("view-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const sent = { name: byId("view-name").value.trim(), query: query().toString(), is_shared: byId("view-shared").checked };
    const answer = await ask("/views", { method: "POST", send: sent });
    if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
    dialog.close();
    tell("视图已保存");
    drawViews();
  });
}

// ---- keys

function listenToKeys() {
  const links = () => [...byId("rows").querySelectorAll(".open")];
  const step = (by) => {
    const all = links();
    const row = document.activeElement?.closest?.(".call-row");
    const at = row ? all.indexOf(row.querySelector(".open")) : by > 0 ? -1 : all.length;
    const next = all[at + by];
    if (!next) return void (by > 0 && more());
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  onKeys({
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    "/": () => form.elements.q.select(),
    m: () => more(),
    Escape: () => query().size && go("/calls"),
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter" && event.target.name === "q" && !event.isComposing) {
      event.preventDefault();
      apply();
      links()[0]?.focus();
    }
  });
}

/** Coming back from a call, its row is where one goes on. */
function focusOpened() {
  const opened = sessionStorage.getItem("desk.opened");
  byId("calls").addEventListener("click", (event) => {
    const row = event.target.closest(".call-row");
    if (row) sessionStorage.setItem("desk.opened", row.dataset.id);
  });
  byId("rows").querySelector(`[data-id="${Number(opened) || 0}"] .open`)?.focus();
}
