import json
from typing import Any

import httpx2
import openai
import pytest

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.openai import AzureGate, OpenAIServer


GATE = AzureGate(deployments=["my-mind"])
KEY = {"api-key": GATE.api_key}
CHAT = "/openai/deployments/my-mind/chat/completions"


@pytest.mark.parametrize(
    ("path", "query", "passed"),
    [
        ("/openai/v1/chat/completions", "", ("/v1/chat/completions", None)),
        ("/openai/v1/models", "api-version=preview", ("/v1/models", None)),
        ("/openai/v1/realtime", "model=my-mind", ("/v1/realtime", None)),
        (CHAT, "api-version=2024-10-21", ("/v1/chat/completions", "my-mind")),
        ("/openai/models", "api-version=2025-04-01-preview", ("/v1/models", None)),
    ],
)
def test_the_paths_of_azure_lead_to_those_of_openai(
    path: str, query: str, passed: tuple[str, str | None]
) -> None:
    assert GATE.passes(path, query, KEY, own=["model"]) == passed
    assert GATE.passes(path, query, {"authorization": f"Bearer {GATE.token}"}, own=["model"])


@pytest.mark.parametrize(
    ("path", "query", "headers", "status", "reason"),
    [
        ("/openai/v1/models", "", {}, 401, "invalid subscription key"),
        ("/openai/v1/models", "", {"api-key": "wrong"}, 401, "invalid subscription key"),
        # A key that is sent as a token, and a wrong key beside a right token.
        (
            "/openai/v1/models",
            "",
            {"authorization": f"Bearer {GATE.api_key}"},
            401,
            "invalid subscription key",
        ),
        (
            "/openai/v1/models",
            "",
            {"api-key": "wrong", "authorization": f"Bearer {GATE.token}"},
            401,
            "invalid",
        ),
        ("/openai/v1/models", "api-version=2024-10-21", KEY, 400, "API version not supported"),
        ("/openai/v1/models", "api_version=v1", KEY, 400, "unknown query parameters: api_version"),
        ("/v1/models", "", KEY, 404, "Resource not found"),
        (CHAT, "", KEY, 404, "Resource not found"),
        (CHAT, "api-version=latest", KEY, 404, "Resource not found"),
        ("/openai/chat/completions", "api-version=2024-10-21", KEY, 404, "Resource not found"),
        ("/openai/realtime", "api-version=2024-10-21", KEY, 404, "Resource not found"),
        (CHAT.replace("my", "your"), "api-version=2024-10-21", KEY, 404, "does not exist"),
    ],
)
def test_what_azure_refuses_is_refused(
    path: str, query: str, headers: dict[str, str], status: int, reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason) as refused:
        GATE.passes(path, query, headers)
    assert refused.value.status == status


def test_a_resource_without_a_list_has_every_deployment() -> None:
    AzureGate().check_deployment("any")
    GATE.check_deployment(None)
    with pytest.raises(RefusedError, match="deployment"):
        GATE.check_deployment("any")


async def test_the_packages_own_client_is_served() -> None:
    async with OpenAIServer(azure=GATE) as server:
        common: dict[str, Any] = {"max_retries": 0, "http_client": httpx2.AsyncClient()}
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=server.base_url,
            api_version="2024-10-21",
            api_key=GATE.api_key,
            **common,
        ) as client:
            answer = await client.chat.completions.create(
                model="my-mind", messages=[{"role": "user", "content": "hello"}]
            )
            assert answer.choices[0].message.content == "Good morning. How can I help?"
            with pytest.raises(openai.NotFoundError) as refused:
                await client.chat.completions.create(
                    model="your-mind", messages=[{"role": "user", "content": "hello"}]
                )
    assert json.loads(refused.value.response.content)["error"]["code"] == "DeploymentNotFound"
    assert server.paths[0] == f"{CHAT}?api-version=2024-10-21"
