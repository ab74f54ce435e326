import msgspec

from mediaserver.server.admin.commands import CallCommand, CallFilter


def test_what_is_asked_for_can_be_sent_to_another_process() -> None:
    for asked in (CallCommand("say", "call-1", text="Hello."), CallFilter(number="14155550100")):
        sent = msgspec.msgpack.encode(asked)
        assert msgspec.msgpack.decode(sent, type=CallCommand | CallFilter) == asked
