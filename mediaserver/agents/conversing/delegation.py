"""A task that another language model works on, with tools of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final

from mediaserver.agents.conversing.served import served, unexpected
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.services import (
    LanguageModel,
    Message,
    NoAnswerError,
    ServiceError,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.call import Clock


DELEGATE: Final = "delegate"
"""The name under which failures of the model are counted if it does not name itself."""


class Delegation:
    """Lets a model work on one task until it answers.

    Args:
        model: the model.
        tools: the tools that it may use.
        use: uses one of them.
        begin_step: begins a step for a request to the model.
        spent: is told the cost of each request.
        clock: the call's clock.
        patience: seconds to wait for the first piece of the model's, and from one to the next.

    """

    def __init__(
        self,
        model: LanguageModel,
        tools: Sequence[ToolSpec],
        *,
        use: Callable[[ToolCall], Coroutine[Any, Any, ToolResult]],
        begin_step: Callable[[], RunningStep],
        spent: Callable[[Tokens], None],
        clock: Clock,
        patience: float,
    ) -> None:
        self._model = model
        self._tools = tools
        self._use = use
        self._begin_step = begin_step
        self._spent = spent
        self._clock = clock
        self._patience = patience

    async def answer(self, messages: Sequence[Message], rounds: int) -> str:
        """Return the answer.

        Args:
            messages: the prompt, what there is to know, and the task.
            rounds: how often the model may ask for tools.

        Raises:
            ServiceError: the model failed, or asked for tools too often.
            NoAnswerError: its answer had no words.

        """
        told = list(messages)
        for _ in range(rounds):
            text, calls = await self._ask(told)
            if not calls:
                if not text:
                    raise NoAnswerError(DELEGATE, "its answer had no words and used no tools")
                return text
            if text:
                told.append(Text("assistant", text))
            told += calls
            told += await asyncio.gather(*map(self._use, calls))
        raise ServiceError(DELEGATE, f"it asked for tools {rounds} times without an answer")

    async def _ask(self, messages: Sequence[Message]) -> tuple[str, list[ToolCall]]:
        text, calls = "", list[ToolCall]()
        step = self._begin_step()
        response = served(
            lambda: self._model.respond(messages, self._tools),
            service=DELEGATE,
            patience=self._patience,
        )
        with step.running(self._clock):
            async with aclosing(response) as pieces:
                async for piece in pieces:
                    step.answered(self._clock())
                    if isinstance(piece, Tokens):
                        step.spend(piece)
                        self._spent(piece)
                    elif isinstance(piece, ToolCall):
                        calls.append(piece)
                    elif isinstance(piece, str):
                        text += piece
                    else:
                        raise unexpected(DELEGATE, piece, "str, ToolCall or Tokens")
        return text.strip(), calls
