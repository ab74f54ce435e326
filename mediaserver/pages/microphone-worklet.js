// Cuts the microphone into frames of 20 ms, as 16-bit samples at the context's 16 kHz.

const FRAME = 320;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this._frame = new Int16Array(FRAME);
    this._filled = 0;
    this._loudest = 0;
  }

  process([[channel]]) {
    for (const sample of channel ?? []) {
      this._frame[this._filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      this._loudest = Math.max(this._loudest, Math.abs(sample));
      if (this._filled < FRAME) continue;
      this.port.postMessage({ frame: this._frame.buffer, loudest: this._loudest }, [this._frame.buffer]);
      this._frame = new Int16Array(FRAME);
      this._filled = 0;
      this._loudest = 0;
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
