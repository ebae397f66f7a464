/**
 * A WebSocket that comes back by itself.
 *
 *     connecting ──► open ──► over (closed normally: there is no more)
 *         ▲           │
 *         └─ waiting ◄┘ lost, or unknown: no such call yet
 *     unauthorised: the token is wrong; nothing is tried any more
 *
 * Events carry numbers without a gap: one that was seen already is left out, and where one is missing the line is taken
 * down and everything after the last good one asked for again. Sockets, timers and chance come from outside, for tests.
 */

const FIRST_MS = 500;
const MOST_MS = 8_000;
const UNKNOWN_MS = 2_000; // how often to look for a call that has not begun
const SILENT_MS = 30_000; // a line on which nothing came for so long is looked after; in a quiet call that costs nothing

/** How long to wait before the n-th try (from 0): doubling, capped, a fifth of chance so that overlays do not all return at once. */
export function backoffMs(attempt, chance) {
  const ms = Math.min(MOST_MS, FIRST_MS * 2 ** attempt);
  return Math.round(Math.min(MOST_MS, Math.max(FIRST_MS, ms * (0.8 + 0.4 * chance))));
}

export const BROWSER = {
  open: (url) => new WebSocket(url),
  after: (ms, work) => setTimeout(work, ms),
  cancel: (timer) => clearTimeout(timer),
  chance: () => Math.random(),
};

export class Stream {
  #world;
  #options;
  #socket = null;
  #timer = null;
  #watchdog = null;
  #attempt = 0;
  #gapAt = null; // the seq after which events were missing when last asked for
  #outbox = new Map(); // key -> message that nobody has confirmed
  last = 0;
  status = "idle";

  /**
   * address  (after) => URL
   * receive  (message) => void; each event once, in order
   * tell     (status) => void; connecting, open, lost, unknown, unauthorised, over
   * probe    async () => HTTP status of the same thing, 0 where there is no answer: says why a line never opened
   * numbered whether messages carry `seq`, and a normal close says that there are no more
   * finished () => whether nothing more is to come, so that any close is the end
   */
  constructor(options, world = BROWSER) {
    this.#options = { numbered: true, finished: () => false, ...options };
    this.#world = world;
  }

  start() {
    this.#connect();
  }

  stop() {
    this.#drop();
    this.#world.cancel(this.#timer);
    this.status = "stopped";
  }

  /** Try at once instead of waiting: the network is back, or the page is looked at again. */
  hurry() {
    if (this.status === "lost" || this.status === "unknown") {
      this.#attempt = 0;
      this.#connect();
    }
  }

  /** Send now or, where the line is down, as soon as it is back; again after every return until `confirm(key)`. */
  send(key, message) {
    this.#outbox.set(key, JSON.stringify(message));
    if (this.status === "open") this.#socket.send(this.#outbox.get(key));
  }

  confirm(key) {
    this.#outbox.delete(key);
  }

  #connect() {
    this.#world.cancel(this.#timer);
    this.#drop();
    this.#become("connecting");
    const socket = this.#world.open(this.#options.address(this.last));
    this.#socket = socket;
    let hasOpened = false;
    socket.onopen = () => {
      hasOpened = true;
      this.#become("open");
      this.#listenForSilence();
      for (const message of this.#outbox.values()) socket.send(message);
    };
    socket.onmessage = ({ data }) => this.#receive(socket, JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (this.#socket !== socket) return;
      this.#drop();
      this.#closed(code, hasOpened);
    };
  }

  #receive(socket, message) {
    if (this.#socket !== socket) return;
    this.#attempt = 0;
    this.#listenForSilence();
    if (!this.#options.numbered) return this.#options.receive(message);
    if (message.seq <= this.last) return;
    const isGap = message.seq > this.last + 1 && this.#gapAt !== this.last;
    if (isGap) {
      this.#gapAt = this.last; // asked for once; if it is still missing then, the server does not have it
      this.#lost(0);
      return;
    }
    this.last = message.seq;
    this.#options.receive(message);
  }

  async #closed(code, hasOpened) {
    if ((code === 1000 && this.#options.numbered) || this.#options.finished()) return this.#become("over");
    if (code === 4401) return this.#become("unauthorised");
    if (code === 4404) return this.#lost(UNKNOWN_MS, "unknown");
    if (!hasOpened) {
      const socket = this.#socket;
      const answer = await this.#options.probe();
      if (this.#socket !== socket || this.status === "stopped") return; // somebody else went on meanwhile
      if (answer === 401) return this.#become("unauthorised");
      if (answer === 404) return this.#lost(UNKNOWN_MS, "unknown");
    }
    this.#lost(backoffMs(this.#attempt, this.#world.chance()));
    this.#attempt += 1;
  }

  #lost(ms, status = "lost") {
    this.#drop();
    this.#become(status);
    this.#timer = this.#world.after(ms, () => this.#connect());
  }

  #drop() {
    this.#world.cancel(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #listenForSilence() {
    this.#world.cancel(this.#watchdog);
    this.#watchdog = this.#world.after(SILENT_MS, () => this.#lost(0));
  }

  #become(status) {
    if (this.status === status) return;
    this.status = status;
    this.#options.tell(status);
  }
}
