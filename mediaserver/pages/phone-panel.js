// The phone as people see it: numbers, buttons, keys and troubles.

import { byId, element, phoneNumber, tell } from "./elements.js";
import { Phone } from "./phone.js";
import { Troubles } from "./troubles.js";

const KEYS = "123456789*0#";
const FIELDS = ["from", "caller-name", "to", "format"];

export class PhonePanel {
  /**
   * @param {{called: (id: string, known: object) => void, measured: (told: object) => void, ended: (id: string) => void}} listener
   *   is told of calls, of what the phone measures, and of their ends.
   * @param {string[]} paths of the streams, if handlers have one each.
   */
  constructor(listener, paths) {
    this._listener = listener;
    this._phone = new Phone(new URL("/phone", location.href.replace(/^http/, "ws")));
    globalThis.mediaserverPhone = this._phone; // for the console
    this._troubles = new Troubles(byId("troubles"), (what, details) => this._phone.ask(what, details));
    this._connected = false;
    this._agent = "ready"; // or why no call can be placed
    this._state = "idle"; // ringing, incoming, up
    this._opening = false; // whether the browser may ask for the microphone
    this._words = "";
    this._held = false;
    this._title = document.title;
    this._own = ""; // how the server names this side of the call
    byId("path-field").hidden = !paths.length;
    byId("path").value = paths[0] ?? "";
    byId("paths").replaceChildren(...paths.map((value) => element("option", { value })));
    byId("phone").hidden = false;
    this._listen();
    this._show();
    this._phone.connect();
  }

  /** Takes the state of the agent. */
  agent(state) {
    this._agent = state;
    this._show();
  }

  _listen() {
    const phone = this._phone;
    phone.addEventListener("connected", ({ detail }) => this._connect(detail));
    phone.addEventListener("told", ({ detail }) => this._take(detail));
    phone.addEventListener("problem", ({ detail }) => tell(byId("phone-problem"), detail));
    phone.addEventListener("level", ({ detail }) => { byId("microphone-level").value = detail; });
    for (const id of FIELDS) keep(byId(id));
    byId("dial-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._begin("dial", this._numbers());
    });
    byId("call-me").addEventListener("click", () => {
      const { from, to, ...more } = this._numbers();
      this._begin("call me", { from: to, to: from, ...more });
    });
    byId("answer").addEventListener("click", () => this._begin("answer"));
    byId("hang-up").addEventListener("click", () => phone.ask(this._state === "incoming" ? "reject" : "hangup"));
    byId("mute").addEventListener("click", () => { phone.muted = !phone.muted; this._show(); });
    byId("hold").addEventListener("click", () => phone.ask("hold", { on: !this._held }));
    byId("keypad").append(...[...KEYS].map((key) => element("button", { type: "button", text: key, click: () => phone.ask("digit", { digit: key }) })));
    addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, select, textarea");
      if (this._state !== "up" || typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.length === 1 && KEYS.includes(event.key)) phone.ask("digit", { digit: event.key });
    });
  }

  _numbers() {
    const [from, to, format, name, path] = ["from", "to", "format", "caller-name", "path"].map((id) => byId(id).value.trim());
    return { from, to, format, ...(name && { name }), ...(path && { path }) };
  }

  async _begin(what, details) {
    if (this._opening) return;
    const phone = this._phone;
    const before = this._state;
    tell(byId("phone-problem"), "");
    this._opening = true;
    this._show();
    try {
      await phone.open();
    } catch (error) {
      tell(byId("phone-problem"), `The speaker could not be opened: ${error.message}`);
    }
    this._opening = false;
    if (this._state === before && !phone.ask(what, details)) {
      tell(byId("phone-problem"), "The phone is not connected to the server: is it still running?");
    }
    this._show();
  }

  _connect(connected) {
    this._connected = connected;
    if (!connected) this._over("");
    this._show();
  }

  _take(told) {
    const takes = {
      ready: () => this._troubles.offer(told.noises ?? []),
      ringing: () => this._call(told, "ringing", `Calling ${told.to} …`, "Caller"),
      incoming: () => this._call(told, "incoming", `${told.name || phoneNumber(told.from)} is calling`, "Callee"),
      answered: () => this._call(told, "up", "In a call"),
      held: () => { this._held = told.on; this._words = told.on ? "On hold" : "In a call"; },
      ended: () => {
        this._over(`The call is over: ${told.why || `${told.cause ?? "hung up"}${this._by(told.by)}`}`);
        this._listener.ended(told.call);
      },
      measured: () => this._listener.measured(told),
      error: () => { tell(byId("phone-problem"), told.error); if (this._state === "idle") this._over(""); },
    };
    if (Object.hasOwn(takes, told.what)) takes[told.what]();
    if (told.what !== "measured") this._show();
  }

  _call(told, state, words, own = this._own) {
    this._state = state;
    this._words = words;
    this._own = own;
    if (told.call) this._listener.called(told.call, { caller: told.from, called: told.to });
  }

  _by(party) {
    if (party === this._own) return ", by you";
    return ["Caller", "Callee", "API Request", "Answer XML"].includes(party) ? ", by the agent" : "";
  }

  _over(words) {
    this._state = "idle";
    this._words = words;
    this._held = false;
    this._phone.muted = false;
    this._phone.close();
  }

  _show() {
    const focused = document.activeElement;
    const state = this._state;
    const idle = state === "idle";
    const place = byId("phone-state");
    const up = this._opening ? "Opening the microphone: allow it if the browser asks" : this._words || "Ready";
    const words = this._connected ? up : "Not connected";
    if (place.textContent !== words) place.textContent = words; // a screen reader reads each change
    document.title = state === "incoming" ? `☎ ${words}` : this._title; // for who looks at another tab
    place.dataset.state = this._connected ? (this._held ? "held" : state) : "away";
    for (const id of ["dial", "call-me"]) {
      byId(id).hidden = !idle;
      byId(id).disabled = !this._connected || this._agent !== "ready";
    }
    byId("dial-fields").hidden = !idle;
    byId("answer").hidden = state !== "incoming";
    byId("hang-up").hidden = idle;
    byId("hang-up").textContent = state === "incoming" ? "Reject" : "Hang up";
    byId("in-call").hidden = state !== "up";
    byId("mute").setAttribute("aria-pressed", this._phone.muted);
    byId("hold").setAttribute("aria-pressed", this._held);
    // A button that goes while it has the focus gives it to the one that comes in its place.
    if (byId("phone").contains(focused) && !focused.checkVisibility()) {
      ["answer", "hang-up", "dial"].map(byId).find((button) => !button.hidden)?.focus();
    }
  }
}

/** Keeps what is in a field, in the browser, over a reload of the page. */
function keep(field) {
  const name = `mediaserver-${field.id}`;
  try {
    field.value = localStorage.getItem(name) ?? field.value;
    field.addEventListener("change", () => localStorage.setItem(name, field.value));
  } catch {
    // The browser keeps nothing.
  }
}
