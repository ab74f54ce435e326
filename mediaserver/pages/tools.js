// The tools that the agent used, with what it asked and what came back.

import { element, foldable, length, timeOf } from "./elements.js";

/** Tools that are shown, the latest. */
const MOST = 500;

export class Tools {
  constructor(list, none) {
    this._list = list;
    this._none = none;
    this.clear();
  }

  clear() {
    this._first = 0; // the first that is shown
    this._running = []; // whether the entries' tools still ran
    this._list.replaceChildren();
    this._none.hidden = false;
  }

  draw({ tools }) {
    const list = this._list;
    const place = list.parentElement;
    let atEnd = null; // looked at before the first change alone: it has the browser lay out the page
    for (let index = this._first; index < tools.length; index++) {
      const tool = tools[index];
      const running = tool.until === null;
      if (this._running[index] === running) continue;
      atEnd ??= place.scrollHeight - place.scrollTop - place.clientHeight < 40;
      if (index in this._running) list.children[index - this._first].replaceWith(entry(tool));
      else list.append(entry(tool));
      this._running[index] = running;
      this._none.hidden = true;
    }
    for (; list.childElementCount > MOST; this._first++) list.firstElementChild.remove();
    if (atEnd) place.scrollTop = place.scrollHeight;
  }
}

function entry(tool) {
  const took = element("small", { class: "note", text: tool.until === null ? "runs …" : length(tool.until - tool.at) });
  const made = element("li", {}, element("b", { text: tool.name }), timeOf(tool.at), " ", took, code(tool.asked));
  if (tool.result !== null) made.append(code(`${tool.error ? "failed: " : "→ "}${tool.result}`, tool.error));
  return made;
}

const code = (text, wrong = false) => foldable("code", text, { class: wrong ? "wrong" : null });
