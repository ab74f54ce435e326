"""Hanging up and transferring through Plivo's REST API."""

from __future__ import annotations

from pydantic import ValidationError

from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.errors import NotFoundError, PlivoError, PlivoUnreachableError
from mediaserver.plivo.models import TransferRequest, problems
from mediaserver.stream import CallControlError, Stream


class RestCallControl:
    """Steers calls from outside their streams.

    Args:
        client: For the account that the calls belong to.

    """

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def hang_up(self, stream: Stream) -> None:
        """End the call. One that has ended already is no error.

        Raises:
            CallControlError: Plivo refused or could not be reached. The stream goes on, and so
                does the call; closing the stream leaves it to the XML that follows ``<Stream>``.

        """
        try:
            await self._client.calls.hang_up(stream.call_id)
        except (PlivoError, ValueError) as error:
            raise CallControlError(f"cannot hang up call {stream.call_id}: {error}") from error
        # Plivo closes the socket too, a moment later: whoever speaks now speaks to nobody.
        stream.close()

    async def transfer(self, stream: Stream, url: str) -> None:
        """Have the call go on with the XML at `url`, and close its stream.

        In that order: Plivo goes on to the new XML when the stream is closed, and without a
        transfer it would go on to what follows ``<Stream>``.

        Raises:
            CallControlError: Plivo refused or could not be reached. The stream goes on: what to
                tell the caller is the handler's to say.

        """
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
