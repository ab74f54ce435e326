"""Gemini's language models on this machine.

The server says what a test tells it to say::

    async with GeminiServer() as gemini:
        gemini.generate.will(answers("Good ", "morning."), refuses(503, "overloaded"))
        model = GeminiModel(base_url=gemini.base_url, api_key=gemini.api_key)
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from mediaserver.testing.gemini.answers import answers, refuses
from mediaserver.testing.gemini.schema import GenerateRequest, WireContent, read_closed
from mediaserver.testing.http_server import Endpoint, RefusedError, ScriptedServer
from mediaserver.testing.replies import HttpReply, Received


_PATH: Final = re.compile(r"/v1(?:beta|alpha)/models/([a-z0-9.-]+)(?::(\w+))?")


class GeminiServer(ScriptedServer):
    """A server of ``streamGenerateContent`` on 127.0.0.1, as an async context manager.

    Args:
        models: the names of the models that it has; None has every model.
        signed: whether a call of the present turn must come back with its thought signature, as
            Gemini 3 insists.

    Attributes:
        generate: what it answers, and what it received: the checked request, and its headers.
        api_key: the key that requests must bring.

    """

    def __init__(self, *, models: Sequence[str] | None = None, signed: bool = False) -> None:
        super().__init__()
        self.generate = Endpoint(answers("Good morning. ", "How can I help?"))
        self.api_key = "a test key"
        self._models = models
        self._signed = signed

    @property
    def base_url(self) -> str:
        """The base URL to give to clients."""
        return f"http://{self.address}"

    def reply(self, request: Request, body: bytes, client: int) -> HttpReply:
        """Return the reply to a request: see `ScriptedServer`."""
        headers = dict(request.headers)
        if request.method == "HEAD":
            return HttpReply([b""], status=404)
        if headers.get("x-goog-api-key") != self.api_key:
            message = "API key not valid. Please pass a valid API key."
            raise RefusedError(400, message, "INVALID_ARGUMENT")
        path = _PATH.fullmatch(request.url.path)
        if path is None:
            raise RefusedError(404, f"there is no {request.url.path}", "NOT_FOUND")
        model, method = path.groups()
        if self._models is not None and model not in self._models:
            raise RefusedError(404, f"models/{model} is not found", "NOT_FOUND")
        if method is None and request.method == "GET":
            methods = ["generateContent", "countTokens"]
            shown = {"name": f"models/{model}", "supportedGenerationMethods": methods}
            return HttpReply([json.dumps(shown).encode()])
        if method != "streamGenerateContent" or request.method != "POST":
            raise RefusedError(404, f"there is no {request.method} {method}", "NOT_FOUND")
        if (query := parse_qsl(request.url.query)) != [("alt", "sse")]:
            raise RefusedError(400, f"unknown query parameters: {query}", "INVALID_ARGUMENT")
        asked = read_closed(body, GenerateRequest)
        check_contents(asked.contents, signed=self._signed)
        params = msgspec.to_builtins(asked)
        return self.generate.reply(Received({**params, "model": model}, b"", headers, client))

    def refusal(self, refused: RefusedError) -> HttpReply:
        """Return the reply to a refused request, as Google words it."""
        return refuses(refused.status, refused.message, refused.code or "INTERNAL")


def check_contents(contents: Sequence[WireContent], *, signed: bool) -> None:
    """Refuse contents in an order that the API does not take.

    Raises:
        RefusedError: they are empty, do not end with the user, a call has no result right after
            it, a result no call before it, or a signature is missing.

    """
    if not contents or contents[-1].role == "model":
        raise RefusedError(400, "contents must end with the user's", "INVALID_ARGUMENT")
    present = max(
        (i for i, c in enumerate(contents) if c.role == "user" and any(p.text for p in c.parts)),
        default=0,
    )
    awaited: list[str | None] = []
    for index, content in enumerate(contents):
        if not content.parts:
            raise RefusedError(400, "a content has no parts", "INVALID_ARGUMENT")
        results = [p.function_response for p in content.parts if p.function_response is not None]
        if [result.id for result in results] != awaited:
            text = "Please ensure that function response parts follow their function call parts"
            raise RefusedError(400, text, "INVALID_ARGUMENT")
        calls = [part for part in content.parts if part.function_call is not None]
        awaited = [part.function_call.id for part in calls if part.function_call is not None]
        if signed and calls and index > present and calls[0].thought_signature is None:
            text = "Function call is missing a thought_signature in functionCall parts."
            raise RefusedError(400, text, "INVALID_ARGUMENT")
