"""OpenAI's HTTP services on this machine: chat completions, transcriptions and speech.

The server says what a test tells it to say::

    async with OpenAIServer() as openai:
        openai.chat.will(says("Good ", "morning."), fails(429, retry_after=0.1))
        model = OpenAIChat("any", base_url=openai.base_url)

A request for which nothing is scripted gets a reply that works.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request

from mediaserver.testing.http_server import Endpoint, RefusedError, ScriptedServer
from mediaserver.testing.openai.azure import AzureGate
from mediaserver.testing.openai.chat import says
from mediaserver.testing.openai.failures import fails
from mediaserver.testing.openai.requests import (
    Dialect,
    check_chat,
    check_speech,
    read_form,
    read_json,
)
from mediaserver.testing.openai.speech import hums
from mediaserver.testing.openai.transcription import hears
from mediaserver.testing.replies import HttpReply, Received


_CHAT: Final = "/v1/chat/completions"
_TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
_SPEECH: Final = "/v1/audio/speech"


class OpenAIServer(ScriptedServer):
    """A server of OpenAI's protocol on 127.0.0.1, as an async context manager.

    Args:
        api_key: the key that requests must bring; None accepts requests with any key, or without
            one.
        models: the names of the models that it has; None has every model.
        dialect: ``"groq"`` takes what Groq's speech endpoint takes: mu-law, and a sample rate.
        azure: the resource at Azure that the server is, in place of a key; None is OpenAI's own.
        port: where to listen; 0 is any free port.

    Attributes:
        chat, transcription, speech: the endpoints.
        paths: the path and the query of each request, oldest first.
        refused: why requests were refused, oldest first.
        opened: the number of connections over which requests came.

    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        dialect: Dialect = "openai",
        azure: AzureGate | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.chat = Endpoint(says("Good morning. ", "How can I help?"))
        self.transcription = Endpoint(hears("Good morning."))
        self.speech = Endpoint(hums)
        self.paths: list[str] = []
        self._api_key = api_key
        self._models = models
        self._dialect: Dialect = dialect
        self._azure = azure

    @property
    def base_url(self) -> str:
        """The base URL to give to clients; of a resource at Azure, its endpoint."""
        return f"http://{self.address}" + ("/v1" if self._azure is None else "")

    def reply(self, request: Request, body: bytes, client: int) -> HttpReply:
        """Return the reply to a request: see `ScriptedServer`."""
        path = request.url.path
        self.paths.append(f"{path}?{request.url.query}".rstrip("?"))
        headers = dict(request.headers)
        if request.method == "HEAD":
            return HttpReply([b""], status=404)
        deployment: str | None = None
        if self._azure is not None:
            path, deployment = self._azure.passes(path, request.url.query, headers)
        elif (
            self._api_key is not None and headers.get("authorization") != f"Bearer {self._api_key}"
        ):
            raise RefusedError(401, "Incorrect API key provided.", "invalid_api_key")
        if request.method == "GET" and path.startswith("/v1/models"):
            return self._list_models(path.removeprefix("/v1/models").removeprefix("/"))
        if request.method != "POST":
            raise RefusedError(405, f"{request.method} is not allowed")
        if path == _CHAT:
            params = self._deployed(check_chat(read_json(body)), deployment)
            return self.chat.reply(Received(params, b"", headers, client))
        if path == _SPEECH:
            params = self._deployed(check_speech(read_json(body), self._dialect), deployment)
            return self.speech.reply(Received(params, b"", headers, client))
        if path == _TRANSCRIPTIONS:
            params, file = read_form(headers.get("content-type", ""), body)
            params = self._deployed(params, deployment)
            return self.transcription.reply(Received(params, file, headers, client))
        raise RefusedError(404, f"there is no {path}")

    def refusal(self, refused: RefusedError) -> HttpReply:
        """Return the reply to a refused request, as OpenAI words it."""
        return fails(refused.status, refused.message, code=refused.code)

    def _deployed(self, params: dict[str, Any], deployment: str | None) -> dict[str, Any]:
        """Return checked parameters whose model is a deployment, which the path may name."""
        if self._azure is not None and deployment is None:
            self._azure.check_deployment(params["model"])
        return params

    def _list_models(self, name: str) -> HttpReply:
        if not name:
            listed = [{"id": each, "object": "model"} for each in self._models or ()]
            return HttpReply([json.dumps({"object": "list", "data": listed}).encode()])
        if self._models is not None and name not in self._models:
            return fails(404, f"The model '{name}' does not exist", code="model_not_found")
        return HttpReply([json.dumps({"id": name, "object": "model"}).encode()])
