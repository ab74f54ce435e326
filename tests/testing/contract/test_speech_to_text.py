import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K
from mediaserver.agents.services import Transcript
from mediaserver.call import Frame
from mediaserver.testing.contract import ServiceContract, SpeechToTextContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


class Ears:
    """Understands "word", and breaks the contract as it is told."""

    def __init__(self, fault: Any = "") -> None:
        self.fault = fault
        self.open = 0

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        self.open += 1
        count = 0
        try:
            async for frame in speech:
                count += 1
                if frame.format == self.fault or (
                    self.fault == "length" and len(frame.payload) != 160
                ):
                    return
                yield Transcript("wo")
            if (self.fault == "empty" and not count) or (self.fault == "two" and self.open > 1):
                return
            yield Transcript("word", final=True, seconds=-1 if self.fault == "cost" else 1)
            if self.fault == "again":
                yield Transcript("word", final=True)
            if self.fault == "late":
                yield Transcript("word")
        except asyncio.CancelledError:
            if self.fault == "cancel":
                await asyncio.sleep(2)
            raise
        finally:
            self.open -= 1


def contract(fault: Any = "") -> ServiceContract[Any]:
    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Ears]:
        yield Ears(fault)

    return in_virtual_time(SpeechToTextContract, opened=opened)


BROKEN = [
    ("test_mulaw_at_8_khz_is_understood", MULAW_8K, "not 0"),
    ("test_mulaw_at_8_khz_is_understood", "again", "not 2"),
    ("test_mulaw_at_8_khz_is_understood", "late", "came after the final one"),
    ("test_mulaw_at_8_khz_is_understood", "cost", "cannot be charged for"),
    ("test_l16_at_8_khz_is_understood", L16_8K, "not 0"),
    ("test_l16_at_16_khz_is_understood", L16_16K, "not 0"),
    ("test_frames_may_have_any_length", "length", "not 0"),
    ("test_an_utterance_without_audio_ends_as_well", "empty", "not 0"),
    ("test_two_utterances_at_once_are_each_answered", "two", "not 0"),
    ("test_an_abandoned_utterance_ends_in_time", "cancel", "did not end within 1 s"),
]


@pytest.mark.parametrize("check", sorted(checks_of(SpeechToTextContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: Any, text: str) -> None:
    assert_fails(contract(fault), check, text)


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(SpeechToTextContract)
