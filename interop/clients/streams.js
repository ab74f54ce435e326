// The stream calls of the official Node SDK, one after the other; prints what came of each as JSON.
//
//     node streams.js SANDBOX_URL AUTH_ID AUTH_TOKEN CALL_UUID SERVICE_URL
const plivo = require("plivo");
// The one that the SDK uses.
const axios = require(require.resolve("axios", { paths: [require.resolve("plivo")] }));

const [sandbox, authId, authToken, call, service] = process.argv.slice(2);

// The SDK's address of Plivo cannot be set: everything else about its requests stays as it is.
const send = axios.getAdapter("http");
axios.defaults.adapter = (config) =>
  send({ ...config, url: config.url.replace("https://api.plivo.com", sandbox) });

const client = new plivo.Client(authId, authToken);
const stranger = new plivo.Client(authId, "wrong token");
const nobody = "00000000-0000-4000-8000-000000000000";
const results = {};

async function attempt(name, request) {
  try {
    results[name] = { ok: await request() };
  } catch (error) {
    // Its error classes do not survive its own build: all of them arrive as Error.
    results[name] = { error: error.status, text: error.message, api: error.apiID };
  }
  return results[name].ok;
}

// A stream that is stopped while it connects never starts: the server gets no `start` event.
async function started(id) {
  const deadline = Date.now() + 20_000;
  while ((await client.calls.getStream(call, id)).status !== "started") {
    if (Date.now() > deadline) throw new Error(`stream ${id} did not start within 20 s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function main() {
  const options = { bidirectional: true, contentType: "audio/x-mulaw;rate=8000", streamTimeout: 60 };
  const first = await attempt("stream", () => client.calls.stream(call, service, { ...options }));
  await attempt("started", () => started(first?.streamId));
  await attempt("again", () => client.calls.stream(call, service, { ...options }));
  await attempt("getStream", () => client.calls.getStream(call, first?.streamId));
  await attempt("getAllStream", () => client.calls.getAllStream(call));
  await attempt("stopStream", () => client.calls.stopStream(call, first?.streamId));
  await attempt("stopped", () => client.calls.getStream(call, first?.streamId));
  const second = await attempt("second", () => client.calls.stream(call, service, { ...options }));
  await attempt("secondStarted", () => started(second?.streamId));
  await attempt("stopAllStream", () => client.calls.stopAllStream(call));
  await attempt("all", () => client.calls.getAllStream(call));
  await attempt("unknown", () => client.calls.getStream(call, nobody));
  await attempt("gone", () => client.calls.stopStream(call, first?.streamId));
  await attempt("deadCall", () => client.calls.stream(nobody, service, { ...options }));
  await attempt("wrongUrl", () => client.calls.stream(call, "https://example.com/", {}));
  await attempt("stranger", () => stranger.calls.getAllStream(call));
  console.log(JSON.stringify(results));
}

main();
