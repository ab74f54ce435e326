// Asks the server, with its token if it wants one.

const KEPT = "mediaserver-token";

/** What the server answered instead of what was asked for. */
export class Refused extends Error {
  constructor(status, problem, hint) {
    super(hint ? `${problem}: ${hint}` : problem);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

export function hasToken() {
  return sessionStorage.getItem(KEPT) !== null;
}

/** Returns the Response to a request. Throws Refused, also if nobody answers. */
export async function ask(address, signal, method = "GET") {
  const token = sessionStorage.getItem(KEPT);
  let response;
  try {
    // A browser writes each status from 400 on to the console: the server is asked to put it into a header.
    const headers = { "x-quiet-refusals": "1", ...(token && { authorization: `Bearer ${token}` }) };
    response = await fetch(address, { method, signal, cache: "no-store", headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer", "is it still running?");
  }
  const status = Number(response.headers.get("x-refused") ?? response.status);
  if (status < 400) return response;
  let said = {};
  try {
    said = await response.json();
  } catch {
    // What is between the page and the server may answer anything.
  }
  throw new Refused(status, said.error ?? `HTTP ${status}`, said.hint);
}

export async function askJson(address, signal) {
  return (await ask(address, signal)).json();
}
