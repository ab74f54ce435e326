// The phone: microphone and speaker of the browser, joined to a line of the sandbox by `phone-line.js`, a worker.

const RATE = 16000; // Hz of both

/** Seconds that opening the speaker may take. */
const OPENING = 2;

/**
 * Sends `told` events, whose detail is what the server says; `connected`, whose detail tells whether
 * it is; `level` of the microphone, 0 to 1; and `problem`, a text.
 */
export class Phone extends EventTarget {
  /** @param {URL} address of the WebSocket. */
  constructor(address) {
    super();
    this._address = address.href;
    this._line = new Worker(new URL("phone-line.js", import.meta.url), { type: "module" });
    this._line.onmessage = ({ data }) => this._take(data);
    this._line.onerror = () => this._tell("problem", "The phone does not run in this browser: it needs workers that are modules.");
    this._connected = false;
    this._context = null;
    this._microphone = null;
    this._muted = false;
    this.underruns = 0; // times that the speaker had nothing to play
  }

  /** Whether the microphone is muted. */
  get muted() {
    return this._muted;
  }

  set muted(on) {
    this._muted = on;
    this._line.postMessage({ mute: on });
  }

  /** Connects, and again whenever the connection is lost. */
  connect() {
    this._line.postMessage({ connect: this._address });
  }

  /** Asks the server to do something. Returns whether it could be asked. */
  ask(what, details = {}) {
    if (this._connected) this._line.postMessage({ ask: { do: what, ...details } });
    return this._connected;
  }

  /** Opens speaker and microphone. Must follow a click: browsers play nothing before. */
  async open() {
    if (this._context) return;
    if (!isSecureContext) {
      this._tell("problem", PROBLEMS.SecurityError);
      return;
    }
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this._context = context;
    await context.audioWorklet.addModule(new URL("speaker-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "speaker", { numberOfInputs: 0, outputChannelCount: [2] });
    node.port.onmessage = () => { this.underruns += 1; };
    node.connect(context.destination);
    this._join(node, "speaker");
    // Without a device for it, some browsers never do.
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, OPENING * 1000))]);
    if (context.state === "suspended") this._tell("problem", PROBLEMS.suspended);
    try {
      await this._openMicrophone(context);
    } catch (error) {
      this._tell("problem", microphoneProblem(error));
    }
  }

  async _openMicrophone(context) {
    if (!navigator.mediaDevices) throw new Error("this browser gives it to no page");
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
    const audio = { echoCancellation: true, noiseSuppression: false, autoGainControl: true, channelCount: 1 };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    if (this._context !== context) { // it was closed meanwhile
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this._microphone = stream;
    // It is pulled out, or the browser is told to allow it no more; not if it is closed here.
    stream.getTracks().forEach((track) => { track.onended = () => this._tell("problem", PROBLEMS.ended); });
    const node = new AudioWorkletNode(context, "microphone", { channelCount: 1, channelCountMode: "explicit" });
    node.connect(context.destination); // it is silent, but a node that leads nowhere may not run
    this._join(node, "microphone");
    context.createMediaStreamSource(stream).connect(node);
  }

  /** Closes both: the browser shows no open microphone. */
  close() {
    this._microphone?.getTracks().forEach((track) => track.stop());
    this._context?.close();
    this._context = this._microphone = null;
    this._line.postMessage({ close: true });
    this._tell("level", 0);
  }

  /** Joins a worklet to the line. */
  _join(node, name) {
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage({ line: port1 }, [port1]);
    this._line.postMessage({ [name]: port2 }, [port2]);
  }

  _take(message) {
    const [[what, detail]] = Object.entries(message);
    if (what === "connected") this._connected = detail;
    if (what !== "level" || this._context) this._tell(what, detail); // a level may come after the end
  }

  _tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
}

/** What one can do where there is no sound, by the name of the error. Calls go on without. */
const PROBLEMS = {
  NotAllowedError: "The browser was not allowed to use the microphone: the agent hears silence. Allow it beside the address of the page, or in the settings of the system, and call again.",
  NotFoundError: "There is no microphone: the agent hears silence. Connect one and call again; the keys work without.",
  NotReadableError: "Another program holds the microphone: the agent hears silence. Close it and call again.",
  NotSupportedError: "This browser cannot bring its microphone to 16 kHz: the agent hears silence. Chromium and Safari can.",
  SecurityError: `Browsers give sound to pages of this machine or by https only: you hear nothing, and the agent hears silence. Open the page as ${new URL("/", `http://localhost:${location.port}`)}, from another machine through ssh -L.`,
  suspended: "The browser plays nothing: is there a loudspeaker or a headphone? Until then you hear nothing, and the agent may hear silence.",
  ended: "The microphone is gone: the agent hears silence. Connect or allow it, and call again.",
};

function microphoneProblem(error) {
  return PROBLEMS[error.name] ?? `The microphone could not be opened: ${error.message || error.name}. The agent hears silence.`;
}
