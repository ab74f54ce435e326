"""What a prompt may be, and what is told of one that cannot be played."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodecs import MULAW_8K, Wav, encode_wav, write_wav
from mediaserver.agents.prompts import Prompt, check_file, check_prompt, spoken


TONE = (12000 * np.sin(np.arange(20_000) * 0.3)).astype(np.int16)


def played(prompt: Prompt) -> list[int]:
    async def main() -> list[int]:
        return [
            sample async for frame in spoken(prompt, MULAW_8K) for sample in frame.samples.tolist()
        ]

    return asyncio.run(main())


def test_a_file_whose_size_was_left_open_is_played_to_its_end(tmp_path: Path) -> None:
    data = bytearray(encode_wav(TONE, 8000))
    data[4:8] = data[40:44] = bytes(4)
    (tmp_path / "a.wav").write_bytes(data)
    check_file(tmp_path / "a.wav")
    assert played(tmp_path / "a.wav") == TONE.tolist()


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24"])
def test_a_file_of_any_encoding_is_as_loud_as_it_is(tmp_path: Path, subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, TONE / 32768, 8000, format="WAV", subtype=subtype)
    (tmp_path / "a.wav").write_bytes(file.getvalue())
    assert played(str(tmp_path / "a.wav")) == TONE.tolist()


def test_a_file_whose_encoding_cannot_seek_is_played(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE / 32768, 8000, format="WAV", subtype="GSM610")
    assert len(played(tmp_path / "a.wav")) >= len(TONE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"cannot play '.*a\.wav': No such file or directory$"),
        (b"", r"cannot play a prompt: '.*a\.wav' cannot be read as WAV or FLAC: .+"),
        (b"RIFF\0\0\0\0WAVE", r"a\.wav' cannot be read as WAV or FLAC"),
        (encode_wav(TONE, 8000)[:44], r"a\.wav' .*: it ends before its audio"),
        (encode_wav(TONE[:0], 8000), r"a\.wav' has no audio"),
    ],
)
def test_a_file_that_cannot_be_played_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        check_file(tmp_path / "a.wav")
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(ValueError, match="Is a directory"):
        check_file(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8000, 11025, 11127, 12000, 32000, 44100, 96_000])
def test_a_file_of_any_usual_rate_can_be_played(tmp_path: Path, rate: int) -> None:
    write_wav(tmp_path / "a.wav", TONE, rate)
    check_file(tmp_path / "a.wav")
    check_prompt(Wav(TONE, rate))
    assert played(tmp_path / "a.wav") == TONE.tolist()


def test_a_file_of_another_rate_is_named_with_the_rates_that_can_be_played(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", TONE, 4000)
    with pytest.raises(ValueError, match=r"a\.wav' has 4000 samples a second; allowed: 8000 to"):
        check_file(tmp_path / "a.wav")
