"""Telephone audio: formats, G.711, L16, WAV and a streaming resampler.

Samples are ``numpy.int16`` arrays, one-dimensional for mono and ``(n, channels)`` otherwise.
Invalid audio and formats that this package does not support raise `AudioError`.
"""

from audiocodecs.errors import AudioError
from audiocodecs.formats import L16_8K, L16_16K, L16_24K, MULAW_8K, RATES, AudioFormat, Encoding
from audiocodecs.g711 import alaw_decode, alaw_encode, mulaw_decode, mulaw_encode
from audiocodecs.l16 import l16_decode, l16_encode
from audiocodecs.resampler import Resampler, resample
from audiocodecs.samples import Payload, Samples, silence
from audiocodecs.wav import Wav, WavReader, decode_wav, encode_wav, read_wav, write_wav


__all__ = [
    "L16_8K",
    "L16_16K",
    "L16_24K",
    "MULAW_8K",
    "RATES",
    "AudioError",
    "AudioFormat",
    "Encoding",
    "Payload",
    "Resampler",
    "Samples",
    "Wav",
    "WavReader",
    "alaw_decode",
    "alaw_encode",
    "decode_wav",
    "encode_wav",
    "l16_decode",
    "l16_encode",
    "mulaw_decode",
    "mulaw_encode",
    "read_wav",
    "resample",
    "silence",
    "write_wav",
]
