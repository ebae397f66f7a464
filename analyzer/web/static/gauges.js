/** 语速 bars and timers. */

import { readTimer } from "./clock.js";
import { make, makeShape, setAttribute, setData, setStyle, show, write } from "./dom.js";
import { MOST, readPace } from "./pace.js";

const SHAPES = { fast: "↑", slow: "↓", fit: "✓", none: "" };

/** One side's 语速: a bar with the band, the number, a word. */
export class PaceBar {
  #band = make("span", "pace-band");
  #needle = make("span", "pace-needle");
  #value = make("span", "pace-value");
  #word = make("span", "pace-word");

  constructor(who) {
    this.who = who;
    const bar = make("span", "pace-bar", this.#band, this.#needle);
    this.node = make("div", "pace", make("span", "pace-who", who), bar, this.#value, this.#word);
    this.node.setAttribute("role", "meter");
    this.node.setAttribute("aria-label", `${who}语速`);
    this.node.setAttribute("aria-valuemin", "0");
    this.node.setAttribute("aria-valuemax", String(MOST));
    this.draw(null);
  }

  draw(pace) {
    const { value, kind, word, at, band } = readPace(pace);
    setData(this.node, "kind", kind);
    write(this.#value, value === null ? "–" : String(value));
    write(this.#word, word ? `${SHAPES[kind]} ${word}` : "");
    show(this.#band, band !== null);
    show(this.#needle, at !== null);
    if (band) {
      setStyle(this.#band, "--from", band.from);
      setStyle(this.#band, "--to", band.to);
    }
    if (at !== null) setStyle(this.#needle, "--at", at);
    const limits = band ? `，合适范围 ${band.low} 到 ${band.high}` : "";
    setAttribute(this.node, "aria-valuenow", value ?? 0);
    setAttribute(this.node, "aria-valuetext", value === null ? "还说得太少" : `${value} 字每分钟${word}${limits}`);
    setAttribute(this.node, "title", value === null ? "说得还少，暂不计语速" : `${value} 字/分钟${limits}`);
  }
}

/** Something that counts up: 保持 or 静默, against its next limit. */
export class TimerView {
  #time = make("span", "timer-time");
  #limit = make("span", "timer-limit");
  #over = make("span", "timer-over", makeShape("▲"), "超时");
  #line = make("span", "timer-line");

  constructor(name) {
    this.node = make("div", "timer", make("span", "timer-name", name), this.#time, this.#limit, this.#over, this.#line);
    this.draw(null, 0);
  }

  draw(timer, nowMs) {
    const reading = readTimer(timer, nowMs);
    setData(this.node, "kind", reading === null ? "off" : reading.isOver ? "over" : "on");
    write(this.#time, reading?.text ?? "–");
    write(this.#limit, reading?.limitText ? `/ ${reading.limitText}` : "");
    show(this.#over, reading?.isOver ?? false);
    setStyle(this.#line, "--share", (reading?.share ?? 0).toFixed(3));
  }
}
