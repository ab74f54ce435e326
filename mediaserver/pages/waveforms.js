// Draws both sides of a call on one time axis, and moves along it by keys, wheel and pointer.

const SIDES = ["caller", "agent"];
const LABELS = 18; // pixels below a lane, for what happened in it
const AXIS = 18;
const SHORTEST = 2;
const LONGEST = 600;

export class Waveforms {
  /** @param {HTMLCanvasElement} canvas @param {(follows: boolean) => void} follows is told whether it shows the latest. */
  constructor(canvas, follows) {
    this.canvas = canvas;
    this.seconds = 20; // that are shown
    this.begin = 0;
    this.latest = true;
    this._follows = follows;
    this._trace = this._drawn = null; // what was drawn last
    canvas.addEventListener("keydown", (event) => this._key(event));
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
    this.begin = Math.max(0, this.begin + share * this.seconds);
    this.follow(false);
  }

  follow(latest) {
    this.latest = latest;
    this._follows(latest);
  }

  _key(event) {
    const keys = {
      ArrowLeft: () => this.move(-0.25),
      ArrowRight: () => this.move(0.25),
      PageUp: () => this.move(-1),
      PageDown: () => this.move(1),
      Home: () => { this.begin = 0; this.follow(false); },
      End: () => this.follow(true),
      "+": () => this.zoom(0.5),
      "-": () => this.zoom(2),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  _wheel(event) {
    if (event.ctrlKey) this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2);
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.move(event.deltaX / this.canvas.clientWidth);
    else return;
    event.preventDefault();
  }

  _drag(event) {
    const from = event.clientX;
    const begin = this.begin;
    const moved = (moving) => {
      this.begin = Math.max(0, begin - ((moving.clientX - from) / this.canvas.clientWidth) * this.seconds);
      this.follow(false);
    };
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.addEventListener("pointermove", moved);
    const stop = () => this.canvas.removeEventListener("pointermove", moved);
    this.canvas.addEventListener("pointerup", stop, { once: true });
    this.canvas.addEventListener("pointercancel", stop, { once: true });
  }

  /** Draws. @param trace a Trace @param {number} now seconds: what is later was not heard yet. */
  draw(trace, now) {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    if (this.latest) this.begin = Math.max(0, now - this.seconds * (trace.ended === null ? 0.9 : 1));
    const drawn = [trace.lines, trace.measured.length, now, this.begin, this.seconds, width, height, ratio, dark].join();
    if (trace === this._trace && drawn === this._drawn) return;
    this._trace = trace;
    this._drawn = drawn;
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => resolved(name, dark);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `12px ${style.fontFamily}`;
    const lane = (height - AXIS) / 2;
    const x = (at) => ((at - this.begin) / this.seconds) * width;
    const seen = (at, until = at) => until >= this.begin && at <= this.begin + this.seconds;

    this._drawAxis(pen, colour, width, height, x);
    pen.fillStyle = colour("--caller");
    pen.globalAlpha = 0.13;
    for (const { at, until } of trace.speech) {
      if (seen(at, until ?? now)) pen.fillRect(x(at), 0, Math.max(1, x(until ?? now) - x(at)), lane);
    }
    pen.fillStyle = colour("--agent");
    for (const { at, until } of trace.tools) {
      if (seen(at, until ?? now)) pen.fillRect(x(at), 2 * lane - LABELS, Math.max(2, x(until ?? now) - x(at)), LABELS);
    }
    pen.globalAlpha = 1;
    SIDES.forEach((side, index) => this._drawWave(pen, trace[side], colour(`--${side}`), width, index * lane, lane - LABELS, now));
    this._drawProbability(pen, trace, colour("--faint"), lane - LABELS, x, now);
    this._drawMarks(pen, trace, colour, lane, x, seen);
    pen.fillStyle = colour("--ink");
    pen.fillText("Caller", 4, 13);
    pen.fillText("What the caller hears", 4, lane + 13);
    if (trace.ended === null && seen(now)) {
      pen.fillStyle = colour("--faint");
      pen.fillRect(x(now), 0, 1, height - AXIS);
    }
  }

  _drawAxis(pen, colour, width, height, x) {
    const step = [0.5, 1, 2, 5, 10, 30, 60, 120].find((each) => (each / this.seconds) * width > 60) ?? 300;
    for (let at = Math.ceil(this.begin / step) * step; at <= this.begin + this.seconds; at += step) {
      pen.fillStyle = colour("--edge");
      pen.fillRect(Math.round(x(at)), 0, 1, height - AXIS + 4);
      pen.fillStyle = colour("--faint");
      pen.fillText(`${Number(at.toFixed(1))} s`, x(at) + 3, height - 4);
    }
  }

  _drawWave(pen, sound, colour, width, top, height, now) {
    const middle = top + height / 2;
    const step = this.seconds / width;
    pen.fillStyle = colour;
    for (let column = 0; column < width; column++) {
      const at = this.begin + column * step;
      const reach = Math.max(0.5, (sound.peak(at, at + step) ** 0.6 * height) / 2);
      pen.globalAlpha = at > now ? 0.35 : 1;
      pen.fillRect(column, middle - reach, 1, 2 * reach);
    }
    pen.globalAlpha = 1;
  }

  /** A line that holds each value until the next. */
  _drawProbability(pen, trace, colour, height, x, now) {
    const { probabilities } = trace;
    if (!probabilities.length) return;
    const first = Math.max(0, probabilities.findIndex(({ at }) => at > this.begin) - 1);
    pen.strokeStyle = colour;
    pen.beginPath();
    let y = height - 1;
    pen.moveTo(x(probabilities[first].at), y);
    for (const { at, probability } of probabilities.slice(first)) {
      pen.lineTo(x(at), y);
      y = 1 + (height - 2) * (1 - probability);
      pen.lineTo(x(at), y);
    }
    pen.lineTo(x(now), y);
    pen.stroke();
  }

  _drawMarks(pen, trace, colour, lane, x, seen) {
    const colours = { "barge-in": "--caller", key: "--caller", checkpoint: "--faint", pause: "--faint", gap: "--wrong", wrong: "--wrong" };
    const free = [-Infinity, -Infinity];
    for (const { at, kind, text, seconds = 0 } of trace.marks) {
      if (!seen(at - 10, at)) continue;
      const row = kind === "barge-in" || kind === "key" ? 0 : 1;
      pen.fillStyle = colour(colours[kind]);
      if (seconds) {
        pen.globalAlpha = 0.3;
        pen.fillRect(x(at - seconds), row * lane, Math.max(2, x(at) - x(at - seconds)), lane - LABELS);
        pen.globalAlpha = 1;
      }
      pen.fillRect(x(at), row * lane, kind === "wrong" ? 2 : 1, lane);
      if (x(at) < free[row]) continue;
      pen.fillText(text, x(at) + 4, (row + 1) * lane - 5);
      free[row] = x(at) + 8 + pen.measureText(text).width;
    }
  }
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
