// The drawer of troubles: what goes wrong on the line and on the network, in the middle of a call.

import { element } from "./elements.js";

export class Troubles {
  /** @param {HTMLDetailsElement} drawer @param {(what: string, details: object) => void} ask asks the phone. */
  constructor(drawer, ask) {
    const form = drawer.querySelector("form");
    this._summary = drawer.querySelector("summary");
    this._form = form;
    this._ask = ask;
    const slider = (name, label, least, most, step, unit, value = 0) => {
      const output = element("output", { for: `trouble-${name}`, text: `${value} ${unit}` });
      const input = element("input", {
        id: `trouble-${name}`, name, type: "range", min: least, max: most, step, value,
        input: () => { output.textContent = `${input.value} ${unit}`; },
      });
      return element("div", {}, element("label", { for: `trouble-${name}` }, `${label}: `, output), input);
    };
    this.noise = element("select", { id: "trouble-noise", name: "noise" });
    this.noise.append(element("option", { value: "", text: "none" }));
    form.append(
      element("div", { class: "fields" },
        slider("jitter", "Jitter", 0, 400, 10, "ms"),
        slider("loss", "Loss", 0, 30, 1, "%"),
        element("div", {}, element("label", { for: "trouble-noise", text: "Noise on the line" }), this.noise),
        slider("loudness", "Loudness of the noise", -70, -10, 1, "dBFS", -35),
        element("label", {}, element("input", { type: "checkbox", name: "silent" }), " The caller is silent"),
      ),
      element("div", { class: "buttons" },
        ...[1, 5].map((seconds) => element("button", { type: "button", text: `Stall for ${seconds} s`, click: () => ask("stall", { seconds }) })),
        element("button", { type: "reset", text: "No troubles" }),
      ),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => this._tell());
    form.addEventListener("reset", () => setTimeout(() => {
      for (const input of form.querySelectorAll("input[type=range]")) input.dispatchEvent(new Event("input"));
      this._tell();
    }));
  }

  /** Offers these kinds of noise, as the server names them, and tells it what is set: it may be another one. */
  offer(names) {
    const option = (value, text) => element("option", { value, text });
    const { value } = this.noise;
    this.noise.replaceChildren(option("", "none"), ...names.map((name) => option(name, name)));
    this.noise.value = names.includes(value) ? value : "";
    if (this.any) this._tell();
  }

  /** Whether anything is set. */
  get any() {
    const { jitter, loss, noise, silent } = this.set;
    return Boolean(jitter || loss || noise || silent);
  }

  /** What is set, as the phone takes it: seconds, shares, and dBFS. */
  get set() {
    const value = (name) => this._form.elements[name].value;
    return {
      jitter: value("jitter") / 1000,
      loss: value("loss") / 100,
      noise: value("noise"),
      noise_level: Number(value("loudness")),
      silent: this._form.elements.silent.checked,
    };
  }

  _tell() {
    this._summary.classList.toggle("on", this.any);
    this._ask("troubles", this.set);
  }
}
