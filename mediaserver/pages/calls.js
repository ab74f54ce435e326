// The lists of calls: those that live, and those that are over.

import { byId, element, phoneNumber, tell } from "./elements.js";
import { askJson } from "./server.js";

/** Seconds between two looks at the live calls. */
const LOOK = 2;

export class LiveCalls {
  /** @param {(call: {id: string}) => void} open is given what is known of the call. */
  constructor(open) {
    this._list = new CallList(byId("live"), open);
    this.pauses = false; // whether nobody is there who could answer
  }

  /** Looks at the list now and from time to time, while somebody sees the page. */
  async watch() {
    if (!document.hidden && !this.pauses) await this._look();
    setTimeout(() => this.watch(), LOOK * 1000);
  }

  async _look() {
    let calls = [];
    let note = "There is no live call.";
    try {
      const found = await askJson("/calls?limit=200");
      calls = found.calls;
      if (calls.length) note = found.total > calls.length ? `The oldest ${calls.length} of ${found.total} calls.` : "";
    } catch (error) {
      note = error.message;
    }
    // A call with two streams must be named by a stream.
    const twice = (id) => calls.filter((call) => call.call_id === id).length > 1;
    const entries = calls.map((call) => ({
      call: known(call, twice(call.call_id) ? call.stream_id : call.call_id),
      more: [call.handler, call.state].filter(Boolean).join(" · "),
    }));
    tell(byId("live-none"), note);
    this._list.show(entries);
  }
}

export class PastCalls {
  /** @param {(call: {id: string}) => void} open is given what is known of the call. */
  constructor(open) {
    this._list = new CallList(byId("past"), open);
    this._entries = [];
    this._next = null;
    byId("past-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.search();
    });
    byId("past-more").addEventListener("click", () => this._findMore());
  }

  search() {
    return this._find(null);
  }

  async _findMore() {
    const more = byId("past-more");
    const { length } = this._entries;
    await this._find(this._next);
    // Who used the keyboard goes on where the further calls begin.
    if (more.hidden && [more, document.body].includes(document.activeElement)) byId("past").children[length]?.firstChild.focus();
  }

  async _find(after) {
    const query = new URLSearchParams(byId("past-fault").value);
    const time = (id) => byId(id).value && new Date(byId(id).value).toISOString();
    const asked = {
      number: byId("past-number").value.trim(),
      handler: byId("past-handler").value.trim(),
      since: time("past-since"),
      until: time("past-until"),
      after: after ?? "",
    };
    for (const [name, value] of Object.entries(asked)) if (value) query.set(name, value);
    const search = (this._search = {}); // of two, the latter counts
    let found = { calls: [], next: null };
    let problem = null;
    try {
      found = await askJson(`/past?${query}`);
    } catch (error) {
      problem = error.message;
    }
    if (search !== this._search) return;
    const entries = found.calls.map((call) => ({
      call: known(call, call.captured || call.recording || call.transcribed || call.turns > 0 ? call.id ?? call.call_id : null),
      more: [when(call.began), call.seconds === null ? "" : `${Math.round(call.seconds)} s`, call.handler, call.cause].filter(Boolean).join(" · "),
      wrong: (call.complaints ?? []).join("; "),
    }));
    this._entries = after === null ? entries : [...this._entries, ...entries];
    this._list.show(this._entries);
    this._next = problem === null ? found.next : after; // it can be tried again
    byId("past-more").hidden = !this._next;
    tell(byId("past-none"), problem ?? (this._entries.length ? "" : "No call was found."));
  }
}

/** Who called whom. */
export const numbers = ({ caller, called }) => `${phoneNumber(caller)} → ${phoneNumber(called)}`;

function when(began) {
  const date = new Date(began);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString([], { dateStyle: "short", timeStyle: "short" });
}

/** What does not change in a list while the call goes on. */
const known = ({ caller, called, handler }, id) => ({ id, caller, called, handler });

let current = null;

/** Marks the call that is shown. */
export function markCurrent(id) {
  current = id;
  for (const button of document.querySelectorAll(".calls button")) button.ariaCurrent = String(button.dataset.id === id);
}

/** A list whose entries stay where they are while they are there: one may have the focus, or be under a finger. */
class CallList {
  constructor(list, open) {
    this._list = list;
    this._open = open;
    this._items = new Map(); // by what identifies a call: {shows, item}
  }

  show(entries) {
    const before = this._items;
    this._items = new Map();
    for (const entry of entries) {
      const shows = JSON.stringify(entry);
      let key = entry.call.id ?? shows;
      while (this._items.has(key)) key += " and another";
      const { shows: shown, item = element("li", {}, element("button", { type: "button" })) } = before.get(key) ?? {};
      if (shown !== shows) this._fill(item.firstChild, entry);
      this._items.set(key, { shows, item });
    }
    const items = [...this._items.values()].map(({ item }) => item);
    const wanted = new Set(items);
    for (const item of [...this._list.children]) if (!wanted.has(item)) item.remove();
    items.forEach((item, index) => {
      const there = this._list.children[index];
      if (there !== item) this._list.insertBefore(item, there ?? null);
    });
  }

  _fill(button, { call, more, wrong }) {
    const { id } = call;
    const inside = [numbers(call), element("small", { text: id === null ? `${more} · nothing was kept to show` : more })];
    if (wrong) inside.push(element("small", { class: "wrong", text: wrong }));
    button.replaceChildren(...inside);
    button.disabled = id === null;
    if (id !== null) button.dataset.id = id;
    button.ariaCurrent = String(id !== null && id === current);
    button.onclick = () => this._open(call);
  }
}
