// The sound of one side of a call: its samples, and the peaks that a picture of them needs.

/** Peaks in a second. */
export const PEAKS = 100;

/** Seconds by which audio may come late; if it is more, the carrier's times count from another beginning. */
const MOST_DELAY = 10;

/** Seconds: without the carrier's times, audio that is later than this follows a gap. */
const LATE = 0.1;

/** Samples that are kept of a side, about an hour at 8 kHz; of a longer call, the picture alone. */
const MOST_SAMPLES = 30_000_000;

/** Seconds of samples in a piece. */
const PIECE = 10;

export class Sound {
  /** @param {number} rate samples in a second. */
  constructor(rate) {
    this.rate = rate;
    this.end = 0; // seconds: where the latest audio ends
    this.kept = 0; // seconds, from the start on, whose samples are kept
    this.peaks = new Float32Array(PEAKS * 60);
    this.filled = 0;
    this._pieces = []; // Int16Array of PIECE seconds each, or a hole, which is silence
    this._began = null; // seconds: where the carrier's times begin
    this.listener = null; // {add(samples, at), cut(at)}: is told the same
  }

  /**
   * Adds audio that came at a time.
   *
   * @param {number} stamp the carrier's time of its first sample, in seconds. What the network delayed is put where it
   *   was spoken, unless the carrier's times make no sense.
   */
  follow(samples, at, stamp) {
    const spoken = at - samples.length / this.rate;
    if (!Number.isFinite(stamp)) {
      this.add(samples, spoken - this.end < LATE ? this.end : spoken);
      return;
    }
    if (this._began === null || Math.abs(this._began + stamp - spoken) > MOST_DELAY) this._began = spoken - stamp;
    this.add(samples, this._began + stamp);
  }

  /** Adds audio that is heard from a time on. */
  add(samples, at) {
    this.listener?.add(samples, at);
    this.end = at + samples.length / this.rate;
    this._keep(samples, Math.round(at * this.rate));
    this._measure(samples, at, this.rate);
  }

  /** Shows audio from a time on, of which only the picture is kept. */
  picture(samples, rate, at = 0) {
    this.end = at + samples.length / rate;
    this._measure(samples, at, rate);
  }

  /** Finds the peaks of samples. */
  _measure(samples, at, rate) {
    const size = Math.ceil(this.end * PEAKS) + 1;
    if (size > this.peaks.length) {
      const larger = new Float32Array(2 * size);
      larger.set(this.peaks);
      this.peaks = larger;
    }
    // Peak by peak, and within it sample by sample.
    for (let place = Math.max(0, Math.floor(at * PEAKS)), index = 0; index < samples.length; place++) {
      const end = Math.min(samples.length, Math.ceil(((place + 1) / PEAKS - at) * rate - 1e-6));
      let loudest = this.peaks[place];
      for (; index < end; index++) loudest = Math.max(loudest, Math.abs(samples[index]));
      this.peaks[place] = loudest;
    }
    this.filled = Math.max(this.filled, size);
  }

  _keep(samples, first) {
    const size = PIECE * this.rate;
    for (let index = Math.max(0, -first); index < samples.length;) {
      const place = first + index;
      if (place >= MOST_SAMPLES) return;
      const piece = (this._pieces[Math.floor(place / size)] ??= new Int16Array(size));
      const end = Math.min(samples.length, index + size - (place % size));
      for (let at = place % size; index < end; index++, at++) piece[at] = Math.max(-1, Math.min(1, samples[index])) * 32767;
    }
    this.kept = Math.max(this.kept, (first + samples.length) / this.rate);
  }

  /** Takes back what would have been heard after a time. */
  cut(at) {
    this.listener?.cut(at);
    const size = PIECE * this.rate;
    const first = Math.max(0, Math.round(at * this.rate));
    const piece = Math.floor(first / size);
    this._pieces.length = Math.min(this._pieces.length, piece + 1);
    this._pieces[piece]?.fill(0, first % size);
    this.kept = Math.min(this.kept, Math.max(0, at));
    this.peaks.fill(0, Math.max(0, Math.ceil(at * PEAKS)), this.filled);
    this.end = Math.min(this.end, at);
  }

  /** The samples of a piece of the call, or undefined, which is silence. */
  piece(index) {
    return this._pieces[index];
  }

  /** The loudest sample between two times, 0 to 1. */
  peak(begin, end) {
    let loudest = 0;
    const last = Math.min(this.filled, Math.max(Math.floor(end * PEAKS), Math.floor(begin * PEAKS) + 1));
    for (let place = Math.max(0, Math.floor(begin * PEAKS)); place < last; place++) {
      if (this.peaks[place] > loudest) loudest = this.peaks[place];
    }
    return loudest;
  }
}

/** Returns a Blob: a WAV file with the caller left, and right what they hear. */
export function wavOf(caller, agent) {
  const { rate } = caller;
  const frames = Math.ceil(Math.max(caller.kept, agent.kept) * rate);
  const size = PIECE * rate;
  const parts = [header(rate, frames)];
  for (let first = 0; first < frames; first += size) {
    const count = Math.min(size, frames - first);
    const both = new Int16Array(2 * count); // little-endian, as all machines with browsers are
    [caller, agent].forEach((sound, channel) => {
      const samples = sound.piece(first / size);
      if (samples) for (let index = 0; index < count; index++) both[2 * index + channel] = samples[index];
    });
    parts.push(both);
  }
  return new Blob(parts, { type: "audio/wav" });
}

function header(rate, frames) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 4 * frames, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 4 * rate, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 4 * frames, true);
  return view;
}
