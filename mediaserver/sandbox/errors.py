"""Errors of the sandbox's phone, calls, numbers and account."""

from __future__ import annotations


class CallFailed(Exception):  # noqa: N818
    """The server did not take the call.

    Attributes:
        status: HTTP status of the refusal, None if there was no HTTP answer.
        reason: What went wrong, as text.

    """

    def __init__(self, status: int | None, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return self.reason if self.status is None else f"HTTP {self.status}: {self.reason}"


class CallEnded(Exception):  # noqa: N818
    """The call has ended, so what was awaited or asked for cannot happen."""


class WaitTimeoutError(TimeoutError):
    """What was waited for did not happen within the limit, in the call's own time.

    The message says what that was, what was heard and happened last, and whether the call is up.
    """


class NotInProgressError(Exception):
    """The call has not been answered yet, or is over, so it cannot be changed."""


class TransferLimitError(Exception):
    """The call was transferred as often as Plivo allows."""


class CallLimitError(Exception):
    """The account has as many live calls as it may have."""


class UnknownNumberError(Exception):
    """No application answers for the number; the message names it."""
