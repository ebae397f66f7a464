/** Keys of a page: they work wherever the focus is, but never while somebody writes or a dialog is open. */

const WRITING = "input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]";

/**
 * keys  {key or code: (event) => void}, as `event.key` names them; letters in lower case. Chinese punctuation counts as
 *       the key it stands on. Shift+letter is "shift+n".
 */
export function onKeys(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.(WRITING) || document.querySelector("dialog[open]")) return;
    const act = keys[nameOf(event)];
    if (!act) return;
    if ((event.key === " " || event.key === "Enter") && event.target.closest?.("button, a, summary, label, input")) return; // theirs
    event.preventDefault();
    act(event);
  });
}

const CHINESE = { "？": "?", "【": "[", "】": "]", "「": "[", "」": "]", "／": "/", "、": "/" };

function nameOf(event) {
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1].toLowerCase();
  const name = letter ?? CHINESE[event.key] ?? event.key;
  return event.shiftKey && (letter || event.key === "Enter") ? `shift+${name}` : name;
}
