"""A response that a realtime model was asked for."""

from __future__ import annotations

import asyncio

from mediaserver.agents.conversing.relaying import Relay
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.services import ServiceError, ToolCall


class ExpectedResponse:
    """Something the model was asked to say or do, until it is done.

    Attributes:
        reply: the reply that it is a part of.
        relay: plays it.
        step: the step of the reply's turn that it is.
        done: set when the model has finished, or has failed.
        tools: the tools that it uses, by their tasks.
        closing: calls of tools that wait until all of the reply was heard.
        answers: whether it answers the conversation, and does not say a given text.
        empty: whether it has neither speech nor tool calls so far.

    """

    def __init__(self, reply: Reply, relay: Relay, step: RunningStep, *, answers: bool) -> None:
        self.reply = reply
        self.relay = relay
        self.step = step
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tools: dict[asyncio.Task[None], ToolCall] = {}
        self.closing: list[ToolCall] = []
        self.answers = answers
        self.empty = True

    def fail(self, error: ServiceError) -> None:
        """Raise `error` in whoever waits for it; nobody has to."""
        self.step.fail(error)
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()
