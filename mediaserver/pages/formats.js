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

// Plain loops: a call has fifty payloads a second on each side, and one that is over comes all at once.

function decodeMulaw(base64) {
  const bytes = atob(base64);
  const samples = new Float32Array(bytes.length);
  for (let at = 0; at < samples.length; at++) samples[at] = MULAW[bytes.charCodeAt(at)];
  return samples;
}

function decodeLinear(base64) {
  // Little-endian, unlike the registered audio/L16.
  const bytes = atob(base64);
  const samples = new Float32Array(bytes.length >> 1);
  for (let at = 0; at < samples.length; at++) {
    samples[at] = (((bytes.charCodeAt(2 * at) | (bytes.charCodeAt(2 * at + 1) << 8)) << 16) >> 16) / 32768;
  }
  return samples;
}
