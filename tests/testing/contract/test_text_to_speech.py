import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame
from mediaserver.testing.contract import ServiceContract, TextToSpeechContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


class Mouth:
    """Says a character in 20 ms, and breaks the contract as it is told."""

    def __init__(self, fault: Any = "") -> None:
        self.fault = fault
        self.open = 0

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame | WordMark]:
        self.open += 1
        try:
            if format == self.fault or (self.fault == "ascii" and not text.isascii()):
                return
            length = len(text)
            if self.fault == "mix" and self.open == 2:
                length = 1
            silence = bytes(format.bytes_per_second // 50)
            for _ in range(length):
                await asyncio.sleep(0.001)
                yield Frame(silence, format)
            yield WordMark(length + 1 if self.fault == "mark" else length, length * 0.02)
            if self.fault == "odd":
                yield Frame(b"\0", L16_8K)
            if self.fault == "none":
                yield Frame(b"", format)
            if self.fault == "formats":
                yield Frame(silence, L16_16K)
        finally:
            self.open -= 1
            if self.fault == "slow":
                await asyncio.sleep(2)


def contract(fault: Any = "") -> ServiceContract[Any]:
    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Mouth]:
        yield Mouth(fault)

    return in_virtual_time(TextToSpeechContract, opened=opened)


BROKEN = [
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", MULAW_8K, "has no audio"),
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", "odd", "ends within a sample of 2 bytes"),
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", "none", "a frame without audio"),
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", "formats", "has one format"),
    ("test_a_call_of_l16_at_8_khz_is_spoken_to", L16_8K, "has no audio"),
    ("test_a_call_of_l16_at_16_khz_is_spoken_to", L16_16K, "has no audio"),
    ("test_marks_are_within_text_and_audio_and_in_order", "mark", "is outside of a text"),
    ("test_quotes_signs_and_letters_of_any_kind_are_spoken", "ascii", "has no audio"),
    ("test_two_texts_at_once_do_not_mix", "mix", "the two were mixed"),
    ("test_an_interrupted_text_ends_in_time", "slow", "did not end within 1 s"),
]


@pytest.mark.parametrize("check", sorted(checks_of(TextToSpeechContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: Any, text: str) -> None:
    assert_fails(contract(fault), check, text)


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(TextToSpeechContract)
