import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K, read_wav
from mediaserver.cli.traced_audio import TracedAudio


def tone(seconds: float) -> bytes:
    return MULAW_8K.encode((8000 * np.sin(np.arange(round(seconds * 8000)) / 3)).astype(np.int16))


def received(at: float, payload: bytes) -> dict[str, Any]:
    return {
        "at": at,
        "what": "audio received",
        "track": "inbound",
        "timestamp": round(at * 1000),
        "chunk": None,
        "payload": base64.b64encode(payload).decode(),
    }


def sent(at: float, heard_at: float, payload: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(payload).decode()
    return {"at": at, "what": "audio sent", "heard_at": heard_at, "payload": encoded}


def loud(samples: Any, begin: float, end: float) -> bool:
    return bool(np.abs(samples[round(begin * 8000) : round(end * 8000)]).max() > 1_000)


def test_both_sides_are_written_when_they_are_heard(tmp_path: Path) -> None:
    audio = TracedAudio(tmp_path / "call.wav", MULAW_8K)
    silence, voice = b"\xff" * 160, tone(0.02)
    # From 10 s on the call is followed; the caller speaks from the second second on.
    for index in range(250):
        at = 10.0 + index * 0.02
        audio.take(received(at, voice if at >= 12 else silence))
    audio.close()
    caller, agent = read_wav(audio.path).samples.T
    assert not loud(caller, 0.0, 1.9)
    assert loud(caller, 2.1, 4.9)
    assert not loud(agent, 0.0, 4.9)


def test_audio_that_was_cut_is_not_written(tmp_path: Path) -> None:
    audio = TracedAudio(tmp_path / "call.wav", MULAW_8K)
    audio.take({"at": 0.0, "what": "media"})
    audio.take(sent(0.1, 0.5, tone(1.0)))
    audio.take({"at": 0.8, "what": "audio cut", "heard_at": 1.0})
    audio.take({"at": 3.0, "what": "media"})
    audio.take({"what": "lines missed", "lines": 3})
    audio.close()
    _, agent = read_wav(audio.path).samples.T
    assert loud(agent, 0.55, 0.95)
    assert not loud(agent, 1.05, 2.9)


def test_an_earlier_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(b"earlier")
    audio = TracedAudio(path, MULAW_8K)
    audio.close()
    assert audio.path != path
    assert path.read_bytes() == b"earlier"


def test_a_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        TracedAudio(tmp_path / "file" / "call.wav", MULAW_8K)
