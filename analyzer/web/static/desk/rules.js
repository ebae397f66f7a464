/** The catalogue: narrowing the list while typing. */

const find = document.getElementById("find");
const rows = [...document.querySelectorAll("#rules tr")];
const count = document.getElementById("count");

function narrow() {
  const words = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.dataset.words.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  count.textContent = shown;
}

find.addEventListener("input", narrow);
document.getElementById("scheme").addEventListener("change", ({ target }) => {
  location.search = new URLSearchParams({ profile: target.value }).toString();
});
find.focus();
