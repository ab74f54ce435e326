"""What the supervisor and its workers tell each other, as msgpack.

A message may have a descriptor with it: a `ClientConnection` and a `Move` have their socket.
"""

from __future__ import annotations

from typing import Final

import msgspec


class ListeningAddress(msgspec.Struct, frozen=True, array_like=True):
    """An address that the supervisor listens on."""

    host: str
    port: int


class Orders(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Tells a worker who it is; comes first, with the file of the `WorkerTable`."""

    row: int
    """Its row in the table."""
    process: str
    """Its name, such as ``3f9a/2.1``: the machine's, its row, and how many workers have had it."""
    addresses: tuple[ListeningAddress, ...] = ()
    announces: bool = True
    """Whether its log says what is served; one worker of each generation does."""


class ClientConnection(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Gives a worker a connection that a client has opened."""

    listener: int
    """Index of the address that it was opened to, in `Orders.addresses`."""
    address: tuple[str, int]
    """Host and port of the client."""
    head: bytes = b""
    """What was read of it already."""
    decrypted: bool = False
    """Whether TLS has been ended by another worker, which relays between it and the client."""
    moved: bool = False
    """Whether another worker had it before: it is served here, and not moved again."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Says that the worker has started and takes calls."""

    calls_limit: int | None = None
    """Most calls of all workers, by the settings that this one has read."""


class Retire(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Asks a worker to go: it gets no more new connections, and lets its calls end."""


class StopWorker(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Has a worker do what so many signals have a server do. It counts each only once."""

    times: int


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Says that the worker has nothing left to do, and ends after `Farewell`."""


class LastFigures(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Gives the metrics of a worker that closes its channel."""

    body: bytes


class Farewell(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Says that nothing more will come: what was on its way to the worker has come before."""


class StartFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Says why the worker cannot start. It ends with the exit status."""

    reason: str
    status: int


class Move(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Asks the supervisor to give a connection to the worker that prepared its call.

    If that worker is gone, the connection comes back, `moved`.
    """

    to: str
    """The other worker's name, as in `Orders.process`."""
    connection: ClientConnection


class Told(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Passes on a webhook of a call that this worker does not have."""

    kind: str
    fields: dict[str, str]


class UsedNonce(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Tells the other workers that a stream was opened with the signature of a nonce."""

    nonce: str
    used: bool = True
    """False if the stream was lost, and may be opened again."""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Asks the other side something."""

    number: int
    """Belongs to the `Replied` with the same number."""
    body: bytes


class Replied(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Replies to an `Ask`."""

    number: int
    body: bytes


WorkerMessage = (
    Orders
    | ClientConnection
    | Retire
    | StopWorker
    | Farewell
    | Ready
    | StartFailed
    | Leaving
    | LastFigures
    | Move
    | Told
    | UsedNonce
    | Ask
    | Replied
)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[WorkerMessage]] = msgspec.msgpack.Decoder(WorkerMessage)


def encode_message(message: WorkerMessage) -> bytes:
    """Return the bytes of a message."""
    return _ENCODER.encode(message)


def decode_message(data: bytes | bytearray) -> WorkerMessage:
    """Read a message.

    Raises:
        msgspec.DecodeError: The bytes are not a message, as when the other side is another version.

    """
    return _DECODER.decode(data)
