// What happened in a call besides words: interruptions, keys, and what went wrong.

import { element, foldable, timeOf } from "./elements.js";

/** Entries that are shown, the latest first. */
const MOST = 500;

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

  draw({ happened, happenedCount }) {
    const fresh = Math.min(happenedCount - this._count, MOST);
    if (!fresh) return;
    for (const { at, text, wrong } of happened.slice(-fresh)) {
      this._list.prepend(element("li", { class: wrong ? "wrong" : null }, timeOf(at), foldable("span", text)));
    }
    while (this._list.childElementCount > MOST) this._list.lastElementChild.remove();
    this._count = happenedCount;
    this._none.hidden = true;
  }
}
