// Plays the frames that come from the line, with as little delay as their jitter allows.
//
// Where a little is missing, the last period of the voice is played again, blended, so that it is not heard; where more
// is missing, there is silence. What is left over for a while is not needed: it is cut out, a period at a time. Each
// time that something is missing makes that while longer. The sandbox's jitter buffer does the same for the microphone.

const FRAME = 320;
const LEAD = FRAME / 2; // samples of silence before the first frame: what the first jitter may take
const MOST = 10 * FRAME; // samples that wait; of more, the oldest are dropped
const MARGIN = 32; // samples that are left over for good
const [SHORTEST, LONGEST] = [40, 160]; // samples of a period: of a voice of 400 Hz, and of 100 Hz
const BLEND = 40;
const MOST_REPEATED = FRAME; // samples that are played again before there is silence
const [LEAST_WATCH, MOST_WATCH] = [62, 8000]; // blocks of 128 samples, one after the other: half a second to a minute

const mixed = (one, other, share) => one * (1 - share) + other * share;

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this._ring = new Float32Array(4 * MOST); // with what was played: a period of it may be played again
    this._read = 0;
    this._waiting = 0;
    this._plays = false;
    this._repeated = 0; // samples, since the last frame
    this._played = 0; // blocks
    this._watch = LEAST_WATCH;
    this._begin(LEAST_WATCH);
    this.port.onmessage = ({ data: { line } }) => {
      line.onmessage = ({ data }) => this._take(new Int16Array(data));
    };
  }

  _take(frame) {
    if (!this._plays) {
      for (let index = 0; index < LEAD; index++) this._put(0);
      this._plays = true;
    }
    for (const sample of frame) this._put(sample / 32768);
    this._repeated = 0;
    if (this._waiting > MOST) this._skip(this._waiting - 2 * FRAME);
  }

  process(_, [channels]) {
    const [first, ...others] = channels;
    if (this._plays) {
      if (this._waiting < first.length) this._lengthen(first.length);
      if (this._surplus) this._shorten(first.length);
      this._play(first);
    }
    for (const other of others) other.set(first);
    return true;
  }

  _play(block) {
    const count = Math.min(block.length, this._waiting);
    for (let index = 0; index < count; index++) block[index] = this._at(index);
    this._skip(count);
    if (count < block.length) {
      this._plays = false;
      this.port.postMessage({ underrun: true });
      this._watchLonger();
      return;
    }
    this._played += 1;
    this._least = Math.min(this._least, this._waiting);
    this._watched += 1;
    if (this._watched < this._watch) return;
    const surplus = Math.max(0, this._least - MARGIN);
    this._begin(this._watch);
    this._surplus = surplus;
  }

  /** Plays the last period of what there is again, until there is enough. */
  _lengthen(wanted) {
    const missing = wanted - this._waiting;
    if (this._repeated + missing > MOST_REPEATED) return;
    const last = this._waiting;
    const period = this._alike(last - BLEND, -1);
    const again = Array.from({ length: period }, (_, index) => this._at(last - period + index));
    const blend = Math.min(BLEND, last);
    for (let place = last - blend; place < last; place++) {
      this._set(place, mixed(this._at(place), this._at(place - period), (place - last + blend) / blend));
    }
    while (this._waiting < wanted) again.forEach((sample) => this._put(sample));
    this._repeated += this._waiting - last;
    this._watchLonger();
  }

  /** Cuts out a period, if there is enough. */
  _shorten(wanted) {
    const longest = Math.min(LONGEST, this._surplus, this._waiting - wanted);
    if (longest < SHORTEST) {
      this._surplus = 0;
      return;
    }
    const period = this._alike(0, 1, longest);
    for (let index = 0; index < BLEND; index++) {
      this._set(period + index, mixed(this._at(index), this._at(period + index), index / BLEND));
    }
    this._skip(period);
    this._surplus -= period;
  }

  /** Returns how far before (-1) or after (1) a place the sound is most like what it is there. */
  _alike(place, direction, longest = LONGEST) {
    let [best, least] = [SHORTEST, Infinity];
    for (let period = SHORTEST; period <= longest; period++) {
      let difference = 0;
      for (let index = 0; index < BLEND && difference < least; index++) {
        difference += (this._at(place + index) - this._at(place + direction * period + index)) ** 2;
      }
      if (difference < least) [best, least] = [period, difference];
    }
    return best;
  }

  /** Something was missing; what is missing at the beginning says nothing about the rest. */
  _watchLonger() {
    this._begin(this._played > LEAST_WATCH ? Math.min(2 * this._watch, MOST_WATCH) : LEAST_WATCH);
  }

  _begin(watch) {
    this._watch = watch;
    this._watched = 0;
    this._least = MOST;
    this._surplus = 0;
  }

  // Places count from the next sample that is played; those before it have been played.

  _index(place) {
    return (this._read + place + this._ring.length) % this._ring.length;
  }

  _at(place) {
    return this._ring[this._index(place)];
  }

  _set(place, sample) {
    this._ring[this._index(place)] = sample;
  }

  _put(sample) {
    this._set(this._waiting, sample);
    this._waiting += 1;
  }

  _skip(samples) {
    this._read = this._index(samples);
    this._waiting -= samples;
  }
}

registerProcessor("speaker", Speaker);
