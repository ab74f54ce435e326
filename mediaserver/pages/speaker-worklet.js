// Plays the frames that come from the line. It waits for two of them, so that the network's jitter is
// not heard, and drops the oldest when more than ten wait: two clocks never run equally fast.

const FRAME = 320;
const FIRST = 2 * FRAME;
const MOST = 10 * FRAME;

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this._ring = new Float32Array(2 * MOST);
    this._read = 0;
    this._waiting = 0;
    this._plays = false;
    this.port.onmessage = ({ data }) => this._take(new Int16Array(data));
  }

  _take(frame) {
    for (const sample of frame) {
      this._ring[(this._read + this._waiting) % this._ring.length] = sample / 32768;
      this._waiting += 1;
      if (this._waiting > MOST) this._drop(this._waiting - FIRST);
    }
    if (this._waiting >= FIRST) this._plays = true;
  }

  _drop(samples) {
    this._read = (this._read + samples) % this._ring.length;
    this._waiting -= samples;
  }

  process(_, [channels]) {
    const [first, ...others] = channels;
    if (this._plays) {
      const count = Math.min(first.length, this._waiting);
      for (let index = 0; index < count; index++) first[index] = this._ring[(this._read + index) % this._ring.length];
      this._drop(count);
      if (count < first.length) this._plays = false;
    }
    for (const other of others) other.set(first);
    return true;
  }
}

registerProcessor("speaker", Speaker);
