/** One call being followed: its stream, its state, its clock. */

import { CallClock } from "./clock.js";
import { eventsPath, getCall, socketUrl } from "./server.js";
import { BLANK, dismissed, isOver, reduce } from "./state.js";
import { Stream } from "./stream.js";

export class CallWatch {
  #clock = new CallClock();
  #stream;
  #changed;
  #isLooked = false; // whether it is known how many events there were before
  #before = 0;
  #hasOpened = false;
  state = BLANK;
  status = "connecting";

  /**
   * viewer   overlay or supervisor: a whisper counts as delivered on an overlay only
   * changed  () => void, after anything that should be seen
   */
  constructor(callId, viewer, changed) {
    this.callId = callId;
    this.#changed = changed;
    this.#stream = new Stream({
      address: (after) => socketUrl(eventsPath(callId, after, viewer)),
      receive: (event) => this.#receive(event),
      tell: (status) => this.#tell(status),
      probe: async () => (await this.#look()).status,
      finished: () => isOver(this.state),
    });
  }

  async start() {
    await this.#look();
    if (this.status !== "stopped") this.#stream.start();
  }

  stop() {
    this.status = "stopped";
    this.#stream.stop();
  }

  hurry() {
    this.#stream.hurry();
  }

  /** The call's clock, ms. */
  get nowMs() {
    return this.#clock.at(performance.now());
  }

  /** Everything that was before is here: what is shown is the present. */
  get isCurrent() {
    return this.#isLooked && this.state.seq >= this.#before;
  }

  /** Nothing more will come, with or without a score. */
  get isOver() {
    return isOver(this.state) || this.status === "over";
  }

  /** The line was up once: it is being mended, not made. */
  get hasOpened() {
    return this.#hasOpened;
  }

  dismiss(nudge) {
    this.state = { ...this.state, nudges: dismissed(this.state.nudges, nudge) };
    this.#stream.send(`dismiss ${nudge}`, { type: "dismiss", nudge });
    this.#changed();
  }

  see(whisper) {
    const whispers = this.state.whispers.map((one) => (one.id === whisper ? { ...one, state: "seen" } : one));
    this.state = { ...this.state, whispers };
    this.#stream.send(`seen ${whisper}`, { type: "seen", whisper });
    this.#changed();
  }

  async #look() {
    const answer = await getCall(this.callId);
    if (answer.status === 200 && !this.#isLooked) {
      this.#isLooked = true;
      this.#before = answer.body.last_seq;
    }
    return answer;
  }

  #receive(event) {
    this.#isLooked = true;
    this.state = reduce(this.state, event);
    if (event.type === "dismiss") this.#stream.confirm(`dismiss ${event.nudge}`);
    if (event.type === "whisper" && event.state === "seen") this.#stream.confirm(`seen ${event.id}`);
    if (isOver(this.state)) this.#clock.stop(this.state.atMs);
    else this.#clock.hear(event.at_ms, performance.now());
    this.#changed();
  }

  #tell(status) {
    this.status = status;
    this.#hasOpened ||= status === "open";
    this.#changed();
  }
}
