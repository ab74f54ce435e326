// What either side says: the caller's words as they are understood, the agent's as they are heard.

import { element, timeOf } from "./elements.js";
import { heardLetters } from "./trace.js";

/** Entries at the end that may still change. */
const OPEN = 20;

export class Words {
  /** @param {HTMLElement} list @param {HTMLElement} announced what a screen reader reads out. */
  constructor(list, announced) {
    this._list = list;
    this._announced = announced;
    this._shown = []; // for each entry, what its element shows
  }

  clear() {
    this._list.replaceChildren();
    this._announced.textContent = "";
    this._shown = [];
  }

  draw(trace, now) {
    const list = this._list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    let changed = false;
    for (let index = Math.max(0, this._shown.length - OPEN); index < trace.said.length; index++) {
      const each = trace.said[index];
      const heard = each.side === "agent" ? heardLetters(each, now) : 0;
      const shown = each.side === "agent"
        ? [each.text, heard, each.over, each.interrupted, each.cancelled, each.error].join("\n")
        : [each.words, each.final, each.noise].join("\n");
      if (this._shown[index] === shown) continue;
      const made = each.side === "agent" ? agentEntry(each, heard) : callerEntry(each);
      if (index in this._shown) list.children[index].replaceWith(made);
      else list.append(made);
      this._shown[index] = shown;
      changed = true;
      const whole = each.side === "agent" ? each.over && each.text.slice(0, heard) : each.final && !each.noise && each.words;
      if (whole) this._announced.textContent = `${each.side === "agent" ? "Agent" : "Caller"}: ${whole}`;
    }
    if (changed && atEnd) list.scrollTop = list.scrollHeight;
  }
}

function callerEntry(utterance) {
  const said = element("p", { text: utterance.words, class: utterance.final ? "final" : "interim" });
  if (utterance.noise) said.replaceChildren(element("del", { text: utterance.words || "sound" }), " (taken for noise)");
  else if (!utterance.words) said.textContent = utterance.final ? "(no words)" : "…";
  return element("li", { class: "caller" }, element("b", { text: "Caller" }), timeOf(utterance.at), said);
}

function agentEntry(reply, heard) {
  const said = element("p", {}, element("span", { class: "heard", text: reply.text.slice(0, heard) }));
  const rest = reply.text.slice(heard);
  if (rest.trim()) {
    const given = reply.over || reply.cancelled;
    said.append(given ? element("del", { text: rest }) : element("span", { class: "unheard", text: rest }));
  }
  if (reply.interrupted) said.append(" ", element("small", { class: "unheard", text: "(interrupted)" }));
  if (reply.error) said.append(" ", element("small", { class: "wrong", text: `(${reply.error})` }));
  if (!reply.text) said.append(reply.over ? "(nothing)" : "…");
  return element("li", { class: "agent" }, element("b", { text: "Agent" }), timeOf(reply.at), said);
}
