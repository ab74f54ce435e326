// Makes elements. Text is always text: what a caller or a service said is never read as HTML.

/** element("p", {class: "wrong", text: "…", hidden: true}, child, …) */
export function element(name, settings = {}, ...children) {
  const made = document.createElement(name);
  set(made, settings);
  made.append(...children);
  return made;
}

export function drawn(name, settings = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(made, settings);
  made.append(...children);
  return made;
}

function set(made, settings) {
  for (const [name, value] of Object.entries(settings)) {
    if (name === "text") made.textContent = value;
    else if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
}

/** Letters above which a text is folded, and those that are seen of it then. */
const LONG = 300;
const BEGINNING = 100;

/** An element with a text; a long one is folded, and shows its beginning. */
export function foldable(name, text, settings = {}) {
  const whole = element(name, { ...settings, text });
  if (text.length <= LONG) return whole;
  const beginning = element(name, { ...settings, text: `${text.slice(0, BEGINNING)} …` });
  return element("details", { class: "folded" }, element("summary", {}, beginning), whole);
}

export const byId = (id) => document.getElementById(id);

/** A time of a call, for people: 65.25 → "1:05.2". */
export function clock(seconds) {
  const tenths = Math.floor(Math.max(0, seconds) * 10 + 1e-6);
  const rest = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  return `${Math.floor(tenths / 600)}:${rest}`;
}

/** A length, for people: 0.0042 → "4 ms", 3.25 → "3.25 s". */
export const length = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`);

/** A number as people write it: the wire leaves out the plus. */
export const phoneNumber = (number) => (/^\d{8,15}$/.test(number ?? "") ? `+${number}` : number || "unknown");

/** A <time> for it. */
export const timeOf = (seconds) => element("time", { text: clock(seconds), datetime: `PT${Math.max(0, seconds).toFixed(2)}S` });

/** Shows a text in an element that is hidden while there is none. */
export function tell(place, text) {
  if (place.textContent !== (text ?? "")) place.textContent = text ?? ""; // a screen reader reads each change
  place.hidden = !text;
}
