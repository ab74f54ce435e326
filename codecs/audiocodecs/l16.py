"""L16: linear 16-bit samples, little-endian.

Plivo sends ``audio/x-l16`` with the least significant byte first, on every host. It is not the
registered ``audio/L16`` of RFC 2586 and RFC 3551, which is big-endian.
"""

import numpy as np

from audiocodecs.errors import AudioError
from audiocodecs.samples import INT16, Payload, Samples, as_bytes, require_mono


_WIRE = np.dtype("<i2")


def l16_decode(payload: Payload) -> Samples:
    """Return the samples of an L16 payload: int16, one for every two bytes.

    Raises:
        AudioError: if ``payload`` has an odd number of bytes, or is not bytes, bytearray or
            memoryview.

    """
    if type(payload) is not bytes:
        payload = as_bytes(payload)
    if len(payload) % 2:
        raise AudioError(f"L16 needs an even number of bytes, not {len(payload)}")
    # always a copy, so that the caller may write to it and reuse the payload's buffer
    return np.frombuffer(payload, _WIRE).astype(INT16)


def l16_encode(samples: Samples) -> bytes:
    """Return ``samples`` (one-dimensional int16) as L16, two bytes each.

    Raises:
        AudioError: if ``samples`` has another type or shape.

    """
    require_mono(samples)
    return samples.astype(_WIRE, copy=False).tobytes()
