/** Tells screen readers what changed, once, in two live regions that every page of a call has. */

import { byId } from "./dom.js";

/** isUrgent  interrupts what is being read out */
export function announce(text, isUrgent = false) {
  const region = byId(isUrgent ? "say-now" : "say");
  region.textContent = region.textContent === text ? `${text}\u00a0` : text; // the same words twice are news twice
}
