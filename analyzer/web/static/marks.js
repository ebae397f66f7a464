/** Where findings lie in a sentence. Pure. */

const WEIGHTS = { critical: 3, major: 2, minor: 1, info: 0 };

/**
 * A sentence cut into pieces, each with the findings that cover it, the gravest first.
 *
 * marks  [{char_start, char_end, finding}], characters as the server counts them: code points, end exclusive
 */
export function cutAtMarks(text, marks) {
  const characters = Array.from(text);
  const clip = (place) => Math.min(characters.length, Math.max(0, place));
  const cuts = new Set([0, characters.length]);
  for (const mark of marks) cuts.add(clip(mark.char_start)).add(clip(mark.char_end));
  const places = [...cuts].sort((one, other) => one - other);
  return places.slice(0, -1).map((from, index) => {
    const to = places[index + 1];
    const covering = marks.filter((mark) => mark.char_start < to && mark.char_end > from).map((mark) => mark.finding);
    return { text: characters.slice(from, to).join(""), findings: covering.sort(graver) };
  });
}

/** The marks of each turn: Map turn -> [{char_start, char_end, finding}]. Withdrawn findings leave none. */
export function marksByTurn(findings) {
  const turns = new Map();
  for (const finding of findings) {
    if (finding.status === "withdrawn") continue;
    for (const span of finding.spans) {
      if (!turns.has(span.turn)) turns.set(span.turn, []);
      turns.get(span.turn).push({ char_start: span.char_start, char_end: span.char_end, finding });
    }
  }
  return turns;
}

function graver(one, other) {
  return WEIGHTS[other.severity] - WEIGHTS[one.severity];
}
