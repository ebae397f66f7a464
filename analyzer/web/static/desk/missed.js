/** Adding a violation that the rules missed: select what was said, choose the rule it breaks. */

import { byId, make, show, write } from "../dom.js";

const MOST_SHOWN = 60;

/** rules  those of the call's pack, whether they applied or not; onAdd  ({rule, turn, char_start, char_end, category, severity, reason}) => Promise<boolean> */
export class MissedDialog {
  #selection = null;
  #rule = null;

  constructor({ transcript, rules, onAdd }) {
    Object.assign(this, { transcript, onAdd });
    this.rules = rules.toSorted((one, other) => one.title.localeCompare(other.title, "zh"));
    this.dialog = byId("missed");
    this.form = byId("missed-form");
    this.search = byId("missed-search");
    this.list = byId("missed-rules");
    this.offer = byId("missed-offer");
    this.#listen();
  }

  /** Open for what is selected; without a selection, say what to do. */
  open() {
    const selection = this.transcript.selection() ?? this.#selection;
    if (!selection) return false;
    this.#selection = selection;
    show(this.offer, false);
    write(byId("missed-quote"), `“${selection.text}”`);
    this.form.reset();
    this.#choose(null);
    this.dialog.showModal();
    this.search.focus();
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

  #drawRules() {
    const wanted = this.search.value.trim().toLowerCase();
    const fitting = this.rules.filter((one) => !wanted || one.title.toLowerCase().includes(wanted) || one.rule.includes(wanted));
    const rows = fitting.slice(0, MOST_SHOWN).map((rule) => {
      const row = make("li", "rule-option", make("span", "", rule.title), make("span", "hint", rule.rule));
      row.id = `rule-option-${rule.rule}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", rule.rule === this.#rule?.rule);
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
      const at = this.fitting.findIndex((rule) => rule.rule === this.#rule?.rule);
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
    show(byId("missed-category-field"), rule?.rule === "banned_phrase");
    write(byId("missed-chosen"), rule ? rule.title : "还没有选规则");
    byId("missed-save").disabled = rule === null;
    for (const row of this.list.children) row.setAttribute("aria-selected", row.id === `rule-option-${rule?.rule}`);
    this.search.setAttribute("aria-activedescendant", rule ? `rule-option-${rule.rule}` : "");
    document.getElementById(`rule-option-${rule?.rule}`)?.scrollIntoView({ block: "nearest" });
  }

  async #add() {
    const { turn, charStart, charEnd } = this.#selection;
    const rule = this.#rule.rule;
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
