"""Anthropic's language models on this machine.

The server says what a test tells it to say::

    async with AnthropicServer() as anthropic:
        anthropic.messages.will(anthropic_answers("Good ", "morning."))
        model = AnthropicModel(base_url=anthropic.base_url, api_key=anthropic.api_key)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
from starlette.requests import Request

from mediaserver.testing.anthropic.answers import anthropic_answers, anthropic_refuses
from mediaserver.testing.anthropic.schema import (
    MessagesRequest,
    WireBudget,
    WireRedactedBlock,
    WireThinkingBlock,
    WireToolResult,
    WireToolUse,
    WireTurn,
    read_messages_request,
)
from mediaserver.testing.http_server import Endpoint, RefusedError, ScriptedServer
from mediaserver.testing.replies import HttpReply, Received


_VERSION = "2026-10-21"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class AnthropicServer(ScriptedServer):
    """A server of the Messages API on 127.0.0.1, as an async context manager.

    Args:
        models: the names of the models that it has; None has every model.
        thinking: the types of thinking that its models take.

    Attributes:
        messages: what it answers, and what it received: the checked request, and its headers.
        api_key: the key that requests must bring.

    """

    def __init__(
        self,
        *,
        models: Sequence[str] | None = None,
        thinking: Sequence[str] = ("disabled", "between_tools", "adaptive"),
    ) -> None:
        super().__init__()
        self.messages = Endpoint(anthropic_answers("Good morning. ", "How can I help?"))
        self.api_key = "a test key"
        self._models = models
        self._thinking = thinking
        self._answered: list[tuple[MessagesRequest, bytes]] = []

    @property
    def base_url(self) -> str:
        """The base URL to give to clients."""
        return f"http://{self.address}"

    def reply(self, request: Request, body: bytes, client: int) -> HttpReply:
        """Return the reply to a request: see `ScriptedServer`."""
        headers = dict(request.headers)
        if request.method == "HEAD":
            return HttpReply([b""], status=404)
        keys = (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key"))
        if self.api_key not in keys:
            raise RefusedError(401, "invalid API key", "authentication_error")
        if (version := headers.get("anthropic-version")) != _VERSION:
            text = f"anthropic-version must be {_VERSION}, not {version}"
            raise RefusedError(400, text, "invalid_request_error")
        if request.url.query:
            text = f"unknown query parameters: {request.url.query}"
            raise RefusedError(400, text, "invalid_request_error")
        path = request.url.path
        if path.startswith("/v1/models/") and request.method == "GET":
            return HttpReply([json.dumps(self._shown(path.removeprefix("/v1/models/"))).encode()])
        if path != "/v1/messages" or request.method != "POST":
            raise RefusedError(404, f"there is no {request.method} {path}", "not_found_error")
        asked = read_messages_request(body)
        self._require_model(asked.model)
        self._check_thinking(asked)
        check_messages(asked.messages)
        self._check_signatures(asked)
        received = Received(msgspec.to_builtins(asked), b"", headers, client)
        reply = self.messages.reply(received)
        said = b"".join(piece for piece in reply.body if isinstance(piece, bytes))
        self._answered.append((asked, said))
        return reply

    def refusal(self, refused: RefusedError) -> HttpReply:
        """Return the reply to a refused request, as Anthropic words it."""
        return anthropic_refuses(refused.status, refused.message, refused.code or "api_error")

    def _require_model(self, model: str) -> None:
        if self._models is not None and model not in self._models:
            raise RefusedError(404, f"model: {model}", "not_found_error")

    def _shown(self, model: str) -> Mapping[str, object]:
        self._require_model(model)
        kinds = ("adaptive", "between_tools", "disabled", "enabled")
        types = {kind: {"supported": kind in self._thinking} for kind in kinds}
        efforts = {level: {"supported": level != "max"} for level in _EFFORTS}
        return {
            "type": "model",
            "id": model,
            "display_name": model,
            "created_at": "2026-10-01T00:00:00Z",
            "lifecycle": "retired" if model == "claude-2" else "active",
            "capabilities": {
                "thinking": {"supported": True, "types": types},
                "effort": {"supported": True, **efforts},
            },
        }

    def _check_thinking(self, asked: MessagesRequest) -> None:
        if asked.thinking is None:
            return
        kind = msgspec.to_builtins(asked.thinking)["type"]
        if kind not in self._thinking:
            text = f'"thinking.type.{kind}" is not supported for this model.'
            raise RefusedError(400, text, "invalid_request_error")
        budget = asked.thinking.budget_tokens if isinstance(asked.thinking, WireBudget) else 0
        if budget >= asked.max_tokens:
            text = "`max_tokens` must be greater than `thinking.budget_tokens`."
            raise RefusedError(400, text, "invalid_request_error")

    def _check_signatures(self, asked: MessagesRequest) -> None:
        """Refuse thinking that no answer had, or that was thought after other messages.

        https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/prefix-checks.
        """
        for index, message in enumerate(asked.messages):
            for place, block in enumerate(message.blocks):
                if isinstance(block, WireThinkingBlock):
                    sign = block.signature
                elif isinstance(block, WireRedactedBlock):
                    sign = block.data
                else:
                    continue
                where = f"messages.{index}.content.{place}: Invalid `signature` in `thinking` block"
                signed = [req for req, said in self._answered if json.dumps(sign).encode() in said]
                if not signed:
                    raise RefusedError(400, where, "invalid_request_error")
                prefix = (asked.system, asked.tools, asked.messages[:index])
                if all((req.system, req.tools, req.messages) != prefix for req in signed):
                    text = f"{where}. The block is bound to a different conversation."
                    raise RefusedError(400, text, "invalid_request_error")


def check_messages(messages: Sequence[WireTurn]) -> None:
    """Refuse messages in an order that the API does not take.

    Raises:
        RefusedError: they do not begin and end with the user, a call has no result right after it,
            a result has no call before it, or an id is there twice.

    """
    if messages[0].role != "user":
        text = "messages: first message must use the user role"
        raise RefusedError(400, text, "invalid_request_error")
    if messages[-1].role != "user":
        text = "This model does not support assistant message prefill."
        raise RefusedError(400, text, "invalid_request_error")
    known: set[str] = set()
    awaited: list[str] = []
    for index, message in enumerate(messages):
        blocks = message.blocks
        if not blocks:
            text = f"messages.{index}: content must not be empty"
            raise RefusedError(400, text, "invalid_request_error")
        results = [block.tool_use_id for block in blocks if isinstance(block, WireToolResult)]
        if sorted(results) != sorted(awaited):
            text = (
                f"messages.{index}: `tool_use` ids {awaited} need `tool_result` blocks immediately "
                f"after, not {results}"
            )
            raise RefusedError(400, text, "invalid_request_error")
        if any(isinstance(block, WireToolResult) for block in blocks[len(results) :]):
            text = f"messages.{index}: `tool_result` blocks must come first"
            raise RefusedError(400, text, "invalid_request_error")
        awaited = [block.id for block in blocks if isinstance(block, WireToolUse)]
        if awaited and message.role == "user":
            text = f"messages.{index}: `tool_use` blocks can only be in `assistant` messages"
            raise RefusedError(400, text, "invalid_request_error")
        if len({*awaited, *known}) != len(awaited) + len(known):
            text = f"messages.{index}: `tool_use` ids must be unique"
            raise RefusedError(400, text, "invalid_request_error")
        known.update(awaited)
