"""ITU-T G.711: mu-law and A-law, one byte per sample, 8 kHz on telephone lines.

The result equals that of the reference software of ITU-T G.191 (``g711.c``), bit for bit, for all
256 codes and all 65,536 samples. Each operation is implemented in the way that measured fastest.
``audioop`` decodes; its tables equal the reference's. A numpy table of all 65,536 samples encodes,
because ``audioop`` searches the segment sample by sample and, for mu-law, rounds 508 negative
samples to the neighbouring code.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from audiocodecs.samples import INT16, Payload, Samples, as_bytes, require_mono


with warnings.catch_warnings():
    # deprecated in the standard library of 3.11 and 3.12; audioop-lts replaces it from 3.13 on
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop


def mulaw_decode(payload: Payload) -> Samples:
    """Return the samples of a mu-law payload: int16, one for every byte.

    Raises:
        AudioError: if ``payload`` is not bytes, bytearray or memoryview.

    """
    if type(payload) is not bytes:
        payload = as_bytes(payload)
    # the copy into a bytearray lets the caller write to the array
    return np.frombuffer(bytearray(audioop.ulaw2lin(payload, 2)), INT16)


def alaw_decode(payload: Payload) -> Samples:
    """Return the samples of an A-law payload: int16, one for every byte.

    Raises:
        AudioError: if ``payload`` is not bytes, bytearray or memoryview.

    """
    if type(payload) is not bytes:
        payload = as_bytes(payload)
    return np.frombuffer(bytearray(audioop.alaw2lin(payload, 2)), INT16)


def mulaw_encode(samples: Samples) -> bytes:
    """Return ``samples`` (one-dimensional int16) as mu-law, one byte each.

    Raises:
        AudioError: if ``samples`` has another type or shape.

    """
    require_mono(samples)
    return _MULAW_CODES[samples.astype(np.intp)].tobytes()


def alaw_encode(samples: Samples) -> bytes:
    """Return ``samples`` (one-dimensional int16) as A-law, one byte each.

    Raises:
        AudioError: if ``samples`` has another type or shape.

    """
    require_mono(samples)
    return _ALAW_CODES[samples.astype(np.intp)].tobytes()


def _mulaw_codes(samples: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Compress as ``ulaw_compress`` of G.191 does: 14-bit magnitudes, biased by 33.

    With the bias, segments begin at powers of two, so the bit length gives the segment: 6 bits (33
    to 63) for the lowest, 13 bits for the highest. The mantissa is the four bits below the leading
    one.
    """
    magnitude = np.minimum((_ones_complement(samples) >> 2) + 33, 0x1FFF)
    segment = _bit_length(magnitude) - 6
    mantissa = (magnitude >> (segment + 1)) & 0x0F
    # G.711 inverts mu-law codes; a positive sign is 1
    sign = np.where(samples >= 0, 0x80, 0x00)
    codes: NDArray[np.uint8] = (sign | ((segment << 4 | mantissa) ^ 0x7F)).astype(np.uint8)
    return codes


def _alaw_codes(samples: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Compress as ``alaw_compress`` of G.191 does: 12-bit magnitudes.

    The two lowest segments share one step size. Above them the bit length, 6 to 11, gives the
    segment; the mantissa is the four bits below the leading one.
    """
    magnitude = _ones_complement(samples) >> 4
    segment = np.maximum(_bit_length(magnitude) - 4, 0)
    mantissa = (magnitude >> np.maximum(segment - 1, 0)) & 0x0F
    sign = np.where(samples >= 0, 0x80, 0x00)
    # G.711 inverts every other bit of A-law
    codes: NDArray[np.uint8] = ((sign | segment << 4 | mantissa) ^ 0x55).astype(np.uint8)
    return codes


def _ones_complement(samples: NDArray[np.int32]) -> NDArray[np.int32]:
    # the reference maps -1 to 0 and -32768 to 32767
    return np.where(samples < 0, ~samples, samples)


def _bit_length(magnitude: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.frexp(magnitude)[1]


# in the order of numpy's indices for signed samples: 0 … 32767, then -32768 … -1. Indexing with
# intp, numpy's own index type, measured up to twice as fast as with int16 or with take()
_EVERY_SAMPLE = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
_MULAW_CODES = _mulaw_codes(_EVERY_SAMPLE)
_ALAW_CODES = _alaw_codes(_EVERY_SAMPLE)
