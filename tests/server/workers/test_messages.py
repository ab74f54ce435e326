import msgspec
import pytest

from mediaserver.server.workers.messages import (
    Ask,
    ClientConnection,
    Farewell,
    Leaving,
    ListeningAddress,
    Move,
    Orders,
    Ready,
    Replied,
    Retire,
    StartFailed,
    StopWorker,
    Told,
    UsedNonce,
    WorkerMessage,
    decode_message,
    encode_message,
)


CONNECTION = ClientConnection(0, ("192.0.2.1", 40_000), b"GET / HTTP/1.1\r\n", decrypted=True)


@pytest.mark.parametrize(
    "message",
    [
        Orders(1, "3f9a/1.1", (ListeningAddress("127.0.0.1", 8000),)),
        CONNECTION,
        Retire(),
        StopWorker(2),
        Farewell(),
        Ready(calls_limit=200),
        Leaving(),
        StartFailed("no such handler", 2),
        Move("3f9a/2.1", CONNECTION),
        Told("hangup", {"CallUUID": "call-1"}),
        UsedNonce("a nonce", used=False),
        Ask(1, b"calls"),
        Replied(1, b"none"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_read_as_it_was_written(message: WorkerMessage) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode(["Unheard", 1])])
def test_what_is_not_a_message_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_message(data)
