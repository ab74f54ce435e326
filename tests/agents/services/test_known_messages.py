import msgspec
import pytest

from mediaserver.agents.services.known_messages import KnownMessages


class Words(msgspec.Struct, tag_field="event", tag="words.final"):
    text: str


class Over(msgspec.Struct, tag_field="event", tag="over"):
    pass


MESSAGES = KnownMessages[Words | Over](Words | Over)


def test_a_message_is_read_by_its_type() -> None:
    assert MESSAGES.decode('{"text":"yes","event":"words.final","new":1}') == Words("yes")
    assert MESSAGES.decode(b'{"event":"over"}') == Over()


def test_a_message_of_another_type_is_passed_over_whatever_it_has() -> None:
    assert MESSAGES.decode('{"event":"new","text":7}') is None


def test_there_may_be_one_type_only() -> None:
    assert KnownMessages[Over](Over).decode('{"event":"over"}') == Over()


@pytest.mark.parametrize(
    "message", ['{"event":', '{"text":"yes"}', '{"event":"words.final"}', '{"event":1}', "[]"]
)
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"Object|Expected|truncated"):
        MESSAGES.decode(message)
