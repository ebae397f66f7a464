/** A list at the left of a page: chosen by click, J and K, remembered in the address. */

import { make, setAttribute } from "../dom.js";

/** drawItem  (item) => the children of its button; onChoose  (item) => void */
export class ItemList {
  constructor(list, { drawItem, onChoose }) {
    Object.assign(this, { list, drawItem, onChoose, items: [], chosen: null });
  }

  show(items) {
    this.items = items;
    this.list.replaceChildren(...items.map((item) => this.#row(item)));
  }

  choose(item) {
    this.chosen = item ?? null;
    for (const row of this.list.children) {
      const node = row.firstElementChild;
      const isChosen = row.dataset.id === String(item?.id);
      if (isChosen) {
        setAttribute(node, "aria-current", "true");
        row.scrollIntoView({ block: "nearest" });
      } else node.removeAttribute("aria-current");
    }
    if (item) this.onChoose(item);
  }

  step(by) {
    const at = this.items.findIndex((item) => item.id === this.chosen?.id);
    const next = this.items[at < 0 ? 0 : at + by];
    if (next) this.choose(next);
  }

  #row(item) {
    const node = make("button", "item", ...this.drawItem(item));
    node.type = "button";
    if (item.id === this.chosen?.id) setAttribute(node, "aria-current", "true");
    node.addEventListener("click", () => this.choose(item));
    const row = make("li", "", node);
    row.dataset.id = item.id;
    return row;
  }
}
