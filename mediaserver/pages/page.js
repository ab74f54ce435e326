// The page: what this server offers, and which call is shown.

import { CallView } from "./call-view.js";
import { LiveCalls, PastCalls } from "./calls.js";
import { byId, tell } from "./elements.js";
import { PhonePanel } from "./phone-panel.js";
import { ask, askJson, hasToken, keepToken } from "./server.js";
import { readLines } from "./trace.js";

/** Seconds after which the state of the agent is asked for again when the server is away. */
const RETRY = 1;

/** Seconds after the end of a call until it is among the past ones. */
const UNTIL_KEPT = 2;

const STATES = { starting: "The agent starts …", ready: "The agent is ready.", failed: "The agent does not run.", stopped: "The agent is stopped." };

async function start() {
  let offers;
  try {
    offers = await askJson("page.json");
  } catch (error) {
    byId("agent-fault").hidden = false;
    tell(byId("agent-problem"), error.message);
    return;
  }
  if (offers.token) {
    askForToken();
    return;
  }
  byId("token-page").hidden = true;
  byId("calls").hidden = byId("call").hidden = false;
  if (offers.title) document.title = `${offers.title} – mediaserver`;
  tell(byId("agent-state"), offers.title);
  byId("words-hidden").hidden = offers.words !== false;
  const past = offers.past ? new PastCalls((call) => open("past", call)) : null;
  // A call that has just ended is among those of the past soon; if the agent is away, once it is back.
  const shows = { audio: offers.audio === true, atOnce: offers.mode === "dev", past: past !== null };
  const view = new CallView(shows, () => setTimeout(() => live.pauses || past?.search(), UNTIL_KEPT * 1000));
  const open = (kind, { id, ...known }) => {
    history.replaceState(null, "", `#${kind}/${encodeURIComponent(id)}`);
    byId("call").focus({ preventScroll: false });
    return view[kind](id, known);
  };
  const live = new LiveCalls((call) => open("live", call));
  byId("past-section").hidden = past === null;
  byId("past-fault").parentElement.hidden = offers.records === false; // only a record says what was wrong
  byId("past-filters").open = !offers.phone; // one's own calls are few
  if (offers.phone) {
    live.pauses = true;
    const panel = new PhonePanel({
      called: (id, known) => view.live(id, { ...known, own: true }),
      measured: (told) => view.measured(told),
      ended: (id) => view.ended(id),
    }, offers.paths ?? []);
    byId("agent-again").addEventListener("click", () => ask("/agent/start", undefined, "POST"));
    watchAgent(offers.title, (state) => {
      panel.agent(state);
      live.pauses = state !== "ready";
      if (state === "ready") past?.search();
    });
  } else {
    past?.search();
  }
  live.watch();
  const openWanted = () => {
    const [, kind, id] = /^#(live|past)\/(.+)$/.exec(location.hash) ?? [];
    if (kind) view[kind](unescaped(id));
  };
  addEventListener("hashchange", openWanted);
  openWanted();
  globalThis.mediaserverView = view; // for the console
}

function unescaped(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // It was cut, or written by hand.
  }
}

function askForToken() {
  byId("token-page").hidden = false;
  byId("calls").hidden = byId("call").hidden = true;
  tell(byId("token-problem"), hasToken() ? "This is not the server's token." : "");
  byId("token-form").onsubmit = async (event) => {
    event.preventDefault();
    keepToken(byId("token").value.trim());
    await start();
    if (byId("token-page").hidden) byId("call").focus(); // the field is gone
  };
}

/** Shows whether the agent runs, and why it does not; it may be changed at any time. */
async function watchAgent(title, told) {
  const show = (state, words, problem = "") => {
    byId("agent-state").dataset.state = state;
    tell(byId("agent-state"), words);
    tell(byId("agent-problem"), problem);
    byId("agent-again").hidden = state !== "failed";
    byId("agent-fault").hidden = !problem;
    told(state);
  };
  for (;;) {
    // A browser has six connections to a server at most, for all tabs: those that nobody sees need none.
    await seen();
    const looking = new AbortController();
    const { signal } = looking;
    document.addEventListener("visibilitychange", () => looking.abort(), { signal });
    try {
      const { body } = await ask("/agent", signal);
      for await (const { state, problem } of readLines(body)) show(state, `${title}: ${STATES[state] ?? state}`, problem);
    } catch {
      if (!signal.aborted) show("away", "The server does not answer: is it still running?");
    }
    looking.abort();
    await new Promise((resolve) => setTimeout(resolve, RETRY * 1000));
  }
}

/** Waits until somebody sees the page. */
async function seen() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

start();
