import msgspec
import pytest

from mediaserver.agents.services import Tokens
from mediaserver.agents.services.gemini.chunks import decode_answer_event


def test_what_is_not_known_is_passed_over_and_thoughts_are_charged_for() -> None:
    event = decode_answer_event(
        b'{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0,"new":1}],'
        b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3}}'
    )
    assert event.candidates[0].content is not None
    assert event.candidates[0].content.parts[0].text == "Hi"
    assert event.usage_metadata is not None
    assert event.usage_metadata.tokens == Tokens(9, 5, 0)


def test_a_known_field_of_another_type_is_malformed() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_answer_event(b'{"candidates":{}}')
