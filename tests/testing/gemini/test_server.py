import json
from typing import Any

import httpx
import pytest

from mediaserver.testing.gemini import GeminiServer
from mediaserver.testing.gemini.schema import WireContent, read_closed
from mediaserver.testing.gemini.server import check_contents
from mediaserver.testing.http_server import RefusedError


BODY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("models/any:streamGenerateContent?alt=sse", 200),
        ("models/any:streamGenerateContent?alt=sse&speed=2", 400),
        ("models/any:streamGenerateContent", 400),
        ("models/any:generateContent", 404),
        ("models/other:streamGenerateContent?alt=sse", 404),
        ("any", 404),
    ],
)
async def test_only_what_the_api_has_is_there(path: str, status: int) -> None:
    async with GeminiServer(models=["any"]) as server, httpx.AsyncClient() as client:
        headers = {"x-goog-api-key": server.api_key}
        url = f"{server.base_url}/v1beta/{path}"
        assert (await client.post(url, json=BODY, headers=headers)).status_code == status


USER: dict[str, Any] = {"role": "user", "parts": [{"text": "hello"}]}
CALL: dict[str, Any] = {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "look"}}]}
RESULT: dict[str, Any] = {
    "role": "user",
    "parts": [{"functionResponse": {"id": "a", "name": "look", "response": {}}}],
}


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ([], "must end with the user"),
        ([USER, {"role": "model", "parts": [{"text": "Hi."}]}], "must end with the user"),
        ([{"role": "user", "parts": []}], "has no parts"),
        ([RESULT], "follow their function call"),
        ([USER, CALL, USER], "follow their function call"),
        ([USER, CALL, RESULT], "missing a thought_signature"),
    ],
)
def test_contents_in_another_order_are_refused(contents: Any, said: str) -> None:
    read = [read_closed(json.dumps(each), WireContent) for each in contents]
    with pytest.raises(RefusedError, match=said):
        check_contents(read, signed=True)


async def test_a_model_can_be_looked_up_with_the_key() -> None:
    async with GeminiServer() as server, httpx.AsyncClient() as client:
        url = f"{server.base_url}/v1beta/models/any"
        assert (await client.get(url)).status_code == 400
        shown = await client.get(url, headers={"x-goog-api-key": server.api_key})
    assert "generateContent" in shown.json()["supportedGenerationMethods"]
