// The other methods of the official Node SDK; prints what came of each as JSON.
//
//     node calls.js SANDBOX_URL AUTH_ID AUTH_TOKEN CALL_UUID ANSWER_URL
const plivo = require("plivo");
// The one that the SDK uses.
const axios = require(require.resolve("axios", { paths: [require.resolve("plivo")] }));

const [sandbox, authId, authToken, call, answer] = process.argv.slice(2);

// The SDK's address of Plivo cannot be set: everything else about its requests stays as it is.
const send = axios.getAdapter("http");
axios.defaults.adapter = (config) =>
  send({ ...config, url: config.url.replace("https://api.plivo.com", sandbox) });

const { calls, applications, numbers } = new plivo.Client(authId, authToken);
const results = {};

async function attempt(name, request) {
  try {
    results[name] = { ok: await request() };
  } catch (error) {
    results[name] = { error: error.status, text: error.message };
  }
  return results[name].ok;
}

// The record of a call is there once the call has ended.
async function ended() {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      return await calls.get(call);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function main() {
  const from = "+14155550100";
  await attempt("getLiveCall", () => calls.getLiveCall(call));
  await attempt("listLiveCalls", () => calls.listLiveCalls());
  await attempt("listQueuedCalls", () => calls.listQueuedCalls());
  await attempt("speakText", () => calls.speakText(call, "hello", { language: "en-US" }));
  await attempt("stopSpeakingText", () => calls.stopSpeakingText(call));
  await attempt("playMusic", () => calls.playMusic(call, answer, {}));
  await attempt("stopPlayingMusic", () => calls.stopPlayingMusic(call));
  await attempt("sendDigits", () => calls.sendDigits(call, "12", {}));
  await attempt("record", () => calls.record(call, { timeLimit: 5 }));
  await attempt("stopRecording", () => calls.stopRecording(call, {}));
  await attempt("transfer", () => calls.transfer(call, { legs: "aleg", alegUrl: answer }));
  await attempt("hangup", () => calls.hangup(call));
  await attempt("get", () => ended());
  await attempt("list", () => calls.list({ limit: 5, offset: 0 }));
  // Rings and is never answered.
  const other = await attempt("create", () =>
    calls.create(from, "+14155550480", answer, { answerMethod: "GET", ringTimeout: 60 }),
  );
  await attempt("cancel", () => calls.cancel(other?.requestUuid));
  const made = await attempt("createApplication", () =>
    applications.create("node", { answerUrl: answer }),
  );
  await attempt("getApplication", () => applications.get(made?.appId));
  await attempt("listApplications", () => applications.list({ limit: 5 }));
  await attempt("updateApplication", () => applications.update(made?.appId, { answerUrl: answer }));
  await attempt("updateNumber", () => numbers.update(from, { appId: made?.appId, alias: "a" }));
  await attempt("getNumber", () => numbers.get(from));
  await attempt("listNumbers", () => numbers.list());
  await attempt("deleteApplication", () => applications.delete(made?.appId));
  console.log(JSON.stringify(results));
}

main();
