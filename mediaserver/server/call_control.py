"""Hanging up and transferring without Plivo's REST API."""

from __future__ import annotations

from mediaserver.stream import CallControlError, Stream


class CloseStream:
    """Ends a call by ending its stream.

    The XML that ``/answer`` gives has ``<Hangup/>`` after ``<Stream>``, so that the end of the
    stream is the end of the call.
    """

    async def hang_up(self, stream: Stream) -> None:
        """Close the stream."""
        stream.close()

    async def transfer(self, stream: Stream, url: str) -> None:
        """Refuse: only Plivo's REST API can transfer a call."""
        raise CallControlError(
            f"cannot transfer call {stream.call_id} to {url}: this needs Plivo's REST API, "
            "and the server has no credentials for it"
        )
