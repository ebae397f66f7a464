/** The overlay's keys. They work wherever the focus is, also while a Chinese input method is on. */

/** dismiss, confirm, help  () => void */
export function onKeys({ dismiss, confirm, help }) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const isDialog = document.querySelector("dialog[open]") !== null;
    const isHelp = event.key === "?" || event.key === "？";
    if (isHelp) help();
    else if (isDialog) return; // Esc closes it, Enter presses its button
    else if (event.key === "Escape" || event.code === "KeyX") dismiss();
    else if (event.key === "Enter" && !(event.target instanceof HTMLButtonElement)) confirm();
  });
}
