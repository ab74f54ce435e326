// The phone: microphone and speaker of the browser, joined to a line of the sandbox by a WebSocket.
//
// Text frames are JSON, binary frames 16-bit samples at 16 kHz, little-endian: 8 ms to the sandbox, 20 ms from it.

const RATE = 16000;

/** Seconds until it connects again; the server may only be starting. */
const RECONNECT = 1;

/** Bytes that may wait in the socket; audio behind them would come too late to be of use. */
const MOST_WAITING = 32000;

/**
 * Sends `told` events, whose detail is what the server says; `connected`, whose detail tells whether
 * it is; `level` of the microphone, 0 to 1; and `problem`, a text.
 */
export class Phone extends EventTarget {
  /** @param {string} address of the WebSocket. */
  constructor(address) {
    super();
    this._address = address;
    this._socket = null;
    this._context = null;
    this._speaker = null;
    this._microphone = null;
    this.muted = false;
    this.framesSent = 0;
    this.framesHeard = 0;
    this.underruns = 0; // times that the speaker had nothing to play
  }

  /** Connects, and again whenever the connection is lost. */
  connect() {
    const socket = new WebSocket(this._address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this._tell("connected", true);
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this._tell("told", JSON.parse(data));
      else this._hear(data);
    };
    socket.onclose = () => {
      this._tell("connected", false);
      setTimeout(() => this.connect(), RECONNECT * 1000);
    };
    this._socket = socket;
  }

  /** Asks the server to do something. Returns whether it could be asked. */
  ask(what, details = {}) {
    if (this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(JSON.stringify({ do: what, ...details }));
    return true;
  }

  /** Opens speaker and microphone. Must follow a click: browsers play nothing before. */
  async open() {
    if (this._context) return;
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this._context = context;
    await context.audioWorklet.addModule(new URL("speaker-worklet.js", import.meta.url));
    this._speaker = new AudioWorkletNode(context, "speaker", { numberOfInputs: 0, outputChannelCount: [2] });
    this._speaker.port.onmessage = () => { this.underruns += 1; };
    this._speaker.connect(context.destination);
    await context.resume();
    try {
      await this._openMicrophone(context);
    } catch (error) {
      this._tell("problem", microphoneProblem(error));
    }
  }

  async _openMicrophone(context) {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
    const audio = { echoCancellation: true, noiseSuppression: false, autoGainControl: true, channelCount: 1 };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    if (this._context !== context) { // it was closed meanwhile
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this._microphone = stream;
    const node = new AudioWorkletNode(context, "microphone", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => this._speak(data);
    node.connect(context.destination); // it is silent, but a node that leads nowhere may not run
    context.createMediaStreamSource(stream).connect(node);
  }

  /** Closes both: the browser shows no open microphone. */
  close() {
    this._microphone?.getTracks().forEach((track) => track.stop());
    this._context?.close();
    this._context = this._speaker = this._microphone = null;
    this._tell("level", 0);
  }

  _speak({ frame, loudest }) {
    this._tell("level", this.muted ? 0 : loudest);
    const socket = this._socket;
    if (this.muted || socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > MOST_WAITING) return;
    socket.send(frame);
    this.framesSent += 1;
  }

  _hear(frame) {
    this.framesHeard += 1;
    this._speaker?.port.postMessage(frame, [frame]);
  }

  _tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
}

function microphoneProblem(error) {
  const reasons = {
    NotAllowedError: "The browser was not allowed to use the microphone: the agent hears silence. Allow it beside the address of the page, and call again.",
    NotFoundError: "There is no microphone: the agent hears silence.",
    NotReadableError: "Another program holds the microphone: the agent hears silence.",
    NotSupportedError: "This browser cannot bring its microphone to 16 kHz: the agent hears silence. Chromium and Safari can.",
    SecurityError: "The browser gives the microphone to pages on this machine or by https only: the agent hears silence.",
  };
  return reasons[error.name] ?? `The microphone could not be opened: ${error.message || error.name}. The agent hears silence.`;
}
