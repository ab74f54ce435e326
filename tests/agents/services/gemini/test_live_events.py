import pytest

from mediaserver.agents.services.gemini.live_events import decode_live_message


def test_a_message_may_say_several_things_and_others_that_are_not_known() -> None:
    message = decode_live_message(
        b'{"serverContent":{"modelTurn":{"parts":[{"text":"a thought","thought":true},'
        b'{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAE="}}],"role":"model"},'
        b'"outputTranscription":{"text":"Hi"},"turnComplete":true,"interactionStatus":"IDLE"},'
        b'"usageMetadata":{"promptTokenCount":3,"responseTokenCount":2},"newField":{}}'
    )
    assert message is not None
    content = message.server_content
    assert content is not None
    assert content.turn_complete
    assert content.model_turn is not None
    thought, spoken = content.model_turn.parts
    assert thought.inline_data is None
    assert spoken.inline_data is not None
    assert spoken.inline_data.data == b"\0\1"
    assert message.usage_metadata is not None
    assert message.usage_metadata.tokens.tokens_out == 2


SLOW = b'{"inlineData":{"mimeType":"audio/pcm;rate=8000","data":"AAE="}}'


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b'{"serverContent":7}',
        b'{"toolCall":{"functionCalls":[{"id":"a"}]}}',
        b'{"serverContent":{"modelTurn":{"parts":[%s]}}}' % SLOW,
    ],
)
def test_a_malformed_message_is_passed_over(message: bytes) -> None:
    assert decode_live_message(message) is None
