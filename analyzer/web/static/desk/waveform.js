/**
 * The recording drawn: one lane per side, findings over them, a small picture of the whole call above.
 *
 * Drawing is split in two: what stands still (waves, findings) is drawn when the view or the findings change, the moment
 * that is heard is one line on a canvas of its own, so that playing costs next to nothing.
 */

import { clockText } from "../clock.js";
import { SEVERITIES } from "../words.js";
import * as timeline from "./timeline.js";

const MAP_PX = 22; // the whole call
const RULER_PX = 18;
const FLAG_PX = 16; // where the shapes of findings stand
const WEIGHTS = { info: 0, minor: 1, major: 2, critical: 3 };
const LANE_WORDS = { agent: "坐席", customer: "客户", unknown: "混合" };

/**
 * still, moving  canvases of the same size, one upon the other
 * read           (side, fromMs, toMs, width) => peaks 0..1, one per pixel column, or null while they are on the way
 * onSeek         (ms) => void; onFinding (finding) => void; onView (view) => void
 */
export class Waveform {
  #hover = null;
  #drag = null;
  #isDue = false;
  #patterns = new Map();

  constructor({ still, moving, durationMs, lanes, read, onSeek, onFinding }) {
    Object.assign(this, { still, moving, lanes, read, onSeek, onFinding });
    this.view = timeline.wholeCall(durationMs);
    this.findings = [];
    this.pauses = [];
    this.chosen = null;
    this.atMs = 0;
    this.muted = new Set();
    new ResizeObserver(() => this.draw()).observe(still.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.#listen();
  }

  show(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  setView(view) {
    this.view = view;
    this.draw();
  }

  zoom(factor, aroundMs = this.atMs) {
    const inside = Math.min(this.view.toMs, Math.max(this.view.fromMs, aroundMs));
    this.setView(timeline.zoomed(this.view, factor, inside));
  }

  fit() {
    this.setView(timeline.wholeCall(this.view.durationMs));
  }

  frame(startMs, endMs) {
    this.setView(timeline.framing(this.view, startMs, endMs));
  }

  /** The moment that is heard; the view follows if it is to. */
  moveTo(ms, follows) {
    this.atMs = ms;
    const view = follows ? timeline.showing(this.view, ms) : this.view;
    if (view !== this.view) this.setView(view);
    this.#drawMoment();
  }

  /** Once in the next frame, however often it is asked. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#drawStill();
      this.#drawMoment();
    });
  }

  // ---- drawing

  #start(canvas) {
    const { width, height } = canvas.parentElement.getBoundingClientRect();
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    return { pen, width, height };
  }

  #drawStill() {
    const { pen, width, height } = this.#start(this.still);
    if (!width) return;
    const style = getComputedStyle(this.still);
    this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.#patterns.clear();
    const font = `12px ${style.fontFamily}`;
    pen.font = font;
    this.#drawMap(pen, width);
    this.#drawRuler(pen, width);
    const top = MAP_PX + RULER_PX + FLAG_PX;
    const each = (height - top) / this.lanes.length;
    this.#drawPauses(pen, width, top, height - top);
    this.lanes.forEach((lane, at) => this.#drawLane(pen, width, lane, top + at * each, each));
    for (const finding of byWeight(this.findings)) this.#drawFinding(pen, width, finding, top, each);
  }

  #drawMap(pen, width) {
    const whole = timeline.wholeCall(this.view.durationMs);
    pen.fillStyle = this.colour("ground");
    pen.fillRect(0, 0, width, MAP_PX);
    for (const lane of this.lanes) {
      const peaks = this.read(lane, 0, whole.durationMs, Math.ceil(width));
      if (peaks) drawWave(pen, peaks, MAP_PX / 2, MAP_PX / 2 - 3, this.colour("soft"), 0.55);
    }
    for (const finding of byWeight(this.findings)) {
      const { mark } = this.#coloursOf(finding);
      pen.fillStyle = mark;
      const x = timeline.xOf(whole, width, middle(finding));
      const tall = 5 + 3 * WEIGHTS[finding.severity];
      pen.fillRect(Math.min(width - 2, Math.max(0, x - 1)), MAP_PX - tall, 2, tall);
    }
    const [left, right] = [this.view.fromMs, this.view.toMs].map((ms) => timeline.xOf(whole, width, ms));
    pen.strokeStyle = this.colour("calm");
    pen.lineWidth = 2;
    pen.strokeRect(left + 1, 1, Math.max(4, right - left - 2), MAP_PX - 2);
  }

  #drawRuler(pen, width) {
    pen.fillStyle = this.colour("soft");
    pen.textBaseline = "middle";
    for (const ms of timeline.ticks(this.view, width)) {
      const x = timeline.xOf(this.view, width, ms);
      pen.fillRect(Math.round(x), MAP_PX + 2, 1, RULER_PX - 4);
      const tenths = this.view.toMs - this.view.fromMs < 8_000 ? `.${Math.floor(ms / 100) % 10}` : "";
      if (x < width - 50) pen.fillText(clockText(ms) + tenths, x + 4, MAP_PX + RULER_PX / 2 + 1);
    }
  }

  #drawPauses(pen, width, top, height) {
    pen.fillStyle = this.colour("ground");
    for (const { start_ms, end_ms, kind } of this.pauses) {
      const [left, right] = [start_ms, end_ms].map((ms) => timeline.xOf(this.view, width, ms));
      if (right < 0 || left > width) continue;
      pen.fillStyle = this.colour("ground");
      pen.fillRect(left, top, right - left, height);
      if (right - left > 70) {
        pen.fillStyle = this.colour("soft");
        pen.textAlign = "center";
        const word = kind === "hold" ? "‖ 等待" : "… 静音";
        pen.fillText(`${word} ${Math.round((end_ms - start_ms) / 1000)} 秒`, (Math.max(0, left) + Math.min(width, right)) / 2, top + height / 2);
        pen.textAlign = "start";
      }
    }
  }

  #drawLane(pen, width, lane, top, height) {
    const centre = top + height / 2;
    const isMuted = this.muted.has(lane);
    pen.fillStyle = this.colour("line");
    pen.fillRect(0, centre, width, 1);
    const colour = lane === "agent" ? this.colour("calm") : this.colour("soft");
    const peaks = this.read(lane, this.view.fromMs, this.view.toMs, Math.ceil(width));
    if (peaks) drawWave(pen, peaks, centre, height / 2 - 3, colour, isMuted ? 0.25 : 1);
    pen.fillStyle = this.colour("panel");
    const word = `${LANE_WORDS[lane] ?? lane}${isMuted ? " 静音" : ""}`;
    pen.fillRect(0, top + 1, pen.measureText(word).width + 12, 16);
    pen.fillStyle = colour;
    pen.fillText(word, 6, top + 10);
  }

  #drawFinding(pen, width, finding, top, each) {
    const { left, right } = this.#extent(finding, width);
    if (right < 0 || left > width) return;
    const { mark } = this.#coloursOf(finding);
    const lane = this.lanes.indexOf(finding.role);
    const isWindow = finding.match === "absent";
    const y = lane < 0 ? top : top + lane * each;
    const tall = lane < 0 ? each * this.lanes.length : each;
    const isChosen = this.chosen === finding.id;
    pen.save();
    if (finding.decision === "overturned") pen.globalAlpha = 0.45;
    if (isWindow) this.#drawWindow(pen, mark, left, right, top, each * this.lanes.length, isChosen);
    else {
      pen.fillStyle = this.#pattern(pen, finding.severity, mark);
      pen.fillRect(left, y, right - left, tall);
      pen.strokeStyle = mark;
      pen.lineWidth = isChosen ? 3 : 1;
      pen.strokeRect(left + 0.5, y + 0.5, right - left - 1, tall - 1);
    }
    this.#drawFlag(pen, finding, mark, Math.max(0, left), top, isChosen);
    pen.restore();
  }

  /** Something missing has a window, not a place: a bracket that stands out only when it is chosen. */
  #drawWindow(pen, mark, left, right, top, tall, isChosen) {
    pen.strokeStyle = mark;
    pen.lineWidth = isChosen ? 2.5 : 1;
    pen.setLineDash([5, 4]);
    pen.strokeRect(left + 1, top + 1, right - left - 2, isChosen ? tall - 2 : 3);
    pen.setLineDash([]);
  }

  #drawFlag(pen, finding, mark, x, top, isChosen) {
    const { shape } = SEVERITIES[finding.severity];
    const place = Math.max(2, x);
    if (isChosen) {
      pen.fillStyle = mark;
      pen.fillRect(place - 2, top - FLAG_PX, 16, FLAG_PX);
    }
    pen.fillStyle = isChosen ? this.colour("panel") : mark;
    pen.fillText(shape, place, top - FLAG_PX / 2);
    if (finding.decision === "overturned") pen.fillRect(place - 1, top - FLAG_PX / 2, 14, 1.5);
  }

  #drawMoment() {
    const { pen, width, height } = this.#start(this.moving);
    if (!width || !this.colour) return;
    pen.fillStyle = this.colour("focus");
    const whole = timeline.wholeCall(this.view.durationMs);
    pen.fillRect(timeline.xOf(whole, width, this.atMs) - 1, 0, 2, MAP_PX);
    const x = timeline.xOf(this.view, width, this.atMs);
    if (x >= 0 && x <= width) pen.fillRect(x - 1, MAP_PX, 2, height - MAP_PX);
    if (this.#hover !== null) {
      pen.fillStyle = this.colour("ink");
      pen.globalAlpha = 0.5;
      pen.fillRect(this.#hover, MAP_PX, 1, height - MAP_PX);
      pen.globalAlpha = 1;
      const text = clockText(timeline.msOf(this.view, width, this.#hover));
      pen.font = `12px ${getComputedStyle(this.still).fontFamily}`;
      const wide = pen.measureText(text).width + 8;
      const left = Math.min(width - wide, this.#hover + 4);
      pen.fillStyle = this.colour("ink");
      pen.fillRect(left, MAP_PX, wide, 17);
      pen.fillStyle = this.colour("panel");
      pen.textBaseline = "middle";
      pen.fillText(text, left + 4, MAP_PX + 9);
    }
  }

  #extent(finding, width) {
    const left = timeline.xOf(this.view, width, finding.start_ms);
    const right = timeline.xOf(this.view, width, finding.end_ms);
    return right - left >= 4 ? { left, right } : { left: left - 1, right: left + 3 };
  }

  #coloursOf(finding) {
    const name = { critical: "alarm", major: "warn" }[finding.severity] ?? "soft";
    return { mark: this.colour(name) };
  }

  /** Critical: hatched, major: dotted, else: thin lines. The colour only repeats it. */
  #pattern(pen, severity, mark) {
    if (!this.#patterns.has(severity)) this.#patterns.set(severity, makePattern(pen, severity, mark));
    return this.#patterns.get(severity);
  }

  // ---- pointing

  #listen() {
    const canvas = this.moving;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointerleave", () => {
      this.#hover = null;
      this.#drawMoment();
    });
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #press(event) {
    this.moving.setPointerCapture(event.pointerId);
    const isMap = event.offsetY < MAP_PX;
    this.#drag = { x: event.offsetX, view: this.view, isMap, hasMoved: false };
    if (isMap) this.#centreOn(event);
  }

  #move(event) {
    if (this.#drag?.isMap) this.#centreOn(event);
    else if (this.#drag) this.#pan(event);
    this.#hover = event.offsetY < MAP_PX || this.#drag ? null : event.offsetX;
    const found = event.offsetY >= MAP_PX ? this.#findingAt(event) : null;
    this.moving.title = found ? `${SEVERITIES[found.severity].word}：${found.message}` : "";
    this.moving.classList.toggle("on-finding", found !== null);
    this.#drawMoment();
  }

  #release(event) {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || drag.isMap || drag.hasMoved) return;
    const found = this.#findingAt(event);
    if (found) this.onFinding(found);
    else this.onSeek(timeline.msOf(this.view, this.#width, event.offsetX));
  }

  #pan(event) {
    const by = event.offsetX - this.#drag.x;
    if (Math.abs(by) < 4 && !this.#drag.hasMoved) return;
    this.#drag.hasMoved = true;
    const { view } = this.#drag;
    this.setView(timeline.scrolled(view, -(by / this.#width) * (view.toMs - view.fromMs)));
  }

  #centreOn(event) {
    const length = this.view.toMs - this.view.fromMs;
    const ms = timeline.msOf(timeline.wholeCall(this.view.durationMs), this.#width, event.offsetX);
    this.setView(timeline.scrolled(this.view, ms - length / 2 - this.view.fromMs));
  }

  /** The wheel zooms around the pointer; sideways, or with Shift, it scrolls. */
  #wheel(event) {
    event.preventDefault();
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      this.setView(timeline.scrolled(this.view, (sideways / this.#width) * (this.view.toMs - this.view.fromMs)));
    } else {
      this.zoom(Math.exp(-event.deltaY / 300), timeline.msOf(this.view, this.#width, event.offsetX));
    }
  }

  /** The gravest finding under the pointer; of something missing only its flag and bracket can be hit. */
  #findingAt(event) {
    const flagsEnd = MAP_PX + RULER_PX + FLAG_PX;
    const isHit = (finding) => {
      const { left, right } = this.#extent(finding, this.#width);
      const isFlag = event.offsetY < flagsEnd && event.offsetX >= Math.max(0, left) - 3 && event.offsetX <= Math.max(0, left) + 15;
      return isFlag || (finding.match !== "absent" && event.offsetX >= left - 2 && event.offsetX <= right + 2 && event.offsetY >= flagsEnd);
    };
    return byWeight(this.findings).findLast(isHit) ?? null;
  }

  get #width() {
    return this.moving.parentElement.getBoundingClientRect().width;
  }
}

/** The gravest last, so that they are drawn on top. */
function byWeight(findings) {
  return findings.toSorted((one, other) => WEIGHTS[one.severity] - WEIGHTS[other.severity]);
}

function middle(finding) {
  return finding.match === "absent" ? finding.start_ms : (finding.start_ms + finding.end_ms) / 2;
}

function drawWave(pen, peaks, centre, most, colour, alpha) {
  pen.save();
  pen.globalAlpha = alpha;
  pen.fillStyle = colour;
  for (let x = 0; x < peaks.length; x += 1) {
    const half = Math.max(peaks[x] > 0 ? 0.5 : 0, peaks[x] * most);
    if (half) pen.fillRect(x, centre - half, 1, half * 2);
  }
  pen.restore();
}

function makePattern(pen, severity, mark) {
  const size = 8;
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const brush = tile.getContext("2d");
  brush.fillStyle = mark;
  brush.strokeStyle = mark;
  brush.globalAlpha = 0.18;
  brush.fillRect(0, 0, size, size);
  brush.globalAlpha = 0.85;
  if (severity === "critical") {
    brush.lineWidth = 1.5;
    brush.beginPath();
    for (const shift of [-size, 0, size]) {
      brush.moveTo(shift, size);
      brush.lineTo(shift + size, 0);
    }
    brush.stroke();
  } else if (severity === "major") {
    brush.beginPath();
    brush.arc(2, 2, 1.2, 0, 7);
    brush.arc(6, 6, 1.2, 0, 7);
    brush.fill();
  } else {
    brush.fillRect(0, 0, size, 1);
  }
  return pen.createPattern(tile, "repeat");
}
