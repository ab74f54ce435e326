import httpx
import pytest

from mediaserver.testing.gemini import GeminiServer


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
