"""What every `TextToSpeech` must do."""

from __future__ import annotations

import asyncio

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import TextToSpeech, WordMark
from mediaserver.call import Frame
from mediaserver.testing.contract.service import (
    ServiceContract,
    assert_marks,
    assert_whole,
    close_iterator,
)


SHORT_TEXT = "Yes."
LONG_TEXT = "Your table for four people is booked for this evening, and we look forward to you."
ODD_TEXT = 'He said "naïve": it costs 100 % & more. 🙂 <b>Straße</b>'


class TextToSpeechContract(ServiceContract[TextToSpeech]):
    """The contract of a `TextToSpeech`: see `ServiceContract` for what a test says."""

    async def use(self, service: TextToSpeech) -> None:
        """Have a text spoken."""
        await self._speak(service, SHORT_TEXT)

    def test_a_call_of_mulaw_at_8_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, LONG_TEXT, MULAW_8K))

    def test_a_call_of_l16_at_8_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, LONG_TEXT, L16_8K))

    def test_a_call_of_l16_at_16_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, LONG_TEXT, L16_16K))

    def test_marks_are_within_text_and_audio_and_in_order(self) -> None:
        """Marks never go back, in the text or in time."""

        async def check(service: TextToSpeech) -> None:
            for text in (LONG_TEXT, ODD_TEXT):
                frames, marks = await self._speak(service, text)
                assert_marks(marks, text, sum(each.seconds for each in frames), self.slack)

        self.run(check)

    def test_quotes_signs_and_letters_of_any_kind_are_spoken(self) -> None:
        """A text is words, not markup, and not ASCII."""
        self.run(lambda service: self._checked(service, ODD_TEXT, MULAW_8K))

    def test_two_texts_at_once_do_not_mix(self) -> None:
        """A short text has no more audio than a long one, whichever is spoken beside it."""

        async def check(service: TextToSpeech) -> None:
            short, long = await asyncio.gather(
                self._checked(service, SHORT_TEXT), self._checked(service, LONG_TEXT)
            )
            assert short <= long, (
                f"{len(SHORT_TEXT)} characters became {short:.2f} s of audio, and"
                f" {len(LONG_TEXT)} became {long:.2f} s: the two were mixed"
            )

        self.run(check)

    def test_an_interrupted_text_ends_in_time(self) -> None:
        """A text that is closed after its first audio ends, and the next one works."""

        async def check(service: TextToSpeech) -> None:
            speech = service.speak(LONG_TEXT, MULAW_8K)
            await anext(speech)
            await self.in_time(close_iterator(speech), 1.0, "a text that was closed did not end")
            await self._checked(service, SHORT_TEXT)

        self.run(check)

    async def _checked(
        self, service: TextToSpeech, text: str, format: AudioFormat = MULAW_8K
    ) -> float:
        """Check the audio of a text, and return its seconds."""
        frames, _ = await self._speak(service, text, format)
        assert frames, "the text has no audio"
        for frame in frames:
            assert_whole(frame)
        formats = {frame.format for frame in frames}
        assert len(formats) == 1, f"the audio of a text has one format, not {formats}"
        return sum(frame.seconds for frame in frames)

    async def _speak(
        self, service: TextToSpeech, text: str, format: AudioFormat = MULAW_8K
    ) -> tuple[list[Frame], list[WordMark]]:
        frames, marks = [], []
        speech = service.speak(text, format)
        try:
            async for item in speech:
                if isinstance(item, WordMark):
                    marks.append(item)
                else:
                    frames.append(item)
        finally:
            await close_iterator(speech)
        return frames, marks
