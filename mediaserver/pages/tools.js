// The tools that the agent used, with what it asked and what came back.

import { element, timeOf } from "./elements.js";

export class Tools {
  constructor(list, none) {
    this._list = list;
    this._none = none;
    this._shown = "";
  }

  clear() {
    this._shown = "";
    this._list.replaceChildren();
    this._none.hidden = false;
  }

  draw(trace) {
    const shown = `${trace.tools.length} ${trace.tools.filter((tool) => tool.until !== null).length}`;
    if (shown === this._shown || !trace.tools.length) return;
    this._shown = shown;
    this._none.hidden = true;
    this._list.replaceChildren(...trace.tools.map(entry));
  }
}

function entry(tool) {
  const took = tool.until === null ? "runs" : `${(tool.until - tool.at).toFixed(2)} s`;
  const made = element("li", {}, element("b", { text: tool.name }), timeOf(tool.at), ` ${took}`, element("code", { text: tool.asked }));
  if (tool.result !== null) made.append(element("code", { class: tool.error ? "wrong" : null, text: `${tool.error ? "failed: " : "→ "}${tool.result}` }));
  return made;
}
