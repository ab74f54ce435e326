"""An agent of three services: speech to text, a language model, text to speech."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal
from weakref import WeakValueDictionary

import structlog

from mediaserver.agents.conversing.agent import ROUNDS, Agent
from mediaserver.agents.conversing.conversation import NOT_BEGUN, RUNNING, CallerSaying
from mediaserver.agents.conversing.ear import Ear, TurnSign
from mediaserver.agents.conversing.kept_voice import KeptVoice
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.phrases import PHRASE_CACHE
from mediaserver.agents.conversing.reply import Reply, Work
from mediaserver.agents.conversing.served import is_voice, served, unexpected
from mediaserver.agents.conversing.speaking import Speaker
from mediaserver.agents.conversing.spoken_answer import SpokenAnswer
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.conversing.thinking import THINKING_TAGS, SpokenPart
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    LanguageModel,
    NoAnswerError,
    Prewarmed,
    Recognizer,
    ServiceError,
    SpeechToText,
    Text,
    TextToSpeech,
    Tokens,
    ToolCall,
    ToolResult,
    Voice,
)
from mediaserver.agents.turns.words import words_of
from mediaserver.call import Frame, StreamEndedError
from mediaserver.plivo.callbacks import AnswerRequest


log = structlog.get_logger("mediaserver.agents")

_MODEL: Final = "language_model"
"""The name under which failures of the model are counted if it does not name itself."""


_THINKING_FIRST: Final[WeakValueDictionary[int, LanguageModel]] = WeakValueDictionary()
"""The models whose answers were seen to begin within a block for thinking, by their ids."""


@dataclass(slots=True)
class _EarlyReply:
    """A reply that is made while the caller may have finished.

    Attributes:
        reply: the reply.
        utterance: what the caller says.
        text: the words that it answers.
        before: the words of earlier turns that it answers as well.
        place: where the conversation has the words.
        decided: done when the caller has finished.

    """

    reply: Reply
    utterance: Utterance
    text: str
    before: str
    place: CallerSaying
    decided: asyncio.Future[None]


class VoiceAgent(Agent):
    """Hears with a `SpeechToText` or a `Recognizer`, and thinks with a `LanguageModel`.

    It speaks with a `TextToSpeech` or a `Voice`. Everything streams: speech is transcribed while
    the caller speaks, sentences are synthesised while the model writes, and played while they are
    synthesised.
    """

    speech_to_text: SpeechToText | Recognizer
    """Understands the caller."""
    recognizer_hears: Literal["everything", "speech"] = "everything"
    """What a `Recognizer` is given: the call's audio without gaps, or only what the caller says,
    since silence is paid for. One that takes the turns is given everything."""
    language_model: LanguageModel
    """Decides what to say."""
    text_to_speech: TextToSpeech | Voice
    """Says it."""
    end_of_turn_by: Literal["service", "agent"] = "service"
    """Which side tells that the caller has finished, if the recogniser can: it, by the words as
    well, or the agent, by ``turn_taking.end_of_turn``. Interruptions are always noticed here."""
    think_early: bool = False
    """Whether the model begins to think when the recogniser says that the caller may have finished.
    Nothing is played and no tool is used before they have; if they go on, the reply is made anew,
    and the model is paid for twice."""
    speak_after: float | None = None
    """Seconds after which a `Voice` is given the words of a sentence that is not complete. None
    gives it whole sentences, which it may speak better."""
    speech_tags: Sequence[str] = ()
    """Marks in the model's text that tell the voice how to speak, such as ``[laugh]``. Those that
    are not named here are taken out, as other marks are."""
    patience: float = 8.0
    """Seconds to wait for the first piece from a service, and from one piece to the next."""
    thinking_tags: Sequence[str] = THINKING_TAGS
    """The opening tags of blocks in which the model thinks; what is in them is neither said nor
    kept."""
    thinks_first: bool = False
    """Whether an answer may begin within such a block, because its opening tag is in the prompt.
    Then nothing is said before the block is closed or the answer is complete."""

    _services: ClassVar[Sequence[str]] = ("speech_to_text", "language_model", "text_to_speech")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._speakers: dict[Reply, Speaker] = {}
        # The reply that is made before the caller has surely finished, and the last one that was
        # given up because they had not: its number and cost are those of the next.
        self._early: _EarlyReply | None = None
        self._given_up: Reply | None = None
        self._ear = Ear(
            self.speech_to_text,
            patience=self.patience,
            speech_only=self.recognizer_hears == "speech",
            lost=self._count_failure,
            ended=lambda: self.dialogue.ended,
            signs=self._turn_sign if self.end_of_turn_by == "service" else None,
            missed=lambda ago: self.listener.notice(ago),
        )
        self._voice = KeptVoice(
            self.text_to_speech,
            patience=self.patience,
            lost=self._count_failure,
            ended=lambda: self.dialogue.ended,
        )

    def wrong_values(self) -> Iterator[str]:
        """Yield a line for each value that is out of range."""
        yield from super().wrong_values()
        kind = type(self).__qualname__
        if self.speak_after is not None:
            if not 0 <= self.speak_after < math.inf:
                yield f"{kind}.speak_after must be 0 seconds or more, not {self.speak_after!r}"
            if hasattr(self, "text_to_speech") and not is_voice(self.text_to_speech):
                yield (
                    f"{kind}.speak_after is for a voice that takes text as it comes; "
                    f"{type(self.text_to_speech).__name__} takes whole sentences"
                )
        if not all(self.speech_tags):
            yield f"{kind}.speech_tags must not have an empty mark"
        try:
            SpokenPart(self.thinking_tags)
        except ValueError as error:
            yield f"{kind}.thinking_tags: {error}"

    async def prewarm(self) -> None:
        """Get the services ready, and synthesise the phrases that may be needed at once."""
        for service in (self.text_to_speech, self.language_model, self.speech_to_text):
            if isinstance(service, Prewarmed):
                await service.prewarm()
        for text in self._phrases():
            await PHRASE_CACHE.prepare(
                self.text_to_speech, text, PHRASE_CACHE.format, patience=self.patience
            )

    async def on_answer(self, answer: AnswerRequest, shared: Any) -> None:
        """Get ready, and connect the services, while the carrier connects the stream."""
        await asyncio.gather(
            super().on_answer(answer, shared),
            self._prepare(self._ear.prepare(PHRASE_CACHE.format)),
            self._prepare(self._voice.prepare(PHRASE_CACHE.format)),
        )

    def use_sessions(self) -> None:
        """Begin to hear and to speak."""
        self.listener.taker.waits = lambda: self._ear.takes_turns
        self._ear.open(self._tasks, self.stream.format)
        self._voice.open(self._tasks, self.stream.format)

    async def open(self) -> None:
        """Remember the stream's format, as a guess for the next call."""
        PHRASE_CACHE.format = self.stream.format

    async def close(self) -> None:
        """Stop speaking, and close the services' sessions."""
        await self._voice.close()
        await self._ear.close()

    async def on_stop(self, reason: str) -> None:
        """Close the sessions. Also called if the stream never came."""
        await VoiceAgent.close(self)

    async def on_audio(self, frame: Frame) -> None:
        """Let the recogniser hear the caller as well."""
        if frame.track == "inbound":
            self._ear.hear(frame)
        await super().on_audio(frame)

    async def hear(self, utterance: Utterance) -> str:
        """Transcribe an utterance."""
        text = ""
        step = RunningStep("transcription", self.speech_to_text, utterance.started_at)
        utterance.transcription = step
        understood = self._ear.transcripts(utterance)
        with step.running(self.stream.clock), self._unless_wordless(utterance, lambda: text):
            async with aclosing(understood):
                async for transcript in understood:
                    text = transcript.text.strip()
                    step.answered(self.stream.clock())
                    step.speech_seconds += transcript.seconds
                    utterance.seconds_transcribed += transcript.seconds
                    self.listener.understood(utterance, text, final=transcript.final)
                    if not transcript.final:
                        self.stream.decided("hears", words=text)
                    await self.on_transcript(transcript)
        return text

    @contextmanager
    def _unless_wordless(self, utterance: Utterance, text: Callable[[], str]) -> Iterator[None]:
        """Give up the early reply to an utterance that has no words in the end, or fails."""
        understood = False
        try:
            yield
            understood = bool(words_of(text()))
        finally:
            early = self._early
            if not understood and early is not None and early.utterance is utterance:
                self._give_up_early()

    def _utterance_started(self, utterance: Utterance) -> None:
        self._ear.begin(utterance)
        super()._utterance_started(utterance)

    def _turn_sign(self, sign: TurnSign) -> None:
        """Take what the recogniser says of the caller's turn."""
        utterance = self.listener.utterance
        if utterance is None:
            return
        if isinstance(sign, CallerGoesOn):
            if self._early is not None:
                self._give_up_early()
                self.dialogue.speaks(utterance)
            return
        # Words that have just come confirm it.
        text = self._ear.text(utterance)
        self.listener.understood(utterance, text, final=False)
        if isinstance(sign, CallerFinished):
            self.listener.finish()
        elif isinstance(sign, CallerMayHaveFinished) and self.think_early and words_of(text):
            self._begin_early(utterance, text)

    def _begin_early(self, utterance: Utterance, text: str) -> None:
        """Have a reply made, and nothing of it played, if nothing is in its way."""
        dialogue = self.dialogue
        if not utterance.confirmed or dialogue.current or self._early or self.leaving:
            return
        dialogue.understood(utterance)
        if dialogue.hearing:
            dialogue.speaks(utterance)
            return
        self._carry_on()
        before = "" if dialogue.owed is None else dialogue.owed.caller
        reply = Reply(None, since=self.stream.clock(), caller=text, work=self.respond)
        place = self.conversation.listen()
        place.text = text
        decided = asyncio.get_running_loop().create_future()
        self._early = _EarlyReply(reply, utterance, text, before, place, decided)
        self.stream.pause()
        dialogue.owe(reply)

    def _give_up_early(self) -> None:
        """Take back the reply that was made early, and the words that it answers."""
        early, self._early = self._early, None
        if early is None:
            return
        early.place.text = ""
        if self.dialogue.current is early.reply:
            self._give_way()
        else:
            self.stream.resume()  # it has ended by itself, such as by a failure
        if self.dialogue.owed is early.reply:
            self.dialogue.owed = None
        early.reply.caller = early.before
        self._given_up = early.reply
        early.decided.cancel()

    def _carry_on(self) -> None:
        """Let the next reply have the number and the cost of the one that was given up."""
        if self._given_up is not None and self.dialogue.owed is None:
            self.dialogue.owed, self._given_up = self._given_up, None

    def _answer(
        self,
        text: str,
        utterance: Utterance | None,
        work: Work,
        since: float | None = None,
    ) -> None:
        early = self._early
        if early is not None:
            same = utterance is early.utterance and words_of(text) == words_of(early.text)
            if same and self.dialogue.current is early.reply and utterance is not None:
                self._early = None
                early.place.text = text
                early.reply.caller = f"{early.before} {text}".strip()
                self._time(early.reply, text, utterance)
                early.decided.set_result(None)
                self.stream.resume()
                return
            self._give_up_early()
        self._carry_on()
        super()._answer(text, utterance, work, since)

    async def _prepare(self, connecting: Awaitable[None]) -> None:
        try:
            await connecting
        except ServiceError as error:
            self._log_failure(error)
        except StreamEndedError:
            pass

    async def respond(self, reply: Reply) -> None:
        """Let the model answer and use tools, until it asks for no more tools."""
        speaker = self._speaker(reply)
        said = again = False
        for _ in range(ROUNDS):
            try:
                calls, words = await self._ask(reply, speaker)
                if not (calls or words or (again and said)):
                    raise NoAnswerError(_MODEL, "its answer had no words and used no tools")
            except NoAnswerError as error:
                if again:
                    raise
                again = True
                log.info("model asked once more", reason=str(error), call=self.stream.call_id)
                continue
            said = said or words
            if not calls:
                await speaker.heard()
                return
            if repeated := self.repeated(reply, calls):
                raise ServiceError(
                    _MODEL, f"it repeated a call of {repeated.name} that was refused"
                )
            await self._use_tools(reply, speaker, calls)
            if self.leaving:
                return
        raise ServiceError(_MODEL, f"it asked for tools {ROUNDS} times without an answer")

    async def utter(self, reply: Reply, text: str) -> None:
        """Say `text`, word for word."""
        speaker = self._speaker(reply)
        await self._say(reply, speaker, text)
        await speaker.heard()

    async def said(self, reply: Reply) -> None:
        """Wait until the caller has heard what there is of `reply`."""
        await self._speaker(reply).heard()

    def is_spoken(self, reply: Reply) -> bool:
        """Tell whether all speech of `reply` was given to the stream, and no more will come."""
        speaker = self._speakers.get(reply)
        return speaker is not None and speaker.ending

    def settle(self, reply: Reply) -> None:
        """Keep what the caller heard of `reply`."""
        speaker = self._speakers.pop(reply, None)
        if speaker is not None:
            reply.heard = speaker.settle()

    async def _ask(self, reply: Reply, speaker: Speaker) -> tuple[list[ToolCall], bool]:
        """Let the model go on with the conversation, and say its words.

        Returns:
            Its tool calls, and whether there were any words.

        """
        self.dialogue.asks(reply)
        messages = [Text("system", self.prompt), *self.conversation.messages]
        answer = SpokenAnswer(
            speaker,
            self.conversation.say(),
            start=self.start,
            after=self.speak_after,
            tags=self.speech_tags,
        )
        part = SpokenPart(self.thinking_tags, thinks_first=self._may_think_first)
        calls: list[ToolCall] = []
        response = served(
            lambda: self.language_model.respond(messages, self.toolbox.specs),
            service=_MODEL,
            patience=self.patience,
        )
        step = reply.begin_step("model", self.language_model, self.stream.clock())
        with closing(answer):
            with step.running(self.stream.clock):
                async with aclosing(response) as pieces:
                    async for piece in pieces:
                        if step.first_at is None:
                            step.first_at = self.stream.clock()
                        if isinstance(piece, Tokens):
                            reply.spend(piece)
                            step.spend(piece)
                            continue
                        if not isinstance(piece, str | ToolCall):
                            raise unexpected(_MODEL, piece, "str, ToolCall or Tokens")
                        text = "" if isinstance(piece, ToolCall) else part.feed(piece)
                        if reply.first_token_at is None and (
                            text.strip() or isinstance(piece, ToolCall)
                        ):
                            reply.first_token_at = self.stream.clock()
                        if isinstance(piece, ToolCall):
                            calls.append(piece)
                            continue
                        if part.restarted:
                            # Nothing but thinking so far.
                            answer.restart()
                            self._note_thinking_first()
                        await answer.add(text)
            await answer.add(part.flush())
            await answer.end()
            await speaker.end()
        return calls, answer.said

    @property
    def _may_think_first(self) -> bool:
        model = self.language_model
        return self.thinks_first or _THINKING_FIRST.get(id(model)) is model

    def _note_thinking_first(self) -> None:
        """Remember that the model closes a block that it does not open."""
        if self._may_think_first:
            return
        with suppress(TypeError):  # a model that cannot be referred to weakly
            _THINKING_FIRST[id(self.language_model)] = self.language_model
        log.warning(
            "thinking was spoken",
            reason="the model closed a block that it had not opened. From now on nothing is said "
            "before its answers are complete or the block is closed. Set thinks_first, or have "
            "the server take the thinking out",
            call=self.stream.call_id,
        )

    async def _use_tools(self, reply: Reply, speaker: Speaker, calls: Sequence[ToolCall]) -> None:
        """Use tools, all at once, and put their results into the conversation.

        Tools that end the call come last, after the caller has heard all that was said.
        """
        if self._early is not None and self._early.reply is reply:
            await self._early.decided
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
        try:
            tools = [
                self.start_tool(reply, call, partial(self._use_tool, reply, call)) for call in calls
            ]
            _, running = await asyncio.wait(tools, timeout=self.hold_after)
            if running:
                slow = [call for call, tool in zip(calls, tools, strict=True) if tool in running]
                hold = next(filter(None, (self.toolbox.hold(call.name) for call in slow)), None)
                if hold is not None:
                    await self._say(reply, speaker, hold)
                await asyncio.wait(running)
        finally:
            reply.using_tools = False

    async def _use_tool(self, reply: Reply, call: ToolCall) -> None:
        self.conversation.returned(await self.use_tool(reply, call))

    def _speaker(self, reply: Reply) -> Speaker:
        speaker = self._speakers.get(reply)
        if speaker is None:
            speaker = Speaker(
                self.stream,
                self._voice.begin,
                start=self.start,
                began=lambda playback: self.dialogue.plays(reply, playback, self.stream.clock()),
                step=lambda: self._synthesis_step(reply),
                spent=partial(self._spend, reply),
            )
            self._speakers[reply] = speaker
        return speaker

    def _synthesis_step(self, reply: Reply) -> RunningStep:
        return reply.begin_step("synthesis", self.text_to_speech, self.stream.clock())

    def _spend(self, reply: Reply, characters: int) -> None:
        reply.characters += characters

    async def _say(self, reply: Reply, speaker: Speaker, text: str) -> None:
        """Say a text that is complete; a phrase from the cache."""
        saying = self.conversation.say()
        if text not in self._phrases():
            await speaker.say(text, saying)
            return
        service, format = self.text_to_speech, self.stream.format
        step = None
        if PHRASE_CACHE.get(service, text, format) is None:
            step = self._synthesis_step(reply)
            step.characters = len(text)
        speech = PHRASE_CACHE.speak(
            service,
            text,
            format,
            patience=self.patience,
            began=partial(self._spend, reply, len(text)),
        )
        await speaker.say_phrase(text, saying, speech, step)

    def _phrases(self) -> list[str]:
        """Return the phrases that are the same in every call."""
        fixed = (self.greeting, self.apology, self.goodbye, self.silence_prompt)
        holds = (self.toolbox.hold(spec.name) for spec in self.toolbox.specs)
        return [text for text in (*fixed, *holds) if text]
