// The page: what this server offers, and which call is shown.

import { CallView } from "./call-view.js";
import { LiveCalls, PastCalls } from "./calls.js";
import { byId, tell } from "./elements.js";
import { PhonePanel } from "./phone-panel.js";
import { ask, askJson, keepToken } from "./server.js";
import { readLines } from "./trace.js";

/** Seconds after which the state of the agent is asked for again when the server is away. */
const AGAIN = 1;

const STATES = { starting: "The agent starts …", ready: "The agent is ready.", failed: "The agent does not start.", stopped: "The agent is stopped." };

async function start() {
  let offers;
  try {
    offers = await askJson("page.json");
  } catch (error) {
    if (error.status === 401) askForToken(error);
    else tell(byId("agent-problem"), error.message);
    return;
  }
  byId("token-form").hidden = true;
  byId("aside").hidden = byId("call").hidden = false;
  if (offers.title) document.title = `${offers.title} – mediaserver`;
  tell(byId("agent-state"), offers.title);
  const view = new CallView(offers.audio === true);
  const open = (kind) => (id) => {
    history.replaceState(null, "", `#${kind}/${encodeURIComponent(id)}`);
    byId("call").focus({ preventScroll: false });
    return view[kind](id);
  };
  const live = new LiveCalls(open("live"));
  live.pauses = offers.phone === true;
  live.watch();
  if (offers.past) {
    byId("past-section").hidden = false;
    new PastCalls(open("past")).search();
  }
  if (offers.phone) {
    new PhonePanel({ called: (id) => view.live(id, true), measured: (told) => view.measured(told) });
    watchAgent(offers.title, live);
  }
  const wanted = /^#(live|past)\/(.+)$/.exec(location.hash);
  if (wanted) view[wanted[1]](decodeURIComponent(wanted[2]));
  globalThis.mediaserverView = view; // for the console
}

function askForToken(error) {
  byId("token-form").hidden = false;
  byId("aside").hidden = byId("call").hidden = true;
  tell(byId("token-problem"), sessionStorage.length ? error.message : "");
  byId("token-form").onsubmit = (event) => {
    event.preventDefault();
    keepToken(byId("token").value.trim());
    start();
  };
}

/** Shows whether the agent runs, and why it does not; it may be changed at any time. */
async function watchAgent(title, live) {
  for (;;) {
    try {
      const { body } = await ask("/agent");
      for await (const { state, problem } of readLines(body)) {
        tell(byId("agent-state"), `${title}: ${STATES[state] ?? state}`);
        tell(byId("agent-problem"), problem);
        live.pauses = state !== "ready";
      }
    } catch {
      tell(byId("agent-state"), "The server does not answer: is it still running?");
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN * 1000));
  }
}

start();
