// Listening in: plays both sides of a live call, as its trace tells them.

/** Seconds by which one listens later than the parties, so that what comes late still comes in time. */
const DELAY = 0.4;

/** Seconds for which all that comes is late, upon which one listens later: no two clocks run alike for hours. */
const LATE = 1;

export class Listening {
  /** Plays a trace from now on. Must follow a click: browsers play nothing before. */
  constructor(trace, now) {
    this._context = new AudioContext();
    this._zero = this._context.currentTime - now + DELAY; // of the context's clock: the start of the stream
    this._sounds = [trace.caller, trace.agent];
    for (const sound of this._sounds) sound.listener = this._side(sound.rate);
  }

  stop() {
    for (const sound of this._sounds) sound.listener = null;
    this._context.close();
  }

  _side(rate) {
    const context = this._context;
    const playing = new Map(); // source → seconds at which it begins
    let lateSince = null;
    return {
      add: (samples, at) => {
        const now = context.currentTime;
        if (now <= this._zero + at) lateSince = null;
        else lateSince ??= now;
        if (lateSince !== null && now - lateSince > LATE) {
          this._zero = now - at + DELAY;
          lateSince = null;
        }
        const begin = this._zero + at;
        const late = Math.max(0, now - begin);
        if (late >= samples.length / rate) return;
        const buffer = context.createBuffer(1, samples.length, rate);
        buffer.copyToChannel(samples, 0);
        const source = context.createBufferSource();
        source.buffer = buffer;
        source.connect(context.destination);
        source.onended = () => playing.delete(source);
        source.start(begin + late, late);
        playing.set(source, at);
      },
      cut: (at) => {
        for (const source of playing.keys()) source.stop(this._zero + at);
      },
    };
  }
}
