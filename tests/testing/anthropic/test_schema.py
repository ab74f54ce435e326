import json
from typing import Any

import pytest

from mediaserver.testing.anthropic.schema import WireTextBlock, read_messages_request
from mediaserver.testing.http_server import RefusedError


def request(**fields: Any) -> bytes:
    hello = [{"role": "user", "content": "hello"}]
    body = {"model": "any", "max_tokens": 9, "stream": True, "messages": hello}
    return json.dumps(body | fields).encode()


def test_a_text_alone_is_a_block() -> None:
    (message,) = read_messages_request(request()).messages
    assert message.blocks == [WireTextBlock(text="hello")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": 0}, ">= 1"),
        ({"messages": []}, ">= 1"),
        ({"messages": [{"role": "system", "content": "x"}]}, "Invalid enum value 'system'"),
        ({"top_p": 1}, "unknown field `top_p`"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1d"}}, "Invalid enum value '1d'"),
        ({"metadata": {"userid": "x"}}, "unknown field `userid`"),
    ],
)
def test_a_field_or_a_value_that_is_not_published_is_refused(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        read_messages_request(request(**fields))
    assert refused.value.status == 400


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(RefusedError, match="not JSON"):
        read_messages_request(b"{")
