// Turns, with their stages as bars: where the time between the caller's last word and the answer goes.

import { drawn, element } from "./elements.js";

const STAGES = [
  ["end_of_turn", "end of turn"],
  ["transcript", "transcript"],
  ["first_token", "first token"],
  ["audio_sent", "sent"],
  ["audio_heard", "heard"],
];

export class Turns {
  constructor(table, legend) {
    this._table = table;
    this._count = -1;
    legend.replaceChildren(...STAGES.map(([, name], index) => element("li", { class: `stage-${index + 1}`, text: name })));
  }

  clear() {
    this._count = -1;
    this._table.replaceChildren();
  }

  draw(trace) {
    if (trace.turns.length === this._count) return;
    this._count = trace.turns.length;
    const longest = Math.max(1, ...trace.turns.flatMap((turn) => STAGES.map(([stage]) => turn[stage] ?? 0)));
    const head = element("tr", {}, element("th", { scope: "col", text: "turn" }), ...STAGES.map(([, name]) => element("th", { scope: "col", text: name })));
    this._table.replaceChildren(
      element("thead", {}, head),
      ...trace.turns.map((turn) => element("tbody", {}, row(turn), bars(turn, longest))),
    );
  }
}

function row(turn) {
  const name = turn.number === 0 ? "greeting" : String(turn.number);
  const cells = STAGES.map(([stage]) => element("td", { text: turn[stage] === undefined ? "–" : turn[stage].toFixed(2) }));
  const failed = turn.error ? element("span", { class: "wrong", text: " failed" }) : turn.interrupted ? element("small", { text: " interrupted" }) : "";
  return element("tr", {}, element("th", { scope: "row" }, name, failed), ...cells);
}

/** Stages one behind the other, each from the end of the one before it. Those that are known already are in the row. */
function bars(turn, longest) {
  const picture = drawn("svg", { class: "stages", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let from = 0;
  STAGES.forEach(([stage], index) => {
    const until = turn[stage];
    if (until === undefined || until <= from) return;
    const x = (100 * from) / longest;
    picture.append(drawn("rect", { class: `stage-${index + 1}`, x, y: 0, height: 10, width: (100 * (until - from)) / longest }));
    from = until;
  });
  return element("tr", { "aria-hidden": "true" }, element("td", { colspan: STAGES.length + 1 }, picture));
}
