// One call: follows its trace, and draws all that is known of it.

import { markCurrent, numbers } from "./calls.js";
import { byId, clock, element, tell } from "./elements.js";
import { Happened } from "./happened.js";
import { Listening } from "./listening.js";
import { Refused, ask, askJson } from "./server.js";
import { wavOf } from "./sound.js";
import { Tools } from "./tools.js";
import { BrokenOff, Trace, readLines } from "./trace.js";
import { Turns } from "./turns.js";
import { Waveforms } from "./waveforms.js";
import { Wire } from "./wire.js";
import { Words } from "./words.js";

/** Seconds between two questions whether the stream of a call has started, and for how long it asks. */
const POLL = 0.2;
const LONGEST = 60;

/** Seconds until a server is asked again that did not answer. */
const RETRY = 1;

/** Milliseconds without drawing: about twenty pictures a second move well, and leave the processor to the agent. */
const REST = 40;

export class CallView {
  /**
   * @param {{audio: boolean, atOnce: boolean, past: boolean}} offers whether the server lets one hear calls; whether the
   *   page need not wait until somebody asks for it, as nobody but oneself is heard; and whether past calls can be seen.
   * @param {() => void} ended is called when a live call is over.
   */
  constructor({ audio, atOnce, past }, ended) {
    this._past = past;
    this._audio = audio;
    this._atOnce = audio && atOnce;
    this._ended = ended;
    this._stop = null;
    this._followed = null; // the live call whose trace is being read
    this._early = [];
    this.startedAt = null; // when the server read the stream's `start`, in Unix seconds
    this.id = null;
    this.trace = null;
    this.waveforms = new Waveforms(byId("waveforms"), byId("position"), {
      follows: (latest) => byId("latest").setAttribute("aria-pressed", latest),
      picks: (at) => this._pick(at),
    });
    this._parts = [
      new Words(byId("words"), byId("words-announced"), (at) => this._pick(at)),
      new Turns(byId("turns"), byId("turns-none")),
      new Tools(byId("tools"), byId("tools-none")),
      new Happened(byId("happened"), byId("happened-none")),
      new Wire(byId("wire-details"), byId("wire")),
    ];
    byId("zoom-in").addEventListener("click", () => this.waveforms.zoom(0.5));
    byId("zoom-out").addEventListener("click", () => this.waveforms.zoom(2));
    byId("latest").addEventListener("click", () => this.waveforms.follow(!this.waveforms.latest));
    this._listening = null;
    this._hearing = null; // stops reading the audio of a live call
    this._hearPast = null; // shows the past call that is shown with its audio
    byId("listen").addEventListener("click", () => (this._hearPast ? this._hearPast() : this._listen(this._listening === null)));
    const draw = () => {
      setTimeout(() => requestAnimationFrame(draw), REST); // first, so that it goes on whatever happens
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
   * @param {{own: boolean}} known whether it is the phone's, which one hears already; and what a list knows of it.
   */
  async live(id, { own = false, ...known } = {}) {
    if (this._followed === id) return;
    byId("listen").hidden = true;
    const shown = this._show(id, known, async (signal) => {
      let call = known;
      try {
        call = { ...known, ...await this._started(id, own, signal) };
        this.startedAt = call.started_at ? Date.parse(call.started_at) / 1000 : null;
        this._awaited = false;
        this._tellAbout(id, call);
        await this._follow(id, call.format, signal);
      } catch (error) {
        // The server keeps the trace of a call for its readers alone.
        const over = error.status === 404 || (error.status === 409 && call.state === "ending");
        if (!over) throw error;
        throw new Error(`The call is over.${this._past ? " What was kept of it is among the past calls." : ""}`);
      }
    });
    this._followed = id;
    if (!own && this._audio) this._offerToListen("Listen in");
    if (!await shown) return;
    this._ended();
    this._showNext();
  }

  /** Shows a call that is over; with its audio if somebody asks for it, as the server writes down who hears a call. */
  async past(id, known = {}, audio = this._atOnce) {
    byId("listen").hidden = true;
    const shown = await this._show(id, known, async (signal) => {
      try {
        await this._read(address("past", id, audio && "audio=1"), null, signal);
      } catch (error) {
        throw error.status === 404 ? new Error("Nothing of this call is kept on this machine.") : error;
      }
      if (audio && this.trace?.recorded) await this._hear(`/past/${encodeURIComponent(id)}/recording`, signal);
    });
    if (!shown) return;
    this.waveforms.show(0);
    const { recorded, caller, agent } = this.trace ?? {};
    if (audio) {
      if (document.activeElement === document.body) byId("recording").focus();
    } else if (this._audio && (recorded || caller?.end || agent?.end)) {
      this._hearPast = () => this.past(id, known, true);
      this._offerToListen("Hear the recording");
    }
  }

  _offerToListen(words) {
    const button = byId("listen");
    button.textContent = words;
    if (this._hearPast) button.removeAttribute("aria-pressed");
    else button.setAttribute("aria-pressed", "false");
    button.hidden = false;
  }

  /** Takes that a call of the phone is over: it may have had no stream. */
  ended(id) {
    if (id !== this.id) return;
    this._next = null;
    if (!this._awaited) return;
    const opened = this._early.find(({ kind }) => kind === "stream opened");
    if (opened) {
      // It was too short for the list; its trace can still be read. The text ends with the format.
      this._passed = { format: opened.text.split(", ").at(-1) };
      return;
    }
    this._stop.abort();
    this._followed = null;
    tell(byId("call-hint"), "The call had no audio stream.");
    tell(byId("call-state"), "");
  }

  /** Takes what the phone measured in a call. */
  measured(told) {
    if (told.call !== this.id || typeof told.at !== "number" && told.kind !== "heard") return;
    if (told.kind === "stream opened" && this._stream !== null && told.stream !== this._stream) {
      this._next = told;
      this._showNext();
    }
    if (this._next !== null) return; // it may be of the next stream
    this._stream ??= told.stream ?? null;
    if (this.trace) this.trace.measure(told, this.startedAt);
    else this._early.push(told);
  }

  /** Shows the next stream of the phone's call, which goes on with other XML, once the one before is over. */
  _showNext() {
    const opened = this._next;
    if (opened === null || this._followed !== null) return;
    this.live(opened.call, { own: true });
    this.measured(opened);
  }

  _listen(on) {
    const { trace } = this;
    this._listening?.stop();
    this._hearing?.abort();
    this._hearing = null;
    trace?.hearNoMore();
    this._listening = on && trace ? new Listening(trace, this.now) : null;
    byId("listen").setAttribute("aria-pressed", this._listening !== null);
    if (this._listening && !this._atOnce) this._hearLive(trace, this.id);
  }

  /** Reads the call once more, with its audio, for as long as somebody listens. */
  async _hearLive(trace, id) {
    const { signal } = (this._hearing = new AbortController());
    try {
      const { body } = await ask(address("calls", id, "audio=1"), signal);
      for await (const line of readLines(body)) trace.hear(line);
    } catch (error) {
      if (!signal.aborted) tell(byId("call-problem"), error.message);
    }
    if (!signal.aborted) this._listen(false);
  }

  /** Returns whether it was shown to its end: another call may be shown in its place. */
  async _show(id, known, follow) {
    this._stop?.abort();
    this._followed = this._passed = this._hearPast = null;
    this._stream = this._next = null; // of the phone's call: the stream that is shown, and that one was opened after it
    this._listen(false);
    const { signal } = (this._stop = new AbortController());
    this.id = id;
    this._awaited = true; // and has no stream yet
    this.trace = null;
    this._early = [];
    this.startedAt = null;
    for (const part of this._parts) part.clear();
    byId("recording").hidden = true;
    byId("recording").pause();
    markCurrent(id);
    this._tellAbout(id, known);
    tell(byId("call-hint"), "Waiting for the audio stream …");
    tell(byId("call-problem"), "");
    byId("view").hidden = true;
    this._tellState("waiting", "Waiting");
    this.waveforms.follow(true);
    try {
      await follow(signal);
    } catch (error) {
      if (signal.aborted) return false;
      tell(byId("call-hint"), "");
      tell(byId("call-problem"), error.message);
    }
    if (signal.aborted) return false;
    this._followed = null; // it can be opened again
    this._finish();
    return true;
  }

  _tellAbout(id, { caller, called, handler, format }) {
    if (caller || called) byId("call-title").textContent = numbers({ caller, called });
    else byId("call-title").textContent = "Call";
    const more = [handler, format].filter(Boolean).map((each) => `${each} · `);
    byId("call-about").replaceChildren(...more, element("code", { text: id }));
  }

  _tellState(state, words) {
    const place = byId("call-state");
    if (place.textContent === words) return;
    place.dataset.state = state;
    tell(place, words);
  }

  /** Goes to a time: of the recording, if there is one. */
  _pick(at) {
    const { waveforms } = this;
    const recording = byId("recording");
    if (!recording.hidden) recording.currentTime = at;
    if (at < waveforms.begin || at > waveforms.begin + waveforms.seconds) waveforms.show(at - waveforms.seconds / 4);
  }

  /** Shows where the recording plays. */
  _followRecording() {
    const { waveforms } = this;
    const { hidden, paused, currentTime } = byId("recording");
    waveforms.playing = hidden || (paused && currentTime === 0) ? null : currentTime;
    const out = currentTime < waveforms.begin || currentTime > waveforms.begin + waveforms.seconds;
    if (!hidden && !paused && out) waveforms.show(currentTime);
  }

  /** Waits until the stream of a call has started. The list is asked: a browser writes each 404 to the console. */
  async _started(id, own, signal) {
    const until = performance.now() + LONGEST * 1000;
    for (;;) {
      if (this._passed) return this._passed;
      const { calls } = await askJson("/calls?limit=200", signal);
      let call = calls.find((each) => each.call_id === id || each.stream_id === id);
      if (!call && !own) call = await askJson(`/calls/${encodeURIComponent(id)}`, signal);
      if (call?.format) return call;
      if (performance.now() > until) throw new Error("The call has no audio stream after a minute.");
      await new Promise((resolve) => setTimeout(resolve, POLL * 1000));
      signal.throwIfAborted();
    }
  }

  /** Reads the trace of a live call to its end, on another connection if one breaks off. */
  async _follow(id, format, signal) {
    let from = "from=start";
    for (;;) {
      try {
        await this._read(address("calls", id, from, this._atOnce && "audio=1"), format, signal);
        return;
      } catch (error) {
        if (!(error instanceof BrokenOff) || this.trace === null) throw error;
      }
      this.trace.brokeOff();
      tell(byId("call-problem"), "The connection to the server broke off. The page tries again …");
      await this._untilAnswered(id, signal);
      tell(byId("call-problem"), "");
      from = "from=now";
    }
  }

  /** Waits until the server answers again. Throws Refused if it does not, or if the call is over. */
  async _untilAnswered(id, signal) {
    const until = performance.now() + LONGEST * 1000;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RETRY * 1000));
      signal.throwIfAborted();
      try {
        const { calls, total } = await askJson("/calls?limit=200", signal);
        if (total > calls.length || calls.some((each) => each.call_id === id || each.stream_id === id)) return;
        throw new Refused(404, "the call is over");
      } catch (error) {
        if (error.status !== 0 || performance.now() > until) throw error;
      }
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
    for (const told of this._early) this.trace.measure(told, this.startedAt);
    tell(byId("call-hint"), "");
    byId("view").hidden = false;
  }

  /** The trace is over. */
  _finish() {
    const { trace } = this;
    if (trace === null) {
      tell(byId("call-hint"), "");
      tell(byId("call-state"), "");
      return;
    }
    this._listen(false);
    byId("listen").hidden = true;
    if (trace.ended === null) trace.take({ what: "trace ended", reason: "the server tells no more" });
    if (trace.caller.kept || trace.agent.kept) {
      this._offer(wavOf(trace.caller, trace.agent));
    }
  }

  _draw() {
    const { trace } = this;
    if (trace === null || document.hidden) return;
    const { now } = this;
    this._followRecording();
    this.waveforms.draw(trace, now);
    // What is over changes no more, but for what the phone measured.
    const drawn = trace.ended === null ? "" : `${trace.lines} ${trace.measured} ${byId("wire-details").open}`;
    if (drawn !== "" && this._drawn === drawn && this._drawnTrace === trace) return;
    this._drawn = drawn;
    this._drawnTrace = trace;
    for (const part of this._parts) part.draw(trace, now);
    if (trace.ended === null) this._tellState("live", `Live ${clock(now).slice(0, -2)}`);
    else this._tellState("ended", `Ended after ${trace.now.toFixed(1)} s: ${trace.ended}`);
    const summary = this._summary();
    if (byId("sound-summary").textContent !== summary) byId("sound-summary").textContent = summary;
  }

  _summary() {
    const { counts, caller, agent, ended, heardApart } = this.trace;
    const many = (number = 0, one, several = `${one}s`) => (number ? [`${number} ${number === 1 ? one : several}`] : []);
    const kept = Math.max(caller.kept, agent.kept);
    const cut = kept > 0 && Math.max(caller.end, agent.end) > kept + 1;
    const has = heardApart ? "what you listened to" : cut && `the first ${Math.floor(kept / 60)} minutes`;
    const rest = ended !== null && has ? [`the recording has ${has}`] : [];
    // The server and the phone tell of the same gaps.
    const wrong = Math.max(counts.wrong ?? 0, counts.gap ?? 0);
    const told = [
      ...many(wrong, "fault of the audio", "faults of the audio"),
      ...many(counts["barge-in"], "barge-in"),
      ...many(counts.key, "key"),
      ...many(counts.checkpoint, "checkpoint"),
      ...rest,
    ];
    return told.join(" · ") || "No barge-in, no fault of the audio";
  }
}

const address = (kind, id, ...query) => `/${kind}/${encodeURIComponent(id)}/trace?${query.filter(Boolean).join("&")}`;
