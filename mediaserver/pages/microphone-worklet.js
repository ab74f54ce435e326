// Gives out the microphone as it comes, 8 ms at a time, as 16-bit samples at the context's 16 kHz.

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this._line = null;
    this.port.onmessage = ({ data }) => { this._line = data.line; };
  }

  process([[channel]]) {
    if (!channel || !this._line) return true;
    const piece = new Int16Array(channel.length);
    let loudest = 0;
    channel.forEach((sample, index) => {
      piece[index] = Math.max(-1, Math.min(1, sample)) * 32767;
      loudest = Math.max(loudest, Math.abs(sample));
    });
    this._line.postMessage({ frame: piece.buffer, loudest }, [piece.buffer]);
    return true;
  }
}

registerProcessor("microphone", Microphone);
