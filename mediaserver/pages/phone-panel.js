// The phone as people see it: numbers, buttons, keys and troubles.

import { byId, element, tell } from "./elements.js";
import { Phone } from "./phone.js";
import { Troubles } from "./troubles.js";

const KEYS = "123456789*0#";

export class PhonePanel {
  /** @param {{called: (id: string) => void, measured: (told: object) => void}} listener is told of calls, and of what the phone measures. */
  constructor(listener) {
    this._listener = listener;
    this._phone = new Phone(new URL("/phone", location.href.replace(/^http/, "ws")));
    globalThis.mediaserverPhone = this._phone; // for the console
    this._troubles = new Troubles(byId("troubles-form"), (what, details) => this._phone.ask(what, details));
    this._connected = false;
    this._state = "idle"; // ringing, incoming, up
    this._words = "";
    this._held = false;
    byId("phone").hidden = false;
    this._listen();
    this._show();
    this._phone.connect();
  }

  _listen() {
    const phone = this._phone;
    phone.addEventListener("connected", ({ detail }) => this._connect(detail));
    phone.addEventListener("told", ({ detail }) => this._take(detail));
    phone.addEventListener("problem", ({ detail }) => tell(byId("phone-problem"), detail));
    phone.addEventListener("level", ({ detail }) => { byId("microphone-level").value = detail; });
    byId("dial-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this._state === "idle") this._begin("dial", this._numbers());
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
      const typing = event.target.closest?.("input, select, textarea, canvas");
      if (this._state !== "up" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.length === 1 && KEYS.includes(event.key)) phone.ask("digit", { digit: event.key });
    });
  }

  _numbers() {
    return { from: byId("from").value, to: byId("to").value, format: byId("format").value };
  }

  async _begin(what, details) {
    tell(byId("phone-problem"), "");
    byId("dial").disabled = byId("call-me").disabled = true;
    try {
      await this._phone.open();
    } catch (error) {
      tell(byId("phone-problem"), `The speaker could not be opened: ${error.message}`);
    }
    if (!this._phone.ask(what, details)) tell(byId("phone-problem"), "The phone is not connected to the server: is it still running?");
    this._show();
  }

  _connect(connected) {
    this._connected = connected;
    if (!connected) this._over("");
    this._show();
  }

  _take(told) {
    const takes = {
      ready: () => this._troubles.noises(told.noises ?? []),
      ringing: () => this._call(told, "ringing", `Calling ${told.to} …`),
      incoming: () => this._call(told, "incoming", `${told.name || told.from} is calling`),
      answered: () => this._call(told, "up", "In a call"),
      held: () => { this._held = told.on; this._words = told.on ? "On hold" : "In a call"; },
      ended: () => this._over(`The call is over: ${told.cause ?? "hung up"}`),
      measured: () => this._listener.measured(told),
      error: () => { tell(byId("phone-problem"), told.error); if (this._state === "idle") this._over(""); },
    };
    if (Object.hasOwn(takes, told.what)) takes[told.what]();
    this._show();
  }

  _call(told, state, words) {
    this._state = state;
    this._words = words;
    if (told.call) this._listener.called(told.call);
  }

  _over(words) {
    this._state = "idle";
    this._words = words;
    this._held = false;
    this._phone.muted = false;
    this._phone.close();
  }

  _show() {
    const state = this._state;
    const idle = state === "idle";
    byId("phone-state").textContent = this._connected ? this._words || "Ready" : "Not connected";
    for (const id of ["dial", "call-me"]) {
      byId(id).hidden = !idle;
      byId(id).disabled = !this._connected;
    }
    byId("answer").hidden = state !== "incoming";
    byId("hang-up").hidden = idle;
    byId("hang-up").textContent = state === "incoming" ? "Reject" : "Hang up";
    byId("in-call").hidden = state !== "up";
    byId("mute").setAttribute("aria-pressed", this._phone.muted);
    byId("hold").setAttribute("aria-pressed", this._held);
  }
}
