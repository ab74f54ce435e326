// What either side says: the caller's words as they are understood, the agent's as they are heard.

import { element, timeOf } from "./elements.js";
import { heardLetters } from "./trace.js";

/** Entries at the end that may still change. */
const OPEN = 20;

/** Entries that are shown; those before are left out. */
const MOST = 2000;

/** Letters of an entry that a screen reader is given; of a longer one, the beginning. */
const ANNOUNCED = 300;

export class Words {
  /**
   * @param {HTMLElement} list @param {HTMLElement} announced what a screen reader reads out.
   * @param {(at: number) => void} picks is told the time of an entry that is clicked.
   */
  constructor(list, announced, picks) {
    this._list = list;
    this._announced = announced;
    list.addEventListener("click", ({ target }) => {
      const at = target.closest("li")?.dataset.at;
      if (at !== undefined && getSelection().isCollapsed) picks(Number(at));
    });
    this.clear();
  }

  clear() {
    this._list.replaceChildren();
    this._announced.textContent = "";
    this._shown = []; // for each entry, what its element shows
    this._first = 0; // the first entry that is shown
  }

  draw(trace, now) {
    const list = this._list;
    let atEnd = null; // looked at before the first change alone: it has the browser lay out the page
    for (let index = Math.max(this._first, this._shown.length - OPEN); index < trace.said.length; index++) {
      const each = trace.said[index];
      const agent = each.side === "agent";
      const heard = agent ? heardLetters(each, now) : 0;
      const shown = agent
        ? [each.text, heard, each.over, each.interrupted, each.cancelled, each.error].join("\n")
        : [each.words, each.final, each.noise].join("\n");
      if (this._shown[index] === shown) continue;
      atEnd ??= list.scrollHeight - list.scrollTop - list.clientHeight < 40;
      const before = index < this._shown.length ? list.children[index - this._first] : null;
      const made = agent ? agentEntry(each, heard, Number(before?.dataset.heard ?? 0)) : callerEntry(each);
      if (before) before.replaceWith(made);
      else list.append(made);
      this._shown[index] = shown;
      const whole = agent ? each.over && each.text.slice(0, heard) : each.final && !each.noise && each.words;
      if (whole) this._announced.textContent = `${agent ? "Agent" : "Caller"}: ${whole.slice(0, ANNOUNCED)}`;
    }
    for (; list.childElementCount > MOST; this._first++) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function callerEntry(utterance) {
  const said = element("p", { text: utterance.words, class: utterance.final ? "final" : "interim" });
  if (utterance.noise) said.replaceChildren(element("del", { text: utterance.words || "sound" }), " ", note("taken for noise"));
  else if (!utterance.words) said.replaceChildren(utterance.final ? note("no words") : "…");
  return element("li", { class: "caller", "data-at": utterance.at }, element("b", { text: "Caller" }), timeOf(utterance.at), said);
}

/** @param {number} before letters that were heard when it was shown last: those since then become solid now. */
function agentEntry(reply, heard, before) {
  const { text } = reply;
  const fresh = Math.min(heard, before);
  const solid = element("span", { class: "heard" }, text.slice(0, fresh));
  if (heard > fresh && fresh > 0) solid.append(element("span", { class: "fresh", text: text.slice(fresh, heard) }));
  else solid.append(text.slice(fresh, heard));
  const said = element("p", {}, solid);
  const rest = text.slice(heard);
  if (rest.trim()) {
    const gap = /^\s*/.exec(rest)[0];
    said.append(gap, element(reply.over || reply.cancelled ? "del" : "span", { class: "unheard", text: rest.slice(gap.length) }));
  }
  if (reply.interrupted) said.append(" ", note("interrupted"));
  if (reply.error) said.append(" ", element("small", { class: "wrong", text: reply.error }));
  if (!text) said.append(reply.over ? note("nothing") : "…");
  return element("li", { class: "agent", "data-at": reply.at, "data-heard": heard }, element("b", { text: "Agent" }), timeOf(reply.at), said);
}

const note = (text) => element("small", { class: "note", text });
