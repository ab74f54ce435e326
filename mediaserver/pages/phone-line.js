// The line of the phone: a WebSocket to the sandbox, in a worker. The worklets of microphone and speaker are joined to
// it directly, so that no audio waits while the page draws.
//
// Text frames are JSON, binary frames 16-bit samples at 16 kHz, little-endian: 8 ms to the sandbox, 20 ms from it.

/** Seconds until it connects again; the server may only be starting. */
const RECONNECT = 1;

/** Bytes that may wait in the socket; audio behind them would come too late to be of use. */
const MOST_WAITING = 32000;

/** Pieces of the microphone between two levels that are told: 48 ms, which looks smooth. */
const PIECES_A_LEVEL = 6;

/** Tells the page `{connected}`, whether it is; `{told}`, what the server says; and `{level}` of the microphone, 0 to 1. */
class PhoneLine {
  constructor() {
    this._socket = null;
    this._speaker = null; // the port of its worklet
    this._microphone = null;
    this._muted = false;
    this._pieces = 0;
    this._loudest = 0; // since the last level
  }

  /** Connects, and again whenever the connection is lost. */
  connect(address) {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => postMessage({ connected: true });
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") postMessage({ told: JSON.parse(data) });
      else this._speaker?.postMessage(data, [data]);
    };
    socket.onclose = () => {
      postMessage({ connected: false });
      setTimeout(() => this.connect(address), RECONNECT * 1000);
    };
    this._socket = socket;
  }

  ask(request) {
    if (this._socket.readyState === WebSocket.OPEN) this._socket.send(JSON.stringify(request));
  }

  mute(on) {
    this._muted = on;
  }

  speaker(port) {
    this._speaker = port;
  }

  microphone(port) {
    this._microphone = port;
    port.onmessage = ({ data }) => this._speak(data);
  }

  /** Lets go of both. */
  close() {
    this._speaker?.close();
    this._microphone?.close();
    this._speaker = this._microphone = null;
    this._pieces = this._loudest = 0;
  }

  _speak({ frame, loudest }) {
    this._loudest = Math.max(this._loudest, loudest);
    this._pieces += 1;
    if (this._pieces === PIECES_A_LEVEL) {
      postMessage({ level: this._muted ? 0 : this._loudest });
      this._pieces = this._loudest = 0;
    }
    const socket = this._socket;
    if (this._muted || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MOST_WAITING) return;
    socket.send(frame);
  }
}

const line = new PhoneLine();

onmessage = ({ data }) => {
  const [[what, value]] = Object.entries(data);
  line[what](value);
};
