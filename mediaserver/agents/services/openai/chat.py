"""Language models behind chat completions, at OpenAI, Groq, vLLM, Ollama and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Unpack

import structlog

from mediaserver.agents.services.errors import NoAnswerError, ServiceError
from mediaserver.agents.services.event_stream import DONE
from mediaserver.agents.services.language_model import Message, Tokens, ToolCall, ToolSpec
from mediaserver.agents.services.openai.chat_chunks import CallsInPieces, Chunk, decode_chunk
from mediaserver.agents.services.openai.chat_messages import chat_messages, chat_tools
from mediaserver.agents.services.openai.client import Connection, OpenAIClient, OpenAIService


_SERVICE: Final = "openai_chat"

_MALFORMED_CALL: Final = "MALFORMED_FUNCTION_CALL"
"""Why an answer of Gemini's ends whose tool call could not be read."""

_log = structlog.get_logger("mediaserver.agents.openai")


class OpenAIChat(OpenAIService):
    """A `LanguageModel` that streams chat completions.

    Args:
        model: the model's name at the server.
        temperature: the temperature; None uses the server's.
        extra: further fields of the request: ``{"reasoning_effort": "minimal"}``,
            ``{"max_completion_tokens": 300}``.
        usage: whether to ask for the cost of each answer. A server that refuses that is asked
            again without it.
        first_timeout: seconds until the answer begins, including retries.
        stall_timeout: seconds for which the answer may pause.
        connection: see `OpenAIClient`.

    """

    _service = _SERVICE
    _own = frozenset({"model", "messages", "tools", "stream", "stream_options"})

    def __init__(
        self,
        model: str,
        *,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        usage: bool = True,
        first_timeout: float = 8.0,
        stall_timeout: float = 4.0,
        **connection: Unpack[Connection],
    ) -> None:
        super().__init__(model, extra, first_timeout, stall_timeout, connection)
        if temperature is not None:
            self._extra.setdefault("temperature", temperature)
        self._usage = usage

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[str | ToolCall | Tokens, None]:
        """Yield the response as it is written. A refusal is text like any other.

        Closing the iterator, or cancelling the task that waits on it, ends the request.

        Raises:
            ServiceError: the service failed.
            NoAnswerError: the answer ended for a tool call that did not come.

        """
        request = self._request(conversation, tools)
        chunks = self._in_time(self._chunks(request))
        answer = _Answer(self._client)
        async with aclosing(chunks):
            async for chunk in chunks:
                for piece in answer.read(chunk):
                    yield piece
        for tokens in answer.end():
            yield tokens
        if answer.lacks_calls:
            raise NoAnswerError(_SERVICE, "the answer ended for a tool call that did not come")

    def _request(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> dict[str, Any]:
        messages = chat_messages(conversation)
        if not messages:
            raise ServiceError(_SERVICE, "nothing to respond to: no message has any text")
        request: dict[str, Any] = {"model": self._model, "messages": messages, "stream": True}
        if tools:
            request["tools"] = chat_tools(tools)
        return request

    async def _chunks(self, request: dict[str, Any]) -> AsyncGenerator[Chunk | None, None]:
        """Yield the chunks of the answer, and None for its ``[DONE]``."""
        asks_usage = self._usage
        sent = {**request, "stream_options": {"include_usage": True}} if asks_usage else request
        completions = self._client.get().chat.completions.with_streaming_response
        try:
            with self._client.failures(self._model):
                async with completions.create(**sent, extra_body=self._extra) as response:
                    async for data in self._client.events(response):
                        yield None if data == DONE else decode_chunk(data)
            return
        except ServiceError as error:
            refused = error.status in (400, 422) and "stream_options" in str(error)
            if not (asks_usage and refused):
                raise
            _log.warning("usage is not reported", service=_SERVICE, error=str(error))
        self._usage = False
        async with aclosing(self._chunks(request)) as chunks:
            async for chunk in chunks:
                yield chunk


class _Answer:
    """Reads an answer, and knows whether it may end."""

    def __init__(self, client: OpenAIClient) -> None:
        self._client = client
        self._calls = CallsInPieces()
        self._tokens: Tokens | None = None
        self._said = False
        self._ended = False
        # Whether it ended for the sake of tool calls, and whether there were any.
        self._announced_calls = False
        self._has_calls = False

    @property
    def lacks_calls(self) -> bool:
        """Whether it ended for the sake of tool calls, and has none."""
        return self._announced_calls and not self._has_calls

    def read(self, chunk: Chunk | None) -> list[str | ToolCall | Tokens]:
        """Return what a chunk adds."""
        if chunk is None:
            self._ended = True
            return [*self._finished_calls()]
        if chunk.error is not None:
            raise self._client.failure(f"an error in the answer: {_message(chunk.error)}")
        self._tokens = chunk.tokens or self._tokens
        pieces: list[str | ToolCall | Tokens] = []
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                pieces.extend(filter(None, (delta.text, delta.refusal)))
                if delta.tool_calls:
                    with self._client.failures("any"):
                        for piece in delta.calls:
                            self._calls.add(piece)
            self._said = self._said or bool(pieces)
            if choice.finish_reason is not None:
                self._finish(choice.finish_reason)
                pieces.extend(self._finished_calls())
        return pieces

    def end(self) -> list[Tokens]:
        """Return the cost.

        Raises:
            ServiceError: the answer was not complete.

        """
        if not self._ended:
            raise self._client.failure("the answer broke off" if self._said else "no answer came")
        return [self._tokens] if self._tokens is not None else []

    def _finish(self, reason: str) -> None:
        self._ended = True
        self._announced_calls = reason == "tool_calls" or _MALFORMED_CALL in reason
        if reason == "content_filter":
            raise self._client.failure("the content filter stopped the answer")
        if reason == "length":
            if self._calls:
                raise self._client.failure("the token limit was reached within a tool call")
            if not self._said:
                raise self._client.failure("the token limit was reached before the first word")
            _log.warning("the token limit was reached", service=_SERVICE)

    def _finished_calls(self) -> list[ToolCall]:
        calls, self._calls = self._calls, CallsInPieces()
        self._has_calls = self._has_calls or bool(calls)
        try:
            return calls.finished()
        except ValueError as error:
            raise self._client.failure(str(error)) from None


def _message(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or error)
