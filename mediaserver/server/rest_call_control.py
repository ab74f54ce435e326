"""Hanging up and transferring through Plivo's REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from mediaserver.plivo.errors import NotFoundError, PlivoError, PlivoUnreachableError
from mediaserver.stream import CallControlError, Stream


if TYPE_CHECKING:
    from mediaserver.plivo.client import PlivoClient


class RestCallControl:
    """Controls calls by Plivo's REST API.

    Args:
        client: A client for the account of the calls.

    """

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def hang_up(self, stream: Stream) -> None:
        """End the call; a call that has already ended is no error.

        Raises:
            CallControlError: Plivo refused or could not be reached. The stream and the call
                continue; closing the stream continues with the XML after ``<Stream>``.

        """
        try:
            await self._client.calls.hang_up(stream.call_id)
        except (PlivoError, ValueError) as error:
            raise CallControlError(f"cannot hang up call {stream.call_id}: {error}") from error
        # Plivo will close the socket too, a moment later; until then nobody is listening.
        stream.close()

    async def transfer(self, stream: Stream, url: str) -> None:
        """Continue the call with the XML at `url`, and close its stream.

        The transfer comes first: when the stream closes, Plivo runs the new XML; without a
        transfer it would run the XML after ``<Stream>``.

        Raises:
            CallControlError: Plivo refused or could not be reached. The stream continues, so that
                the handler can tell the caller.

        """
        # The client has imported it.
        from mediaserver.plivo.models import TransferRequest, problems

        try:
            request = TransferRequest(aleg_url=url)
        except ValidationError as error:
            raise CallControlError(
                f"cannot transfer call {stream.call_id} to {url!r}: {problems(error)}"
            ) from None
        try:
            await self._client.calls.transfer(stream.call_id, request)
        except NotFoundError as error:
            raise CallControlError(
                f"cannot transfer call {stream.call_id}, it is over: {error}"
            ) from error
        except PlivoUnreachableError as error:
            doubt = " (or may have been: no answer came)" if error.may_have_arrived else ""
            raise CallControlError(
                f"call {stream.call_id} was not transferred{doubt}: {error}"
            ) from error
        except (PlivoError, ValueError) as error:
            raise CallControlError(f"cannot transfer call {stream.call_id}: {error}") from error
        stream.close()
