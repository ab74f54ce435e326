from typing import Any

import pytest
from pydantic import SecretStr

from mediaserver.server.account import NoAccountError, connect, has_account
from mediaserver.settings import Settings


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "auth_id"),
        ({"auth_token": "t"}, "auth_id"),
        ({"auth_id": "MA1", "more_auth_tokens": "t"}, "auth_token"),
    ],
)
def test_half_an_account_is_none(given: Any, missing: str) -> None:
    settings = Settings(**given)
    assert not has_account(settings)
    with pytest.raises(NoAccountError, match=f"{missing} is not set"):
        connect(settings)


def test_the_client_is_for_the_account_and_may_lead_to_the_sandbox() -> None:
    settings = Settings(auth_id="MA1", auth_token=SecretStr("secret"))
    assert has_account(settings)
    assert connect(settings).base_url == "https://api.plivo.com"
    client = connect(settings.model_copy(update={"api_url": "http://127.0.0.1:9000"}))
    assert client.base_url == "http://127.0.0.1:9000"
    assert "secret" not in repr(client)
