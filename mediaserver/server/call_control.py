"""Hanging up and transferring without Plivo's REST API."""

from __future__ import annotations

from mediaserver.stream import CallControlError, Stream


class CloseStream:
    """Ends a call by closing its stream.

    The XML of ``/answer`` has ``<Hangup/>`` after ``<Stream>``, so the end of the stream ends the
    call.
    """

    async def hang_up(self, stream: Stream) -> None:
        """Close the stream."""
        stream.close()

    async def transfer(self, stream: Stream, url: str) -> None:
        """Raise `CallControlError`: only Plivo's REST API can transfer a call."""
        raise CallControlError(
            f"cannot transfer call {stream.call_id} to {url}: this needs Plivo's REST API, "
            "and the server has no credentials for it"
        )
