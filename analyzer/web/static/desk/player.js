/**
 * The recording, played. Both sides come to both ears, so that one can be muted; where the browser cannot take the
 * channels apart, muting is not offered but everything else works.
 */

const RATES = [0.75, 1, 1.25, 1.5, 1.75, 2];
export const LEAD_MS = 1_000; // a finding is heard from one second before

export class Player extends EventTarget {
  #audio = null;
  #gains = null; // by side, once the sound goes through here
  #stopMs = null;
  #atMs = 0; // without a recording, where one reads
  #frame = 0;

  /** url  null where there is no recording: then moments can be pointed at, not heard */
  constructor(url, channels, durationMs) {
    super();
    this.channels = channels;
    this.durationMs = durationMs;
    this.muted = new Set();
    if (url) this.#listenTo(url);
  }

  get canPlay() {
    return this.#audio !== null && this.#audio.error === null;
  }

  get isPlaying() {
    return this.#audio !== null && !this.#audio.paused && !this.#audio.ended;
  }

  get atMs() {
    return this.#audio ? Math.round(this.#audio.currentTime * 1000) : this.#atMs;
  }

  get rate() {
    return this.#audio?.playbackRate ?? 1;
  }

  get canMute() {
    return this.canPlay && this.channels.length > 1 && "AudioContext" in globalThis;
  }

  seek(ms) {
    const wanted = Math.min(this.durationMs, Math.max(0, ms));
    this.#stopMs = null;
    this.#atMs = wanted;
    if (this.#audio) this.#audio.currentTime = wanted / 1000;
    this.#tell("moved");
  }

  /** From a second before `startMs`; with `endMs`, to a second after it and no further. */
  playFrom(startMs, endMs = null) {
    this.seek(startMs - LEAD_MS);
    if (endMs !== null) this.#stopMs = endMs + LEAD_MS;
    return this.play();
  }

  async play() {
    if (!this.canPlay) return;
    this.#takeApart();
    await this.#audio.play().catch((error) => {
      if (error.name !== "AbortError") this.#tell("refused");
    });
  }

  pause() {
    this.#audio?.pause();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else {
      this.#stopMs = null;
      this.play();
    }
  }

  /** One step faster or slower: 0.75 to 2. */
  changeRate(step) {
    const at = RATES.indexOf(this.rate);
    this.setRate(RATES[Math.min(RATES.length - 1, Math.max(0, (at < 0 ? 1 : at) + step))]);
  }

  setRate(rate) {
    if (this.#audio) this.#audio.playbackRate = this.#audio.defaultPlaybackRate = rate;
    this.#tell("changed");
  }

  toggleMute(side) {
    if (!this.canMute) return;
    if (!this.muted.delete(side)) this.muted.add(side);
    this.#setGains();
    this.#tell("changed");
  }

  #listenTo(url) {
    this.#audio = new Audio();
    this.#audio.preload = "metadata";
    this.#audio.preservesPitch = true;
    this.#audio.src = url;
    for (const type of ["play", "pause", "ended", "ratechange"]) this.#audio.addEventListener(type, () => this.#changed());
    for (const type of ["seeked", "timeupdate"]) this.#audio.addEventListener(type, () => this.#tell("moved"));
    this.#audio.addEventListener("error", () => this.#tell("failed"));
    this.#audio.addEventListener("waiting", () => this.#tell("waiting"));
  }

  #changed() {
    this.#tell("changed");
    cancelAnimationFrame(this.#frame);
    if (this.isPlaying) this.#run();
  }

  /** While it plays, once a frame: the page follows. */
  #run() {
    this.#frame = requestAnimationFrame(() => {
      if (this.#stopMs !== null && this.atMs >= this.#stopMs) {
        this.#stopMs = null;
        this.pause();
      }
      this.#tell("moved");
      if (this.isPlaying) this.#run();
    });
  }

  /** Sound may start only after a person did something, so the channels are taken apart when it is first played. */
  #takeApart() {
    if (this.#gains || !this.canMute) return;
    const context = new AudioContext();
    const source = context.createMediaElementSource(this.#audio);
    const splitter = context.createChannelSplitter(this.channels.length);
    source.connect(splitter);
    this.#gains = new Map(
      this.channels.map((side, channel) => {
        const gain = context.createGain();
        splitter.connect(gain, channel);
        gain.connect(context.destination);
        return [side, gain];
      }),
    );
    this.#setGains();
    if (context.state === "suspended") context.resume();
  }

  #setGains() {
    for (const [side, gain] of this.#gains ?? []) gain.gain.value = this.muted.has(side) ? 0 : 1;
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
