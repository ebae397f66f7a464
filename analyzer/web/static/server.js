/** The server's addresses, and asking it over HTTP. */

export function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

export function eventsPath(callId, after, viewer) {
  return `/live/${encodeURIComponent(callId)}/events?after=${after}&viewer=${viewer}`;
}

/** The last part of this page's address, as in /overlay/{call_id}; "" where there is none. */
export function callIdOf(pathname) {
  return decodeURIComponent(pathname.split("/").slice(2).join("/"));
}

export function getCall(callId) {
  return ask(`/api/calls/${encodeURIComponent(callId)}`);
}

export function getCallsOf(agent) {
  return ask(`/api/calls?state=live&agent_id=${encodeURIComponent(agent)}`);
}

export async function postWhisper(callId, text, sender) {
  const me = await getMe();
  return ask(`/api/calls/${encodeURIComponent(callId)}/whisper`, { text, sender }, me?.csrf);
}

let known; // whoever is logged in, once asked

/** Who is logged in at the review desk; null for who came with the server's token. */
export function getMe() {
  known ??= ask("/api/desk/me").then(({ status, body }) => (status === 200 ? body : null));
  return known;
}

/** {status, body}: the HTTP status, 0 where no answer came; the JSON that came, else null. */
async function ask(path, sent, csrf) {
  const how = sent && {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(csrf && { "X-CSRF-Token": csrf }) },
    body: JSON.stringify(sent),
  };
  try {
    const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...how });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  } catch {
    return { status: 0, body: null };
  }
}
