/** What just happened, said at the foot of the page and to screen readers. */

import { byId, make } from "../dom.js";

const SHOWN_MS = 5_000;
let timer = 0;

/** act  {text, run}: something that can be done about it; kind: good | bad (stays until the next one) */
export function tell(text, { kind = "good", act = null } = {}) {
  const box = byId("toast");
  clearTimeout(timer);
  box.dataset.kind = kind;
  box.replaceChildren(make("span", "", text));
  if (act) {
    const button = make("button", "", act.text);
    button.type = "button";
    button.addEventListener("click", () => {
      box.replaceChildren();
      act.run();
    });
    box.append(button);
  }
  if (kind === "good") timer = setTimeout(() => box.replaceChildren(), SHOWN_MS);
}
