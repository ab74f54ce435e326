// The four formats of Plivo's streams: payloads in base64 → samples from -1 to 1.

const MULAW = Float32Array.from({ length: 256 }, (_, byte) => {
  // ITU-T G.711, µ-law.
  const code = ~byte & 0xff;
  const magnitude = (((code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4);
  return ((code & 0x80 ? 0x84 - magnitude : magnitude - 0x84)) / 32768;
});

/** Returns {rate, decode}; decode takes base64 and returns a Float32Array. Null if it is unknown. */
export function audioFormat(contentType) {
  const [name, parameter = ""] = String(contentType).split(";");
  const rate = Number(parameter.split("=")[1] ?? 8000);
  if (name === "audio/x-mulaw") return { rate, decode: decodeMulaw };
  if (name === "audio/x-l16") return { rate, decode: decodeLinear };
  return null;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function decodeMulaw(base64) {
  return Float32Array.from(bytesOf(base64), (byte) => MULAW[byte]);
}

function decodeLinear(base64) {
  // Little-endian, unlike the registered audio/L16.
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, at) => view.getInt16(2 * at, true) / 32768);
}
