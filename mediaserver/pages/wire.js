// The lines of the trace themselves, while somebody wants to see them.

import { element } from "./elements.js";

export class Wire {
  /** @param {HTMLDetailsElement} details @param {HTMLElement} list */
  constructor(details, list) {
    this._details = details;
    this._list = list;
    this.clear();
  }

  clear() {
    this._count = 0;
    this._list.replaceChildren();
  }

  draw(trace) {
    if (!this._details.open || trace.wireCount === this._count) return;
    const place = this._list.parentElement;
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    const fresh = Math.min(trace.wireCount - this._count, trace.wire.length);
    this._list.append(...trace.wire.slice(trace.wire.length - fresh).map((line) => element("li", { text: lineText(line) })));
    while (this._list.childElementCount > trace.wire.length) this._list.firstElementChild.remove();
    this._count = trace.wireCount;
    if (atEnd) place.scrollTop = place.scrollHeight;
  }
}

function lineText({ at, what, ...details }) {
  const time = typeof at === "number" ? at.toFixed(3).padStart(9) : " ".repeat(9);
  const more = Object.entries(details)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [`${time}  ${what}`, ...more].join("  ");
}
