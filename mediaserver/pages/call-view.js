// One call: follows its trace, and draws all that is known of it.

import { byId, tell } from "./elements.js";
import { Happened } from "./happened.js";
import { Listening } from "./listening.js";
import { ask, askJson } from "./server.js";
import { wavOf } from "./sound.js";
import { Tools } from "./tools.js";
import { Trace, readLines } from "./trace.js";
import { Turns } from "./turns.js";
import { Waveforms } from "./waveforms.js";
import { Wire } from "./wire.js";
import { Words } from "./words.js";

/** Seconds between two questions whether the stream of a call has started, and for how long it asks. */
const AGAIN = 0.2;
const LONGEST = 60;

export class CallView {
  /** @param {boolean} audio whether the server shows audio. */
  constructor(audio) {
    this._audio = audio;
    this._stop = null;
    this._early = [];
    this.id = null;
    this.trace = null;
    this.waveforms = new Waveforms(byId("waveforms"), (latest) => byId("latest").setAttribute("aria-pressed", latest));
    this._parts = [
      new Words(byId("words"), byId("words-announced")),
      new Turns(byId("turns"), byId("stages-legend")),
      new Tools(byId("tools"), byId("tools-none")),
      new Happened(byId("happened"), byId("happened-none")),
      new Wire(byId("wire-details"), byId("wire")),
    ];
    byId("zoom-in").addEventListener("click", () => this.waveforms.zoom(0.5));
    byId("zoom-out").addEventListener("click", () => this.waveforms.zoom(2));
    byId("latest").addEventListener("click", () => this.waveforms.follow(!this.waveforms.latest));
    this._listening = null;
    byId("listen").addEventListener("click", () => this._listen(this._listening === null));
    const draw = () => {
      requestAnimationFrame(draw); // first, so that it goes on whatever happens
      this._draw();
    };
    requestAnimationFrame(draw);
  }

  /** Seconds of the call now: lines come a little late, and nothing comes while nothing happens. */
  get now() {
    const { trace } = this;
    return trace.ended === null ? Math.max(trace.now, performance.now() / 1000 - this._began) : trace.now;
  }

  /**
   * Shows a live call, once its stream has started.
   *
   * @param {boolean} own whether it is the phone's, which one hears already.
   */
  async live(id, own = false) {
    if (this.id === id) return;
    byId("listen").hidden = own || !this._audio;
    await this._show(id, async (signal) => {
      const { format } = await this._started(id, own, signal);
      await this._read(this._address("calls", id, "from=start"), format, signal);
    });
  }

  /** Shows a call that is over. */
  async past(id) {
    byId("listen").hidden = true;
    await this._show(id, async (signal) => {
      await this._read(this._address("past", id), null, signal);
      if (this.trace?.recorded) await this._hear(`/past/${encodeURIComponent(id)}/recording`, signal);
    });
    this.waveforms.begin = 0;
    this.waveforms.follow(false);
  }

  _address(kind, id, ...query) {
    if (this._audio) query.push("audio=1");
    return `/${kind}/${encodeURIComponent(id)}/trace?${query.join("&")}`;
  }

  /** Takes what the phone measured in a call. */
  measured(told) {
    if (told.call !== this.id || typeof told.at !== "number" && told.kind !== "heard") return;
    if (this.trace) this.trace.measure(told);
    else this._early.push(told);
  }

  _listen(on) {
    this._listening?.stop();
    this._listening = on ? new Listening(this.trace, this.now) : null;
    byId("listen").setAttribute("aria-pressed", on);
  }

  async _show(id, follow) {
    this._stop?.abort();
    this._listen(false);
    const { signal } = (this._stop = new AbortController());
    this.id = id;
    this.trace = null;
    this._early = [];
    for (const part of this._parts) part.clear();
    byId("recording").hidden = true;
    byId("call-title").textContent = `Call ${id}`;
    tell(byId("call-hint"), "Waiting for the audio stream …");
    tell(byId("call-problem"), "");
    byId("view").hidden = true;
    this.waveforms.follow(true);
    try {
      await follow(signal);
    } catch (error) {
      if (signal.aborted) return;
      tell(byId("call-hint"), "");
      tell(byId("call-problem"), error.message);
    }
    if (!signal.aborted) this._finish();
  }

  /** Waits until the stream of a call has started. The list is asked: a browser writes each 404 to the console. */
  async _started(id, own, signal) {
    const until = performance.now() + LONGEST * 1000;
    for (;;) {
      const { calls } = await askJson("/calls?limit=200", signal);
      let call = calls.find((each) => each.call_id === id || each.stream_id === id);
      if (!call && !own) call = await askJson(`/calls/${encodeURIComponent(id)}`, signal);
      if (call?.format) return call;
      if (performance.now() > until) throw new Error("The call has no audio stream after a minute.");
      await new Promise((resolve) => setTimeout(resolve, AGAIN * 1000));
      signal.throwIfAborted();
    }
  }

  async _read(address, format, signal) {
    const { body } = await ask(address, signal);
    for await (const line of readLines(body)) {
      if (this.trace === null) this._begin(format);
      const at = this.trace.take(line);
      // The least delay is that of lines that came at once.
      if (at !== null) this._began = Math.min(this._began, performance.now() / 1000 - at);
    }
  }

  /** Shows the recording of a call: the caller left, right what they heard. */
  async _hear(address, signal) {
    const recording = await (await ask(address, signal)).blob();
    this._offer(recording);
    // Such a picture needs no more than 8 kHz.
    const context = new OfflineAudioContext(2, 1, 8000);
    const decoded = await context.decodeAudioData(await recording.arrayBuffer());
    signal.throwIfAborted();
    this.trace.caller.picture(decoded.getChannelData(0), decoded.sampleRate);
    if (decoded.numberOfChannels > 1) this.trace.agent.picture(decoded.getChannelData(1), decoded.sampleRate);
  }

  _offer(recording) {
    const player = byId("recording");
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(recording);
    player.hidden = false;
  }

  _begin(format) {
    this.trace = new Trace(format);
    this._began = Infinity;
    for (const told of this._early) this.trace.measure(told);
    tell(byId("call-hint"), "");
    byId("view").hidden = false;
  }

  /** The trace is over. */
  _finish() {
    const { trace } = this;
    if (trace === null) {
      tell(byId("call-hint"), "");
      return;
    }
    this._listen(false);
    byId("listen").hidden = true;
    if (trace.ended === null) trace.take({ what: "trace ended", reason: "the server tells no more" });
    if (trace.caller.pieces.length || trace.agent.pieces.length) {
      this._offer(wavOf(trace.caller, trace.agent));
    }
  }

  _draw() {
    if (this.trace === null || document.hidden) return;
    const { now } = this;
    for (const part of this._parts) part.draw(this.trace, now);
    this.waveforms.draw(this.trace, now);
    const summary = this._summary(now);
    if (byId("sound-summary").textContent !== summary) byId("sound-summary").textContent = summary;
  }

  _summary(now) {
    const { trace } = this;
    const count = (kind) => trace.marks.filter((mark) => mark.kind === kind).length;
    const many = (number, one, several) => `${number} ${number === 1 ? one : several}`;
    return [
      trace.ended === null ? `Live, ${Math.floor(now)} s` : `Ended after ${trace.now.toFixed(1)} s: ${trace.ended}`,
      many(count("barge-in"), "barge-in", "barge-ins"),
      many(count("wrong"), "fault of the audio", "faults of the audio"),
      many(count("key"), "key", "keys"),
      many(count("checkpoint"), "checkpoint", "checkpoints"),
    ].join(" · ");
  }
}
