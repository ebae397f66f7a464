/** Adding a violation that the rules missed: select what was said, choose the rule it breaks. */

import { byId, make, show, write } from "../dom.js";
import { ask, isGood } from "./api.js";

const MOST_SHOWN = 60;

/** onAdd  ({rule, turn, char_start, char_end, category, severity, reason}) => Promise<boolean> */
export class MissedDialog {
  #rules = null;
  #selection = null;
  #rule = null;

  constructor({ transcript, known, onAdd }) {
    Object.assign(this, { transcript, known, onAdd });
    this.dialog = byId("missed");
    this.form = byId("missed-form");
    this.search = byId("missed-search");
    this.list = byId("missed-rules");
    this.offer = byId("missed-offer");
    this.#listen();
  }

  /** Open for what is selected; without a selection, say what to do. */
  async open() {
    const selection = this.transcript.selection() ?? this.#selection;
    if (!selection) return false;
    this.#selection = selection;
    show(this.offer, false);
    write(byId("missed-quote"), `“${selection.text}”`);
    this.form.reset();
    this.#choose(null);
    this.dialog.showModal();
    this.search.focus();
    await this.#load();
    this.#drawRules();
    return true;
  }

  #listen() {
    document.addEventListener("selectionchange", () => this.#offer());
    this.offer.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the selection
    this.offer.addEventListener("click", () => this.open());
    this.search.addEventListener("input", () => this.#drawRules());
    this.search.addEventListener("keydown", (event) => this.#walk(event));
    byId("missed-cancel").addEventListener("click", () => this.dialog.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
  }

  /** A button by the selected words. */
  #offer() {
    if (this.dialog.open) return;
    const selection = this.transcript.selection();
    this.#selection = selection;
    show(this.offer, selection !== null);
    if (!selection) return;
    this.offer.style.left = `${Math.max(8, Math.min(innerWidth - 180, selection.box.left))}px`;
    this.offer.style.top = `${selection.box.bottom + 6}px`;
  }

  /** All rules of the catalogue, and those of this call where it cannot be asked. */
  async #load() {
    if (this.#rules) return;
    const answer = await ask("/rules");
    const all = isGood(answer) ? answer.body.rules : [];
    const byId = new Map([...this.known, ...all].map((rule) => [rule.rule ?? rule.id, rule]));
    this.#rules = [...byId].map(([id, rule]) => ({ id, title: rule.title, severity: rule.severity, status: rule.status }));
    this.#rules.sort((one, other) => one.title.localeCompare(other.title, "zh"));
  }

  #drawRules() {
    const wanted = this.search.value.trim().toLowerCase();
    const fitting = (this.#rules ?? []).filter((rule) => !wanted || rule.title.toLowerCase().includes(wanted) || rule.id.includes(wanted));
    const rows = fitting.slice(0, MOST_SHOWN).map((rule) => {
      const row = make("li", "rule-option", make("span", "", rule.title), make("span", "hint", rule.id));
      row.id = `rule-option-${rule.id}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", rule.id === this.#rule?.id);
      row.addEventListener("click", () => this.#choose(rule));
      return row;
    });
    this.list.replaceChildren(...(rows.length ? rows : [make("li", "empty", "没有这样的规则")]));
    this.fitting = fitting;
  }

  #walk(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const at = this.fitting.findIndex((rule) => rule.id === this.#rule?.id);
      const next = this.fitting[Math.min(this.fitting.length - 1, Math.max(0, at + step))];
      if (next) this.#choose(next);
    } else if (event.key === "Enter" && !this.#rule && this.fitting.length) {
      event.preventDefault();
      this.#choose(this.fitting[0]);
    }
  }

  #choose(rule) {
    this.#rule = rule;
    if (rule?.severity) byId("missed-severity").value = rule.severity === "info" ? "minor" : rule.severity;
    show(byId("missed-category-field"), rule?.id === "banned_phrase");
    write(byId("missed-chosen"), rule ? rule.title : "还没有选规则");
    byId("missed-save").disabled = rule === null;
    for (const row of this.list.children) row.setAttribute("aria-selected", row.id === `rule-option-${rule?.id}`);
    this.search.setAttribute("aria-activedescendant", rule ? `rule-option-${rule.id}` : "");
    document.getElementById(`rule-option-${rule?.id}`)?.scrollIntoView({ block: "nearest" });
  }

  async #add() {
    const { turn, charStart, charEnd } = this.#selection;
    const rule = this.#rule.id;
    const sent = {
      rule, turn, char_start: charStart, char_end: charEnd,
      category: rule === "banned_phrase" ? byId("missed-category").value : null,
      severity: byId("missed-severity").value,
      reason: byId("missed-reason").value.trim(),
    };
    byId("missed-save").disabled = true;
    const isAdded = await this.onAdd(sent);
    byId("missed-save").disabled = false;
    if (!isAdded) return;
    this.dialog.close();
    this.#selection = null;
    getSelection()?.removeAllRanges();
  }
}
