"""An agent of three services: speech to text, a language model, text to speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from mediaserver.agents.agent import Agent
from mediaserver.agents.conversation import NOT_BEGUN, RUNNING
from mediaserver.agents.listening import Utterance
from mediaserver.agents.phrases import PHRASES
from mediaserver.agents.reply import Reply
from mediaserver.agents.sentences import Sentences
from mediaserver.agents.served import broken, served, speech, unexpected
from mediaserver.agents.services import (
    LanguageModel,
    Prewarmed,
    ServiceError,
    SpeechToText,
    Text,
    TextToSpeech,
    Tokens,
    ToolCall,
    ToolResult,
    Transcript,
    WordMark,
)
from mediaserver.agents.speaking import Speaker
from mediaserver.call import Frame


ROUNDS = 10
"""How often in one turn the model may ask for tools."""


class VoiceAgent(Agent):
    """Hears with a `SpeechToText`, thinks with a `LanguageModel`, speaks with a `TextToSpeech`.

    Everything streams: speech is transcribed while it is spoken, sentences are synthesised while
    the model writes, and played while they are synthesised.
    """

    speech_to_text: SpeechToText
    """Understands the caller."""
    language_model: LanguageModel
    """Decides what to say."""
    text_to_speech: TextToSpeech
    """Says it."""
    patience: float = 8.0
    """Seconds that a service may take for its first answer, and from one piece to the next."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("speech_to_text", "language_model", "text_to_speech"):
            if not hasattr(self, name):
                raise TypeError(
                    f"{type(self).__qualname__} has no {name}: set it as an attribute of the "
                    "class, or as a setting of its route"
                )
        self._speakers: dict[Reply, Speaker] = {}

    async def prewarm(self) -> None:
        """Get the services ready, and make the phrases that may be needed at once."""
        for service in (self.text_to_speech, self.language_model, self.speech_to_text):
            if isinstance(service, Prewarmed):
                await service.prewarm()
        for text in self._phrases():
            await PHRASES.prepare(self.text_to_speech, text, PHRASES.format, patience=self.patience)

    async def open(self) -> None:
        """Take note of the stream's format: until there is one, it can only be guessed."""
        PHRASES.format = self.stream.format

    async def hear(self, utterance: Utterance) -> str:
        """Have an utterance transcribed."""
        text = ""
        async with aclosing(self._transcribe(utterance)) as transcripts:
            async for transcript in transcripts:
                text = transcript.text.strip()
                utterance.seconds_transcribed += transcript.seconds
                self.listener.understood(utterance, text, final=transcript.final)
                await self.on_transcript(transcript)
                if transcript.final and utterance.ended:
                    break  # whatever the service does after that
        return text

    async def respond(self, reply: Reply) -> None:
        """Have the model answer, and use tools, until it has said what it wanted to."""
        speaker = self._speaker(reply)
        for _ in range(ROUNDS):
            calls = await self._ask(reply, speaker)
            if not calls:
                await speaker.heard()
                return
            await self._use_tools(reply, speaker, calls)
            if self.leaving:
                return
        raise ServiceError("language_model", f"it asked for tools {ROUNDS} times without an answer")

    async def utter(self, reply: Reply, text: str) -> None:
        """Say exactly this."""
        speaker = self._speaker(reply)
        await speaker.say(text, self.conversation.say())
        await speaker.heard()

    async def said(self, reply: Reply) -> None:
        """Wait until it was heard."""
        await self._speaker(reply).heard()

    def settle(self, reply: Reply) -> None:
        """Keep what was heard."""
        speaker = self._speakers.pop(reply, None)
        if speaker is not None:
            reply.heard = speaker.settle()
            reply.characters += speaker.characters

    async def _transcribe(self, utterance: Utterance) -> AsyncGenerator[Transcript, None]:
        """Yield transcripts. Only once the utterance has ended, the service may be too slow."""
        loop = asyncio.get_running_loop()
        waiting = asyncio.timeout(None)
        try:
            pieces = self.speech_to_text.transcribe(utterance)
            try:
                while True:
                    waiting = asyncio.timeout(self.patience if utterance.ended else None)
                    async with waiting:
                        utterance.on_end = lambda waiting=waiting: waiting.reschedule(
                            loop.time() + self.patience
                        )
                        try:
                            piece = await anext(pieces)
                        except StopAsyncIteration:
                            return
                        finally:
                            utterance.on_end = None
                    if not isinstance(piece, Transcript):
                        raise unexpected("speech_to_text", piece, "Transcript")
                    yield piece
            finally:
                if isinstance(pieces, AsyncGenerator):
                    await pieces.aclose()
        except ServiceError:
            raise
        except Exception as error:
            if waiting.expired():
                reason = f"no transcript within {self.patience:g} s"
                raise ServiceError("speech_to_text", reason) from None
            raise broken("speech_to_text", error) from error

    async def _ask(self, reply: Reply, speaker: Speaker) -> list[ToolCall]:
        """Have the model go on with the conversation, and say what it writes."""
        messages = [Text("system", self.prompt), *self.conversation.messages]
        saying = self.conversation.say()
        sentences = Sentences()
        calls: list[ToolCall] = []
        response = served(
            lambda: self.language_model.respond(messages, self.toolbox.specs),
            service="language_model",
            patience=self.patience,
        )
        async with aclosing(response) as pieces:
            async for piece in pieces:
                if isinstance(piece, Tokens):
                    reply.spend(piece)
                    continue
                if not isinstance(piece, str | ToolCall):
                    raise unexpected("language_model", piece, "str, ToolCall or Tokens")
                if reply.first_token_at is None:
                    reply.first_token_at = self.stream.clock()
                if isinstance(piece, ToolCall):
                    calls.append(piece)
                    continue
                for sentence in sentences.feed(piece):
                    await speaker.say(sentence, saying)
        for sentence in sentences.flush():
            await speaker.say(sentence, saying)
        return calls

    async def _use_tools(self, reply: Reply, speaker: Speaker, calls: Sequence[ToolCall]) -> None:
        """Use tools, all at once, and tell the conversation what came of it.

        Those that end the call come last, when all that was said has been heard.
        """
        closing = [call for call in calls if self.is_closing(call)]
        others = [call for call in calls if not self.is_closing(call)]
        self.conversation.call(
            calls,
            [
                ToolResult(call.id, NOT_BEGUN if self.is_closing(call) else RUNNING)
                for call in calls
            ],
        )
        if others:
            await self._use_and_hold(reply, speaker, others)
        for call in closing:
            await speaker.heard()
            self.conversation.returned(await self.closing_tool(reply, call))
            if self.leaving:
                return

    async def _use_and_hold(
        self, reply: Reply, speaker: Speaker, calls: Sequence[ToolCall]
    ) -> None:
        reply.using_tools = True
        # They are no part of this task: when the caller interrupts, they are let finish.
        tools = [
            self.start(self._use_tool(call), f"tool {call.name}", finishes=True) for call in calls
        ]
        _, running = await asyncio.wait(tools, timeout=self.hold_after)
        if running:
            slow = [call for call, tool in zip(calls, tools, strict=True) if tool in running]
            hold = next(filter(None, (self.toolbox.hold(call.name) for call in slow)), None)
            if hold is not None:
                await speaker.say(hold, self.conversation.say())
            await asyncio.wait(running)
        reply.using_tools = False

    async def _use_tool(self, call: ToolCall) -> None:
        self.conversation.returned(await self.toolbox.use(call))

    def _speaker(self, reply: Reply) -> Speaker:
        speaker = self._speakers.get(reply)
        if speaker is None:
            speaker = Speaker(
                self.stream,
                self._synthesise,
                start=self.start,
                began=lambda playback: reply.plays(playback, self.stream.clock()),
            )
            self._speakers[reply] = speaker
        return speaker

    def _synthesise(self, text: str) -> AsyncGenerator[Frame | WordMark, None]:
        service, format = self.text_to_speech, self.stream.format
        if text in self._phrases():
            return PHRASES.speak(service, text, format, patience=self.patience)
        return speech(service, text, format, patience=self.patience)

    def _phrases(self) -> list[str]:
        """Return what is said word for word in every call."""
        fixed = (self.greeting, self.apology, self.goodbye, self.silence_prompt)
        holds = (self.toolbox.hold(spec.name) for spec in self.toolbox.specs)
        return [text for text in (*fixed, *holds) if text]
