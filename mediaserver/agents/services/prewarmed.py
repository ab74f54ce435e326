"""Services that can be made ready before they are needed."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Prewarmed(Protocol):
    """A service whose first use is slow unless it was asked to get ready."""

    async def prewarm(self) -> None:
        """Open connections, load models. Cheap if it was done; never raises ServiceError."""
