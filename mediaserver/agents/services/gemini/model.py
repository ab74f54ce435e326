"""Gemini's models as language models, over ``streamGenerateContent``.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, TypeAlias, Unpack, get_args
from uuid import uuid4

import msgspec
import structlog

from mediaserver.agents.services.errors import NoAnswerError, ServiceError
from mediaserver.agents.services.event_client import EventConnection, require_texts
from mediaserver.agents.services.gemini.chunks import (
    AnswerEvent,
    AnswerPart,
    decode_answer_event,
)
from mediaserver.agents.services.gemini.client import (
    GeminiClient,
    model_path,
)
from mediaserver.agents.services.gemini.contents import (
    SIGNATURE,
    contents,
    function_declarations,
    system_instruction,
)
from mediaserver.agents.services.http_service import HttpService
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.language_model import Message, Tokens, ToolCall, ToolSpec


ThinkingLevel: TypeAlias = Literal["minimal", "low", "medium", "high"]

_SERVICE: Final = "gemini"
_NO_CALL: Final = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"}
)
"""Reasons for an end after which the same question may well be answered."""

log = structlog.get_logger("mediaserver.agents.gemini")


class GeminiModel(HttpService[GeminiClient]):
    """A `LanguageModel` of Google's Gemini API.

    Args:
        model: the model's name.
        thinking: how much the model thinks before it answers, which a caller waits for: a level
            for models from Gemini 3 on, a number of tokens for Gemini 2.5 (0 is not at all), or
            None for the model's own default. Which levels there are depends on the model.
        temperature: the temperature; None uses the model's.
        max_output_tokens: the most tokens of an answer, thoughts included; None is the model's.
        extra: further fields of the request in the API's form, laid over all others:
            ``{"safetySettings": [...], "generationConfig": {"topP": 0.9}}``.
        first_timeout: seconds until the answer begins, including retries.
        stall_timeout: seconds for which the answer may pause.
        connection: see `EventClient`.

    Raises:
        ValueError: a setting has no such value, or ``extra`` a field that this class sets itself.

    """

    _own = frozenset({"model", "contents", "systemInstruction", "tools"})

    def __init__(
        self,
        model: str = "gemini-3.8-flash",
        *,
        thinking: ThinkingLevel | int | None = "low",
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        extra: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 4.0,
        **connection: Unpack[EventConnection],
    ) -> None:
        require_texts(model=model)
        client = GeminiClient(_SERVICE, **connection)
        super().__init__(client, model, extra, first_timeout, stall_timeout)
        generation: dict[str, Any] = {}
        if thinking is not None:
            generation["thinkingConfig"] = _thinking(thinking)
        if temperature is not None:
            generation["temperature"] = temperature
        if max_output_tokens is not None:
            if isinstance(max_output_tokens, bool) or max_output_tokens < 1:
                raise ValueError(f"max_output_tokens must be 1 or more, not {max_output_tokens!r}")
            generation["maxOutputTokens"] = max_output_tokens
        self._settings = laid_over(
            {"generationConfig": generation} if generation else {}, self._extra
        )

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[str | ToolCall | Tokens, None]:
        """Yield the response as it is written; thoughts are left out.

        Closing the iterator, or cancelling the task that waits on it, ends the request.

        Raises:
            ServiceError: the service failed, or a filter blocked the request or the answer.
            NoAnswerError: the answer has no words and no tool call.

        """
        answer = _Answer(self._client)
        events = self._in_time(
            self._client.events(
                f"{model_path(self._model)}:streamGenerateContent?alt=sse",
                msgspec.json.encode(self._request(conversation, tools)),
            )
        )
        async with aclosing(events):
            async for data in events:
                try:
                    event = decode_answer_event(data)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._client.failure(f"an event cannot be read: {error}") from error
                for piece in answer.read(event):
                    yield piece
        if answer.tokens is not None:
            yield answer.tokens
        answer.end()

    def _request(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> dict[str, Any]:
        made = contents(conversation)
        if not made:
            raise ServiceError(_SERVICE, "nothing to respond to: no message has any text")
        request = {"contents": made, **self._settings}
        if (prompt := system_instruction(conversation)) is not None:
            request["systemInstruction"] = prompt
        if tools:
            request["tools"] = function_declarations(tools)
        return request

    async def check(self) -> None:
        """Find out whether the server accepts the key and has the model: see `Checked`."""
        await self._client.check(self._model, "generateContent")


class _Answer:
    """Reads an answer, and knows whether it was one."""

    def __init__(self, client: GeminiClient) -> None:
        self.tokens: Tokens | None = None
        self._client = client
        self._said = self._used = False
        self._finish: str | None = None
        self._why: str | None = None

    def read(self, event: AnswerEvent) -> list[str | ToolCall]:
        """Return what an event adds.

        Raises:
            ServiceError: the request is not answered.

        """
        if event.error is not None:
            raise self._client.refused(event.error, event.error.code)
        feedback = event.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            said = f": {feedback.block_reason_message}" if feedback.block_reason_message else ""
            raise self._client.failure(f"the request was blocked ({feedback.block_reason}{said})")
        if event.usage_metadata is not None:
            self.tokens = event.usage_metadata.tokens
        pieces: list[str | ToolCall] = []
        for candidate in event.candidates[:1]:
            if candidate.content is not None:
                pieces.extend(filter(None, map(self._piece, candidate.content.parts)))
            if candidate.finish_reason is not None:
                self._finish, self._why = candidate.finish_reason, candidate.finish_message
        return pieces

    def _piece(self, part: AnswerPart) -> str | ToolCall | None:
        call = part.function_call
        if call is not None:
            self._used = True
            extra = {SIGNATURE: part.thought_signature} if part.thought_signature else {}
            call_id = call.id or f"call_{uuid4().hex}"
            return ToolCall(call_id, call.name, bytes(call.args).decode(), extra)
        if part.text and not part.thought:
            self._said = True
            return part.text
        return None

    def end(self) -> None:
        """Check that the answer is complete.

        Raises:
            ServiceError: it broke off, a filter stopped it, or it has nothing in it.

        """
        finish = self._finish
        answered = self._said or self._used
        if finish is None:
            raise self._client.failure("the answer broke off" if answered else "no answer came")
        why = f"{finish}: {self._why}" if self._why else finish
        if finish == "MAX_TOKENS":
            if not answered:
                reason = (
                    "the token limit was reached before the first word: thoughts count too, so "
                    "raise max_output_tokens or lower thinking"
                )
                raise self._client.failure(reason)
            log.warning("the token limit was reached", service=_SERVICE)
        elif finish in _NO_CALL:
            raise NoAnswerError(_SERVICE, f"the answer has a tool call that cannot be read ({why})")
        elif finish != "STOP":
            raise self._client.failure(f"the answer was stopped ({why})")
        elif not answered:
            raise NoAnswerError(_SERVICE, "the answer has no words and no tool call")


def _thinking(thinking: Any) -> dict[str, Any]:
    if isinstance(thinking, int) and not isinstance(thinking, bool) and thinking >= -1:
        return {"thinkingBudget": thinking}
    if thinking in get_args(ThinkingLevel):
        return {"thinkingLevel": thinking.upper()}
    levels = ", ".join(get_args(ThinkingLevel))
    raise ValueError(f"thinking must be one of {levels}, or a number of tokens, not {thinking!r}")
