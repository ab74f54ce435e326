import msgspec

from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    unknown_call,
    unknown_node,
)


def test_what_is_asked_for_can_be_sent_to_another_process() -> None:
    for asked in (CallCommand("say", "call-1", text="Hello."), CallFilter(number="14155550100")):
        sent = msgspec.msgpack.encode(asked)
        assert msgspec.msgpack.decode(sent, type=CallCommand | CallFilter) == asked


def test_what_does_not_exist_is_said_with_what_does() -> None:
    assert "'call-7'" in unknown_call("call-7").detail
    delivery = unknown_node("b", ["a"])
    assert (delivery.status, delivery.hint) == ("unknown_node", "there is: a, or self")
