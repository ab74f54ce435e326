// Turns, with their stages as bars: where the time between the caller's last word and the answer goes.

import { drawn, element } from "./elements.js";

const STAGES = [
  ["end_of_turn", "end of turn"],
  ["transcript", "transcript"],
  ["first_token", "first token"],
  ["audio_sent", "sent"],
  ["audio_heard", "heard"],
];

/** Turns that are shown, the latest. */
const MOST = 500;

export class Turns {
  constructor(table, none) {
    this._table = table;
    this._none = none;
    this.clear();
  }

  clear() {
    this._count = 0;
    this._pictures = [];
    this._longest = 1; // seconds: the width of a picture
    this._table.replaceChildren();
    this._table.hidden = true;
    this._none.hidden = false;
  }

  draw({ turns }) {
    if (turns.length === this._count) return;
    if (!this._count) this._begin();
    const place = this._table.parentElement;
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    const longest = this._longest;
    for (const turn of turns.slice(Math.max(this._count, turns.length - MOST))) {
      const picture = bars(turn);
      this._pictures.push(picture);
      this._longest = Math.max(this._longest, ...STAGES.map(([stage]) => turn[stage] ?? 0));
      scale(picture, this._longest);
      this._table.append(element("tbody", {}, row(turn), element("tr", { "aria-hidden": "true" }, element("td", { colspan: STAGES.length + 1 }, picture))));
    }
    this._count = turns.length;
    for (; this._pictures.length > MOST; this._pictures.shift()) this._table.tBodies[0].remove();
    if (this._longest > longest) for (const picture of this._pictures) scale(picture, this._longest);
    if (atEnd) place.scrollTop = place.scrollHeight;
  }

  _begin() {
    const names = STAGES.map(([, name], index) => element("th", { scope: "col", class: `stage-${index + 1}`, text: name }));
    this._table.append(element("thead", {}, element("tr", {}, element("th", { scope: "col", text: "turn" }), ...names)));
    this._table.hidden = false;
    this._none.hidden = true;
  }
}

function row(turn) {
  const name = turn.number === 0 ? "greeting" : String(turn.number);
  const cells = STAGES.map(([stage]) => element("td", { text: turn[stage] == null ? "–" : turn[stage].toFixed(2) }));
  const how = turn.error ? element("small", { class: "wrong", text: " failed" }) : turn.interrupted ? element("small", { text: " interrupted" }) : "";
  return element("tr", {}, element("th", { scope: "row" }, name, how), ...cells);
}

/** Stages one behind the other, each from the end of the one before it. Those that are known already are in the row. */
function bars(turn) {
  const picture = drawn("svg", { class: "stages", preserveAspectRatio: "none", "aria-hidden": "true" });
  let from = 0;
  STAGES.forEach(([stage], index) => {
    const until = turn[stage];
    if (until == null || until <= from) return;
    picture.append(drawn("rect", { class: `stage-${index + 1}`, x: from, y: 0, height: 1, width: until - from }));
    from = until;
  });
  return picture;
}

const scale = (picture, longest) => picture.setAttribute("viewBox", `0 0 ${longest} 1`);
