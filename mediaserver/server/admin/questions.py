"""What one process asks another about its calls, and how it is answered: bytes in both directions.

The processes of a server may have different versions for a while, after a reload. Fields may be
added to what is sent; one that is not known is passed over.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    CallPage,
    Delivery,
    WorkerEntry,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.merged_metrics import MetricFamily


class AboutWorker(msgspec.Struct, frozen=True, tag=True):
    """Asks a process about itself; the answer is a `WorkerEntry`."""


class ItsMetrics(msgspec.Struct, frozen=True, tag=True):
    """Asks a process for its metrics; the answer is a list of `MetricFamily`."""


Question = CallCommand | CallFilter | AboutWorker | ItsMetrics
"""A `CallCommand` is answered by a `Delivery`, a `CallFilter` by a `CallPage`."""

AnyAnswer = TypeVar("AnyAnswer", Delivery, CallPage, WorkerEntry, list[MetricFamily])

_DECODER: Final[msgspec.msgpack.Decoder[Question]] = msgspec.msgpack.Decoder(Question)


def encode_question(question: Question) -> bytes:
    """Return the bytes of a question."""
    return msgspec.msgpack.encode(question)


def decode_answer(body: bytes, kind: type[AnyAnswer]) -> AnyAnswer:
    """Read an answer.

    Raises:
        msgspec.DecodeError: the other process is of a version that answers in another form.

    """
    return msgspec.msgpack.decode(body, type=kind)


async def answer_question(own: OwnCalls, body: bytes) -> bytes:
    """Answer a question of another process.

    Raises:
        msgspec.DecodeError: the other process is of a version that asks in another form.

    """
    question = _DECODER.decode(body)
    given: Any
    if isinstance(question, CallCommand):
        given = await own.send(question)
    elif isinstance(question, CallFilter):
        given = await own.calls(question)
    elif isinstance(question, AboutWorker):
        given = own.own()
    else:
        return metrics_answer(own)
    return msgspec.msgpack.encode(given)


def metrics_answer(own: OwnCalls) -> bytes:
    """Return the answer to `ItsMetrics`."""
    return msgspec.msgpack.encode(own.families())
