"""Other processes that serve the same calls, and what they must know of each other.

Plivo's webhooks reach any process. So each tells the others of the ends of calls and of the events
of streams, and which signatures have opened a stream.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from mediaserver.plivo.callbacks import CallbackError, HangupRequest, StreamStatusRequest


ToldWebhook: TypeAlias = HangupRequest | StreamStatusRequest
"""A webhook that concerns whichever process has its call."""

_KINDS: Final[dict[str, type[HangupRequest] | type[StreamStatusRequest]]] = {
    "hangup": HangupRequest,
    "status": StreamStatusRequest,
}


class Neighbours(Protocol):
    """Takes what all other processes must know. Nothing waits for them."""

    def tell(self, webhook: ToldWebhook) -> None:
        """Pass a webhook on to their `Runtime.overhear`."""

    def used(self, nonce: str) -> None:
        """Say that a stream was opened with the signature of this nonce."""

    def released(self, nonce: str) -> None:
        """Say that this signature may open a stream again: its stream was lost."""


class Alone:
    """The neighbours of a process that has none."""

    def tell(self, webhook: ToldWebhook) -> None:
        """Do nothing."""

    def used(self, nonce: str) -> None:
        """Do nothing."""

    def released(self, nonce: str) -> None:
        """Do nothing."""


def kind_and_fields(webhook: ToldWebhook) -> tuple[str, dict[str, str]]:
    """Return a webhook in the form in which it is sent to a neighbour."""
    kind = next(kind for kind, each in _KINDS.items() if isinstance(webhook, each))
    return kind, dict(webhook.fields)


def told_webhook(kind: str, fields: dict[str, str]) -> ToldWebhook:
    """Return the webhook that a neighbour has sent.

    Its kind goes with it, because the path at which it came may have decided it.

    Raises:
        CallbackError: The fields are not those of a webhook, or the kind is unknown.

    """
    kind_of_request = _KINDS.get(kind)
    if kind_of_request is None:
        raise CallbackError(f"a webhook is one of {', '.join(_KINDS)}, not {kind[:20]!r}")
    return kind_of_request.parse(fields)
