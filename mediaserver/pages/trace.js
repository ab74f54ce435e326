// The lines of a call's trace → what the page shows. Knows nothing of the page.
//
// The lines are those of GET /calls/ID/trace: docs/observing.md, "Follow a live call".

import { audioFormat } from "./formats.js";
import { PEAKS, Sound } from "./sound.js";

/** Lines of the trace that are kept, and entries of what happened. */
const MOST_LINES = 2000;

/** Moments of a kind that are kept: probabilities of speech of an hour at least. */
const MOST_MOMENTS = 120_000;

/** Entries at the end of what is said that may be those of the reply under way. */
const RECENT = 20;

/** Seconds: a stream lasts a day at most. */
const LONGEST = 100_000;

/** Seconds: if an event loop stands still for longer, callers hear gaps. */
const BLOCKED = 0.1;

/** Seconds within which a server reads a `start`, and by how much it may seem to read it too early. */
const READ_WITHIN = 2;
const READ_EARLY = 0.1;

/** What is a number in every line that has it, and the greatest. */
const NUMBERS = new Map([
  ...["at", "heard_at", "heard_in", "seconds", "loop_lag"].map((name) => [name, LONGEST]),
  ...["end_of_turn", "transcript", "first_token", "audio_sent", "audio_heard"].map((name) => [name, LONGEST]),
  ...["times", "number"].map((name) => [name, 1000 * LONGEST]),
  ["timestamp", Number.MAX_SAFE_INTEGER], // milliseconds, since any time: Plivo counts from 1970
  ["probability", 1],
]);

const isNumber = (value, most) => typeof value === "number" && Math.abs(value) <= most;

/** The name of a number in a line that cannot be, or undefined. */
function wrongNumber(line) {
  return [...NUMBERS].find(([name, most]) => line[name] != null && !isNumber(line[name], most))?.[0];
}

/** Returns a number that a line must have. */
function needed(line, name) {
  if (line[name] == null) throw new Error(`${name} is missing`);
  return line[name];
}

/** The server has gone away, or what is between it and the page, in the middle of an answer. */
export class BrokenOff extends Error {
  constructor() {
    super("The connection to the server broke off.");
  }
}

/** Reads JSON objects, one a line, from the body of an answer. Empty lines keep it open. Throws BrokenOff. */
export async function* readLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new BrokenOff();
    });
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (line.trim() === "") continue;
      let read = null;
      try {
        read = JSON.parse(line);
      } catch {
        // No server writes such a line.
      }
      yield read instanceof Object ? read : { what: "unreadable line", bytes: line.length };
    }
    if (done) return;
  }
}

/** Returns how many seconds later than the server the phone begins to count: a `start` is read soon after it was sent. */
function phoneLater(sent, read) {
  const later = sent - read;
  // Clocks that are further apart were set, or stood while the machine slept.
  return later > -READ_WITHIN && later < READ_EARLY ? later : 0;
}

/** What is known of one call. The parts of the page read it, and change nothing. */
export class Trace {
  /** @param {?string} contentType the format of the stream, such as "audio/x-mulaw;rate=8000"; null: its start tells. */
  constructor(contentType = null) {
    this._format(contentType);
    this.now = 0; // seconds: the time of the latest line
    this.said = []; // what either side says, in order
    this.turns = [];
    this.tools = [];
    this.speech = []; // {at, until}: when the caller speaks
    this.marks = []; // {at, kind, text}: interruptions, keys, checkpoints, in order
    this.counts = {}; // of the marks of each kind
    this.happened = []; // {at, text, wrong}, the latest
    this.happenedCount = 0;
    this.probabilities = []; // {at, probability}: of speech
    this.wire = [];
    this.wireCount = 0;
    this.measured = 0; // how much of it the phone has measured
    this.ended = null; // why
    this.recorded = false; // whether there is a file with the audio of a call that is over
    this.lines = 0;
    this.heardApart = false; // whether there is only that of its audio which another reading told
    this._heardFrom = Infinity; // seconds: from when on another reading of the call tells how it sounds
    this._utterances = []; // those of the caller whose words may still change
  }

  _format(contentType) {
    const format = audioFormat(contentType) ?? { rate: 8000, decode: null };
    this.decode = format.decode;
    this.caller = new Sound(format.rate);
    this.agent = new Sound(format.rate);
  }

  /** Takes a line of the trace. Returns its time, or null if it has none. */
  take(line) {
    this.lines += 1;
    const wrong = wrongNumber(line);
    const at = isNumber(line.at, LONGEST) ? line.at : this.now;
    this.now = Math.max(this.now, at);
    try {
      if (wrong) throw new Error(`${wrong} is not a number that it can be`);
      this[TAKES.get(line.what) ?? "_other"](line, at);
    } catch (error) {
      this._happens(at, `A line of the trace cannot be shown: ${error.message}`, true);
    }
    if (line.what !== "audio received" && line.what !== "audio sent") this._keep(line);
    return line.at === at ? at : null;
  }

  _keep(line) {
    this.wire.push(line);
    this.wireCount += 1;
    if (this.wire.length > MOST_LINES) this.wire.shift();
  }

  /** Takes a line of another reading of the same call, which has its audio: what it tells besides is known already. */
  hear(line) {
    const sound = SOUNDS.get(line.what);
    if (!sound || wrongNumber(line) || !isNumber(line.at, LONGEST)) return;
    this.heardApart = true;
    this._heardFrom = Math.min(this._heardFrom, line.at);
    this[sound](line, line.at);
  }

  /** The other reading is over. */
  hearNoMore() {
    this._heardFrom = Infinity;
  }

  /**
   * Takes what the phone measured.
   *
   * @param {?number} startedAt when the server read the stream's `start`, from which the trace counts, in Unix seconds.
   */
  measure(told, startedAt = null) {
    this.measured += 1;
    const later = phoneLater(told.started_at, startedAt);
    for (const [from, seconds] of told.gaps ?? []) {
      const begin = from + later;
      this._mark({ at: begin + seconds, kind: "gap", text: "gap", seconds });
      this._happens(begin, `The phone heard a gap of ${seconds.toFixed(2)} s.`, true);
    }
  }

  // Audio.

  _callerHeard(line, at) {
    if (this.decode && line.track !== "outbound") this.caller.follow(this.decode(line.payload), at, (line.timestamp ?? NaN) / 1000);
  }

  _agentHeard(line) {
    if (this.decode) this.agent.add(this.decode(line.payload), needed(line, "heard_at"));
  }

  _agentCut(line) {
    this.agent.cut(needed(line, "heard_at"));
  }

  _audioReceived(line, at) {
    if (at <= this._heardFrom) this._callerHeard(line, at);
  }

  _audioSent(line, at) {
    if (at <= this._heardFrom) this._agentHeard(line);
    this._resumed(needed(line, "heard_at"));
  }

  /** Where nobody may hear the call, there is still a picture of it. */
  _loud(line, from) {
    for (const [sound, runs] of [[this.caller, line.caller], [this.agent, line.agent]]) {
      for (const [at, ...peaks] of runs) {
        if (!isNumber(at, LONGEST)) throw new Error("its time is not a number that it can be");
        if (from <= this._heardFrom) sound.picture(peaks, PEAKS, at);
      }
    }
    if (line.agent.length) this._resumed(line.agent.at(-1)[0]);
  }

  _audioCut(line, at) {
    const heardAt = needed(line, "heard_at");
    if (at <= this._heardFrom) this._agentCut(line);
    const reply = this._openReply();
    // It may be a pause, after which the same audio is sent again.
    if (reply && reply.heldAt === null) reply.heldAt = heardAt;
  }

  /** Moves the words that a pause held up. */
  _resumed(heardAt) {
    const reply = this._openReply();
    if (!reply || reply.heldAt === null) return;
    const late = Math.max(0, heardAt - reply.heldAt);
    for (const word of reply.words) if (word.heardAt > reply.heldAt) word.heardAt += late;
    reply.heldAt = null;
  }

  // The caller.

  _speaks(line, at) {
    keep(this.speech, { at, until: null });
    this._heardAnew(at);
  }

  _hears(line, at) {
    const utterance = this._utterances.at(-1) ?? this._heardAnew(at);
    utterance.words = shown(line.words);
  }

  _noise(line, at) {
    this._silent(at);
    const utterance = this._utterances.pop();
    if (utterance) Object.assign(utterance, { final: true, noise: true });
  }

  _understood(line, at) {
    this._silent(at);
    const utterance = this._utterances[0] ?? this._heardAnew(at);
    this._utterances.shift();
    Object.assign(utterance, { words: shown(line.words) || utterance.words, final: true });
    if (line.dropped) utterance.noise = true;
  }

  _heardAnew(at) {
    const utterance = { side: "caller", at, words: "", final: false, noise: false };
    this.said.push(utterance);
    this._utterances.push(utterance);
    return utterance;
  }

  _silent(at) {
    const open = this.speech.findLast((each) => each.until === null);
    if (open) open.until = at;
  }

  // The agent.

  _begins(line, at) {
    this.said.push({
      side: "agent", at, turn: line.turn ?? null, text: "", words: [], heldAt: null, heard: null,
      cancelled: false, interrupted: false, over: false, error: null,
    });
    return this.said.at(-1);
  }

  _openReply() {
    return this.said.slice(-RECENT).findLast((each) => each.side === "agent" && !each.over) ?? null;
  }

  _says(line, at) {
    const reply = this._openReply() ?? this._begins({}, at);
    const text = shown(line.words);
    // Pieces of a text follow one another as they are, even within a word; two texts need a space.
    const apart = /[.!?…]$/.test(reply.text) && /^\p{L}/u.test(text);
    reply.text += (apart ? " " : "") + text;
  }

  _spoken(line, at) {
    const reply = this._openReply();
    if (!reply) return;
    const from = reply.words.at(-1)?.to ?? 0;
    reply.words.push({ to: placeAfter(reply.text, from, lettersOf(shown(line.words))), heardAt: at + needed(line, "heard_in") });
  }

  _cancelled(line) {
    const reply = this._replyOf(line.turn);
    if (reply) reply.cancelled = true;
  }

  _replyOf(turn) {
    return this.said.findLast((each) => each.side === "agent" && each.turn === (turn ?? null)) ?? null;
  }

  _turn(line, at) {
    this.turns.push({ ...line, at });
    let reply = this._replyOf(line.number) ?? this._openReply();
    if (reply?.turn !== line.number && reply?.turn !== null) reply = null; // another one's
    if (line.error) this._happens(at, `turn ${line.number}: ${line.error}`, true);
    if (!reply) return;
    // Where words are hidden, how many of them were heard is as well.
    const hidden = typeof line.words === "string" ? reply.text : null;
    const heard = Array.isArray(line.words) ? shown(line.words[1]) : hidden;
    Object.assign(reply, { over: true, turn: line.number, heard, interrupted: line.interrupted === true, error: line.error ?? null });
  }

  _toolBegins(line, at) {
    this.tools.push({ at, name: line.tool, id: line.id, asked: shown(line.words), result: null, error: false, until: null });
  }

  _toolEnds(line, at) {
    const tool = this.tools.find((each) => each.name === line.tool && each.id === line.id && each.until === null);
    if (tool) Object.assign(tool, { until: at, result: shown(line.words), error: Boolean(line.error) });
  }

  // What happened.

  _mark(mark) {
    const { marks, counts } = this;
    // What the phone measured comes later than it was.
    marks.splice(marks.findLastIndex(({ at }) => at <= mark.at) + 1, 0, mark);
    shorten(marks);
    counts[mark.kind] = (counts[mark.kind] ?? 0) + 1;
  }

  _happens(at, text, wrong = false) {
    keep(this.happened, { at, text, wrong }, MOST_LINES);
    this.happenedCount += 1;
  }

  _bargeIn(line, at) {
    const text = line.confirmed ? "barge-in" : "false barge-in";
    this._mark({ at, kind: "barge-in", text });
    this._happens(at, line.confirmed ? "The caller interrupted the agent." : "The caller seemed to interrupt the agent, which goes on.");
  }

  _counted(line, at) {
    const seconds = line.seconds ? `, ${line.seconds.toFixed(2)} s` : "";
    const times = line.times > 1 ? `, ${line.times} times` : "";
    this._mark({ at, kind: "wrong", text: line.what, seconds: line.seconds ?? 0 });
    this._happens(at, `${COUNTED[line.what]}${seconds}${times}`, true);
  }

  _pauses(line, at) {
    this._mark({ at, kind: "pause", text: "pauses" });
  }

  _checkpoint(line, at) {
    this._mark({ at, kind: "checkpoint", text: String(line.name ?? "checkpoint") });
  }

  _received(line, at) {
    if (line.event === "Start" && this.decode === null) this._format(line.format);
    if (line.event === "Dtmf") {
      this._mark({ at, kind: "key", text: `key ${shown(line.digit)}` });
      this._happens(at, `The caller pressed ${shown(line.digit)}.`);
    } else if (line.problem) {
      this._happens(at, `A message could not be read: ${line.problem}`, true);
    }
  }

  _sent(line, at) {
    if (line.command === "SendDtmf") this._happens(at, `The server pressed ${shown(line.digits)}.`);
  }

  _failed(line, at) {
    this._happens(at, `A service failed: ${line.failure} ${shown(line.words)}`.trim(), true);
  }

  _handlerFailed(line, at) {
    const words = shown(line.words);
    const kind = shown(line.failure);
    // The words have the kind, unless they are hidden.
    this._happens(at, `The handler failed: ${words.includes(kind) ? words : `${kind} ${words}`}`.trim(), true);
  }

  _lost(line, at) {
    this._happens(at, "The connection is lost; Plivo may open the stream again.", true);
  }

  _reconnected(line, at) {
    this._happens(at, `The stream came back after ${needed(line, "seconds").toFixed(2)} s.`);
  }

  _missed(line, at) {
    this._happens(at, `${line.lines ?? "Some"} lines were missed: this page was too slow.`, true);
  }

  /** What happens until the trace can be read on is not known. */
  brokeOff() {
    this._happens(this.now, "The connection to the server broke off: what happened until it was back is not shown.", true);
  }

  _media(line, at) {
    if (line.loop_lag > BLOCKED) {
      this._happens(at, `The event loop stood still for ${line.loop_lag.toFixed(2)} s: something blocks it. The server's log says what.`, true);
    }
  }

  _noAnswer(line, at) {
    this._happens(at, "The process of the call does not answer: something blocks its event loop.", true);
  }

  _probability(line, at) {
    keep(this.probabilities, { at, probability: needed(line, "probability") });
  }

  _recording() {
    this.recorded = true;
  }

  _ended(line) {
    this.ended = line.reason ?? "";
    this._silent(this.now);
    for (const reply of this.said) if (reply.side === "agent") reply.over = true;
    for (const utterance of this._utterances.splice(0)) utterance.final = true;
  }

  _other() {}
}

/** Adds to a list, which forgets its oldest entries. */
function keep(list, entry, most = MOST_MOMENTS) {
  list.push(entry);
  shorten(list, most);
}

/** A tenth at once: to move all entries for each that comes would take long. */
function shorten(list, most = MOST_MOMENTS) {
  if (list.length > most) list.splice(0, most / 10);
}

const SOUNDS = new Map([["audio received", "_callerHeard"], ["audio sent", "_agentHeard"], ["audio cut", "_agentCut"]]);

const TAKES = new Map(Object.entries({
  "audio received": "_audioReceived",
  "audio sent": "_audioSent",
  "audio cut": "_audioCut",
  "loudness": "_loud",
  "caller speaks": "_speaks",
  "hears": "_hears",
  "taken for noise": "_noise",
  "understood": "_understood",
  "reply begins": "_begins",
  "says": "_says",
  "spoken": "_spoken",
  "reply cancelled": "_cancelled",
  "turn": "_turn",
  "tool begins": "_toolBegins",
  "tool ends": "_toolEnds",
  "barge-in": "_bargeIn",
  "underrun": "_counted",
  "producer gap": "_counted",
  "received audio dropped": "_counted",
  "frames lost": "_counted",
  "checkpoint": "_checkpoint",
  "received": "_received",
  "sent": "_sent",
  "service failed": "_failed",
  "handler failed": "_handlerFailed",
  "connection lost": "_lost",
  "reconnected": "_reconnected",
  "lines missed": "_missed",
  "media": "_media",
  "no answer": "_noAnswer",
  "vad": "_probability",
  "pauses": "_pauses",
  "recording": "_recording",
  "stream ended": "_ended",
  "trace ended": "_ended",
}));

const COUNTED = {
  "underrun": "Underrun: the caller heard a gap",
  "producer gap": "The agent's audio came too late",
  "received audio dropped": "Audio of the caller was dropped",
  "frames lost": "Frames of the caller were lost",
};

/**
 * Returns how many letters of a reply the caller has heard by a time.
 *
 * While it is spoken, the times of its words tell; when it is over, what the agent remembers of it.
 */
export function heardLetters(reply, now) {
  if (reply.heard !== null) return placeAfter(reply.text, 0, lettersOf(reply.heard));
  let place = 0;
  for (const { to, heardAt } of reply.words) {
    if (heardAt > now || (reply.heldAt !== null && heardAt > reply.heldAt)) break;
    place = to;
  }
  return place;
}

function shown(words) {
  return words === null || words === undefined ? "" : String(words);
}

function lettersOf(text) {
  return text.replace(/\s/g, "").length;
}

/** The place in a text after so many letters, not counting spaces. */
function placeAfter(text, from, letters) {
  let place = from;
  for (let left = letters; left > 0 && place < text.length; place++) if (!/\s/.test(text[place])) left--;
  return place;
}
