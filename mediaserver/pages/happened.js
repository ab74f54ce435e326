// What happened in a call besides words: interruptions, keys, and what went wrong.

import { element, timeOf } from "./elements.js";

export class Happened {
  constructor(list, none) {
    this._list = list;
    this._none = none;
    this.clear();
  }

  clear() {
    this._count = 0;
    this._list.replaceChildren();
    this._none.hidden = false;
  }

  draw(trace) {
    for (const { at, text, wrong } of trace.happened.slice(this._count)) {
      this._list.prepend(element("li", { class: wrong ? "wrong" : null }, text, timeOf(at)));
    }
    this._count = trace.happened.length;
    this._none.hidden = this._count > 0;
  }
}
