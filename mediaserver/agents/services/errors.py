"""The error that services raise."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """A speech or language service failed. The message says which, and why.

    Attributes:
        service: the service's name in logs and metrics.
        reason: the message without that name.
        status: the HTTP status of its answer; None if it did not answer.

    """

    def __init__(self, service: str, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.reason = reason
        self.status = status

    @property
    def failure(self) -> str:
        """The service and the HTTP status, without a provider's words: those may quote a caller."""
        return self.service if self.status is None else f"{self.service}: HTTP {self.status}"


class NoAnswerError(ServiceError):
    """A model's answer had nothing to say and used no tool. An agent asks once more, then fails."""


class MisconfiguredServiceError(ServiceError):
    """The service cannot work as it is set up: it has no key, or its server refuses it."""


def refused_with(service: str, reason: str, status: int | None) -> ServiceError:
    """Return the error for a request that a service refused.

    Args:
        service: the service's name.
        reason: what the service said.
        status: the HTTP status; 401, 403 and 404 mean that the service cannot work as it is set up.

    """
    kind = MisconfiguredServiceError if status in (401, 403, 404) else ServiceError
    return kind(service, reason, status=status)
