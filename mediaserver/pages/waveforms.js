// Draws both sides of a call on one time axis, and moves along it by keys, wheel and pointer.

import { clock } from "./elements.js";

const SIDES = [["caller", "Caller"], ["agent", "What the caller hears"]];
const LABELS = 18; // pixels above a wave, for what happened in it
const STRIP = 14; // below it: how probable speech is, and tools
const AXIS = 18;
const BAR = 3; // pixels from one bar to the next
const SHORTEST = 2;
const LONGEST = 600;

/** Seconds between two pictures, for people who want no motion. */
const SELDOM = 0.5;

/** Letters of a label. */
const LABEL = 24;

const COLOURS = { "barge-in": "--caller", key: "--caller", checkpoint: "--faint", pause: "--faint", gap: "--wrong", wrong: "--wrong" };

export class Waveforms {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLInputElement} position a slider: where what is shown begins.
   * @param {{follows: (latest: boolean) => void, picks: (at: number) => void}} told whether it shows the latest, and
   *   which time was clicked.
   */
  constructor(canvas, position, told) {
    this.canvas = canvas;
    this.seconds = 20; // that are shown
    this.begin = 0;
    this.latest = true;
    this.playing = null; // seconds: where a recording plays
    this._position = position;
    this._told = told;
    this._trace = this._drawn = null; // what was drawn last
    this._drawnAt = 0;
    this._size = { width: 0, height: 0 }; // asking for it each time would have the browser lay out the page
    new ResizeObserver(([{ contentRect }]) => { this._size = contentRect; }).observe(canvas);
    this._still = matchMedia("(prefers-reduced-motion: reduce)");
    this._dark = matchMedia("(prefers-color-scheme: dark)");
    position.addEventListener("keydown", (event) => this._key(event));
    position.addEventListener("input", () => this.show(Number(position.value)));
    canvas.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this._drag(event));
  }

  /** Shows more of the call (a factor above 1) or less. */
  zoom(factor) {
    const middle = this.begin + this.seconds / 2;
    this.seconds = Math.min(LONGEST, Math.max(SHORTEST, this.seconds * factor));
    this.begin = Math.max(0, middle - this.seconds / 2);
  }

  /** Moves by a share of what is shown. */
  move(share) {
    this.show(this.begin + share * this.seconds);
  }

  /** Shows the call from a time on. */
  show(begin) {
    this.begin = Math.max(0, begin);
    this.follow(false);
  }

  follow(latest) {
    this.latest = latest;
    this._told.follows(latest);
  }

  _key(event) {
    const keys = {
      ArrowLeft: () => this.move(-0.25),
      ArrowRight: () => this.move(0.25),
      PageUp: () => this.move(-1),
      PageDown: () => this.move(1),
      Home: () => this.show(0),
      End: () => this.follow(true),
      "+": () => this.zoom(0.5),
      "-": () => this.zoom(2),
    };
    if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  _wheel(event) {
    if (event.ctrlKey) this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2);
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.move(event.deltaX / this.canvas.clientWidth);
    else return;
    event.preventDefault();
  }

  /** A drag moves; a click picks a time. */
  _drag(event) {
    const from = event.clientX;
    const { begin } = this;
    const perPixel = this.seconds / this.canvas.clientWidth;
    let moved = false;
    const move = ({ clientX }) => {
      moved ||= Math.abs(clientX - from) > 3;
      if (moved) this.show(begin - (clientX - from) * perPixel);
    };
    const stop = ({ type }) => {
      this.canvas.removeEventListener("pointermove", move);
      if (type === "pointerup" && !moved) this._told.picks(begin + (from - this.canvas.getBoundingClientRect().left) * perPixel);
    };
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.addEventListener("pointermove", move);
    for (const type of ["pointerup", "pointercancel"]) this.canvas.addEventListener(type, stop, { once: true });
  }

  /** Draws. @param trace a Trace @param {number} now seconds: what is later was not heard yet. */
  draw(trace, now) {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const { width, height } = this._size;
    if (!width) return;
    const ended = trace.ended !== null;
    if (this.latest) this.begin = Math.max(0, now - this.seconds * (ended ? 1 : 0.9));
    const { begin, seconds, playing } = this;
    const dark = this._dark.matches;
    // What moves by less than a pixel is not drawn again.
    const pixel = (at) => Math.round((at / seconds) * width * ratio);
    const drawn = [trace.lines, trace.measured, trace.caller.end, trace.agent.end, ended, pixel(now), pixel(begin), playing, seconds, width, height, ratio, dark].join();
    if (trace === this._trace && drawn === this._drawn) return;
    if (trace === this._trace && !ended && this.latest && this._still.matches && now - this._drawnAt < SELDOM) return;
    this._trace = trace;
    this._drawn = drawn;
    this._drawnAt = now;
    this._place(now, ended);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `12px ${getComputedStyle(canvas).fontFamily}`;
    this._paint(pen, trace, now, width, height, (name) => resolved(name, dark));
  }

  /** Keeps the slider where the picture is. */
  _place(now, ended) {
    const most = Math.max(0, now - this.seconds * (ended ? 1 : 0.9));
    const begin = this.latest ? Math.floor(this.begin) : this.begin.toFixed(1);
    const placed = `${Math.floor(most)} ${begin} ${this.latest}`;
    if (placed === this._placed) return;
    this._placed = placed;
    const position = this._position;
    position.max = Math.max(Math.floor(most), begin);
    position.value = begin;
    // A screen reader may read each change, so there is none while time alone moves it.
    const words = this.latest ? "the latest" : `${clock(this.begin)} to ${clock(this.begin + this.seconds)}`;
    if (position.ariaValueText !== words) position.ariaValueText = words;
  }

  _paint(pen, trace, now, width, height, colour) {
    const lane = (height - AXIS) / 2;
    const wave = lane - LABELS - STRIP;
    const x = (at) => ((at - this.begin) / this.seconds) * width;
    const seen = (at, until = at) => until >= this.begin && at <= this.begin + this.seconds;
    const span = (at, until, y, tall, least) => {
      if (seen(at, until)) pen.fillRect(x(at), y, Math.max(least, x(until) - x(at)), tall);
    };

    this._drawAxis(pen, colour, width, height, x);
    pen.globalAlpha = 0.13;
    pen.fillStyle = colour("--caller");
    for (const { at, until } of trace.speech) span(at, until ?? now, LABELS, wave + STRIP, 1);
    pen.fillStyle = colour("--agent");
    for (const { at, until } of trace.tools) span(at, until ?? now, lane + LABELS, wave + STRIP, 3);
    pen.globalAlpha = 1;
    SIDES.forEach(([side, name], index) => {
      this._drawWave(pen, trace[side], colour(`--${side}`), colour("--edge"), width, index * lane + LABELS, wave, now);
      pen.fillStyle = colour("--faint");
      pen.fillText(name, 2, index * lane + 13);
    });
    this._drawProbability(pen, trace.probabilities, colour("--caller"), LABELS + wave, x, now);
    this._drawTools(pen, trace.tools, colour("--agent"), 2 * lane - 3, x, seen, now);
    const names = SIDES.map(([, name]) => pen.measureText(name).width + 12);
    this._drawMarks(pen, trace, colour, lane, x, seen, names);
    pen.fillStyle = colour("--ink");
    if (trace.ended === null) span(now, now, 0, height - AXIS, 1);
    if (this.playing !== null) span(this.playing, this.playing, 0, height - AXIS, 2);
  }

  _drawAxis(pen, colour, width, height, x) {
    const step = [0.5, 1, 2, 5, 10, 30, 60, 120].find((each) => (each / this.seconds) * width > 70) ?? 300;
    for (let at = Math.ceil(this.begin / step) * step; at <= this.begin + this.seconds; at += step) {
      pen.fillStyle = colour("--edge");
      pen.fillRect(Math.round(x(at)), LABELS, 1, height - AXIS - LABELS + 4);
      pen.fillStyle = colour("--faint");
      pen.fillText(step < 1 ? clock(at) : clock(at).slice(0, -2), x(at) + 4, height - 4);
    }
  }

  /** Bars that keep their place in time, so that they do not flicker when the picture moves. */
  _drawWave(pen, sound, colour, baseline, width, top, height, now) {
    const middle = top + height / 2;
    const step = (this.seconds / width) * BAR;
    const first = Math.floor(this.begin / step);
    const last = Math.min(Math.ceil((this.begin + this.seconds) / step), Math.ceil(sound.end / step));
    pen.fillStyle = baseline;
    pen.fillRect(0, Math.round(middle), width, 1);
    pen.fillStyle = colour;
    const paint = (from, until, alpha) => {
      pen.globalAlpha = alpha;
      pen.beginPath();
      for (let bar = from; bar < until; bar++) {
        const reach = (sound.peak(bar * step, (bar + 1) * step) ** 0.6 * height) / 2;
        if (reach > 1) pen.roundRect(Math.round(((bar * step - this.begin) / this.seconds) * width), middle - reach, BAR - 1, 2 * reach, 1);
      }
      pen.fill();
    };
    const heard = Math.min(last, Math.max(first, Math.ceil(now / step)));
    paint(first, heard, 1);
    paint(heard, last, 0.35);
    pen.globalAlpha = 1;
  }

  /** An area that holds each value until the next. */
  _drawProbability(pen, probabilities, colour, top, x, now) {
    let index = Math.max(0, placeOf(probabilities, this.begin) - 1);
    if (index >= probabilities.length) return;
    const end = Math.min(now, this.begin + this.seconds);
    pen.fillStyle = colour;
    pen.globalAlpha = 0.5;
    for (; index < probabilities.length && probabilities[index].at < end; index++) {
      const { at, probability } = probabilities[index];
      const until = Math.min(end, probabilities[index + 1]?.at ?? end);
      const tall = probability * (STRIP - 4);
      pen.fillRect(x(at), top + STRIP - 2 - tall, x(until) - x(at), tall);
    }
    pen.globalAlpha = 1;
  }

  _drawTools(pen, tools, colour, y, x, seen, now) {
    let free = -Infinity;
    pen.fillStyle = colour;
    for (const { at, until, name: whole } of tools) {
      const name = String(whole).slice(0, LABEL);
      if (!seen(at - this.seconds / 4, until ?? now) || x(at) < free) continue;
      pen.fillText(name, x(at) + 5, y);
      free = x(at) + 9 + pen.measureText(name).width;
    }
  }

  _drawMarks(pen, trace, colour, lane, x, seen, free) {
    const { marks } = trace;
    for (let index = placeOf(marks, this.begin - this.seconds); index < marks.length; index++) {
      const { at, kind, seconds = 0 } = marks[index];
      const text = marks[index].text.slice(0, LABEL);
      if (!seen(at - seconds - this.seconds / 4, at)) continue;
      const row = kind === "barge-in" || kind === "key" ? 0 : 1;
      pen.fillStyle = colour(COLOURS[kind]);
      if (seconds) {
        pen.globalAlpha = 0.3;
        pen.fillRect(x(at - seconds), row * lane + LABELS, Math.max(2, x(at) - x(at - seconds)), lane - LABELS);
        pen.globalAlpha = 1;
      }
      // An interruption concerns both sides.
      pen.fillRect(Math.round(x(at)), row * lane, kind === "wrong" ? 2 : 1, kind === "barge-in" ? 2 * lane : lane);
      if (x(at) < free[row]) continue;
      pen.fillText(text, x(at) + 4, row * lane + 13);
      free[row] = x(at) + 10 + pen.measureText(text).width;
    }
  }
}

/** The first place in a list, which is in the order of `at`, whose time is not before a time. */
function placeOf(list, at) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

const probe = document.createElement("span");
const known = new Map();

/** The colour that a custom property has in the present theme: a canvas does not know light-dark(). */
function resolved(name, dark) {
  const key = `${name} ${dark}`;
  if (!known.has(key)) {
    if (!probe.isConnected) {
      probe.hidden = true;
      document.body.append(probe);
    }
    probe.style.color = `var(${name})`;
    known.set(key, getComputedStyle(probe).color);
  }
  return known.get(key);
}
