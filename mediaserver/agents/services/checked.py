"""Services that can tell before the first call whether they will work."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Checked(Protocol):
    """A service that can be checked when a server starts."""

    async def check(self) -> None:
        """Find out whether the service can be used as it is set up, without cost.

        Raises:
            MisconfiguredServiceError: it cannot, and will not by itself.
            ServiceError: it cannot be reached now.

        """
