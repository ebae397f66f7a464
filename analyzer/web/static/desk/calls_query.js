/** The filter of the list of calls as it stands in the address. Pure. */

/** Only what says something: no empty values, and not what is the rule anyway. */
export function tidied(entries) {
  const query = new URLSearchParams();
  for (const [name, value] of entries) {
    const text = String(value).trim();
    if (text && !(name === "sort" && text === "-started_at")) query.append(name, text);
  }
  return query;
}

/** The same filter, whatever the order of its parts. */
export function isSame(one, other) {
  return sorted(one) === sorted(other);
}

/** What a click on a column's head sorts by: greatest first, then least first, then as it was. */
export function nextSort(present, column) {
  if (present === `-${column}`) return column;
  return present === column ? "-started_at" : `-${column}`;
}

function sorted(query) {
  const copy = new URLSearchParams(query);
  copy.sort();
  return copy.toString();
}
