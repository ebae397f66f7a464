// Tables that are sorted by a click on a heading. Numbers come in data-value, an empty one goes last either way.

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const head of table.tHead.rows[0].cells) {
    if (head.dataset.sortable !== "no") makeSortable(table, head);
  }
}

function makeSortable(table, head) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => sort(table, head));
}

function sort(table, head) {
  const isNumber = head.classList.contains("number");
  const was = head.getAttribute("aria-sort");
  const order = was === "descending" || (was === null && !isNumber) ? "ascending" : "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row.cells[head.cellIndex], isNumber), row]);
  rows.sort(([one], [other]) => compare(one, other, sign));
  body.append(...rows.map(([, row]) => row));
}

function valueOf(cell, isNumber) {
  if (!isNumber) return cell.textContent.trim();
  const given = cell.dataset.value ?? cell.textContent;
  return given === "" || Number.isNaN(Number(given)) ? null : Number(given);
}

function compare(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (typeof one === "number" ? one - other : one.localeCompare(other, "zh-CN"));
}
