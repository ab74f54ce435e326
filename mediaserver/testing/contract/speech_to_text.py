"""What every `SpeechToText` must do."""

from __future__ import annotations

import asyncio

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import SpeechToText, Transcript
from mediaserver.testing.contract.service import ODD_LENGTHS, ServiceContract, close_iterator


class SpeechToTextContract(ServiceContract[SpeechToText]):
    """The contract of a `SpeechToText`: see `ServiceContract` for what a test says."""

    async def use(self, service: SpeechToText) -> None:
        """Have an utterance transcribed."""
        await self._transcribe(service)

    def test_mulaw_at_8_khz_is_understood(self) -> None:
        """Mu-law at 8 kHz is transcribed."""
        self.run(lambda service: self._checked(service, MULAW_8K))

    def test_l16_at_8_khz_is_understood(self) -> None:
        """Linear PCM at 8 kHz is transcribed."""
        self.run(lambda service: self._checked(service, L16_8K))

    def test_l16_at_16_khz_is_understood(self) -> None:
        """Linear PCM at 16 kHz is transcribed."""
        self.run(lambda service: self._checked(service, L16_16K))

    def test_frames_may_have_any_length(self) -> None:
        """Frames of one sample and of half a second are transcribed."""
        self.run(lambda service: self._checked(service, MULAW_8K, lengths=ODD_LENGTHS))

    def test_an_utterance_without_audio_ends_as_well(self) -> None:
        """An utterance that has no frame has a final transcript."""
        self.run(lambda service: self._checked(service, MULAW_8K, seconds=0.0))

    def test_two_utterances_at_once_are_each_answered(self) -> None:
        """Two callers who speak at once each have a final transcript."""

        async def check(service: SpeechToText) -> None:
            await asyncio.gather(
                self._checked(service, MULAW_8K, seconds=1.5),
                self._checked(service, L16_16K, seconds=0.5),
            )

        self.run(check)

    def test_an_abandoned_utterance_ends_in_time(self) -> None:
        """A transcription that is cancelled in mid-utterance ends, and the next one works."""

        async def check(service: SpeechToText) -> None:
            task = asyncio.create_task(self._transcribe(service, seconds=5.0))
            await asyncio.sleep(0.2)
            task.cancel()
            await self.in_time(
                asyncio.wait([task]), 1.0, "a transcription that was cancelled did not end"
            )
            await self._checked(service, MULAW_8K)

        self.run(check)

    async def _checked(
        self,
        service: SpeechToText,
        format: AudioFormat,
        seconds: float = 1.0,
        lengths: tuple[int, ...] = (),
    ) -> None:
        transcripts = await self._transcribe(service, format, seconds, lengths)
        finals = [each.final for each in transcripts]
        assert sum(finals) == 1, f"one final transcript answers an utterance, not {sum(finals)}"
        assert finals[-1], "a transcript came after the final one"
        for each in transcripts:
            assert each.seconds >= 0, f"{each.seconds} seconds of audio cannot be charged for"

    async def _transcribe(
        self,
        service: SpeechToText,
        format: AudioFormat = MULAW_8K,
        seconds: float = 1.0,
        lengths: tuple[int, ...] = (),
    ) -> list[Transcript]:
        speech = self.spoken(self.frames(format, seconds, lengths))
        transcripts = service.transcribe(speech)
        try:
            return [transcript async for transcript in transcripts]
        finally:
            await close_iterator(transcripts)
