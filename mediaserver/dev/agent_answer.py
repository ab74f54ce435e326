"""What answers a call: the agent's own XML, with its stream in the format that was asked for."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.webhooks import Target
from mediaserver.settings.values import read_stream_format


FORMAT_PATH: Final = "/answer"
"""Where the sandbox finds the XML of a call whose stream is not in the agent's own format."""

_SECONDS: Final = 15.0
"""Seconds that the agent's answer may take, as at Plivo."""


class AgentAnswer:
    """Says what answers the calls to the agent.

    Args:
        agent_url: the URL of the agent's server, without a slash at its end.
        page_url: the URL of the page's server, in the same form.
        account: signs what is sent to the agent's server.
        client: sends it.

    """

    def __init__(
        self, agent_url: str, page_url: str, account: Account, client: httpx.AsyncClient
    ) -> None:
        self._agent_url = agent_url
        self._page_url = page_url
        self._account = account
        self._client = client

    def plan(self, format: str = "", path: str = "") -> CallPlan:
        """Return what answers a call.

        Args:
            format: the format of its stream, such as ``audio/x-l16;rate=16000``; that of the agent
                if empty.
            path: the path of its stream; that of the dialled number if empty.

        Raises:
            ValueError: Plivo's streams have no such format.

        """
        hangup = Target(f"{self._agent_url}/hangup")
        if not format:
            return CallPlan(Target(self._answer_url(path)), hangup=hangup)
        query = urlencode(_given(format=str(read_stream_format(format)), path=path))
        return CallPlan(Target(f"{self._page_url}{FORMAT_PATH}?{query}"), hangup=hangup)

    def _answer_url(self, path: str) -> str:
        query = urlencode(_given(path=path))
        return f"{self._agent_url}/answer{query and '?'}{query}"

    async def endpoint(self, request: Request) -> Response:
        """Answer as the agent does, with the stream in the format that the query names."""
        url, body = self._answer_url(request.query_params.get("path", "")), await request.body()
        try:
            format = str(read_stream_format(request.query_params.get("format", "")))
        except ValueError as error:
            return PlainTextResponse(f"format: {error}\n", 422)
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            **self._account.sign_request("POST", url, form),
        }
        try:
            answer = await self._client.post(url, content=body, headers=headers, timeout=_SECONDS)
        except httpx.HTTPError as error:
            return PlainTextResponse(f"the agent's server gave no answer: {error!r}\n", 502)
        content = answer.content
        if answer.is_success:
            content = with_stream_format(content, format)
        return Response(content, answer.status_code, media_type="application/xml")


def _given(**fields: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def with_stream_format(xml: bytes, format: str) -> bytes:
    """Return an answer's XML with the format of each of its streams; unchanged if it is not XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return xml
    for stream in root.iter("Stream"):
        stream.set("contentType", format)
    in_format: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return in_format
