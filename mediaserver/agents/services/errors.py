"""What a service raises when it cannot do its part."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """A speech or language service failed; it says which, and why.

    Attributes:
        service: the service's name, as logs and metrics have it.
        status: the HTTP status it answered with, if it answered.

    """

    def __init__(self, service: str, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.status = status
