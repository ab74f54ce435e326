"""The limits of calls that routes have of their own."""

from __future__ import annotations

from collections.abc import Mapping

from mediaserver.handler import HandlerError
from mediaserver.plivo.numbers import phone_key
from mediaserver.routes import Route, Routes


class RouteLimits:
    """The limit of each route.

    Args:
        routes: The routes. What one of them says itself counts before the settings.
        limits: Limits by the path or the number of a route, as in the settings.

    Raises:
        HandlerError: There is no route for one of the limits.

    """

    def __init__(self, routes: Routes, limits: Mapping[str, int]) -> None:
        self._limits: dict[str, int] = {}
        unknown = dict(limits)
        for route in routes.routes:
            for condition, limit in limits.items():
                if _is_for(condition, route):
                    self._limits[route.label] = limit
                    unknown.pop(condition, None)
            if route.max_calls is not None:
                self._limits[route.label] = route.max_calls
        if unknown:
            labels = ", ".join(route.label for route in routes.routes)
            which = next(iter(unknown))
            raise HandlerError(f"max_calls_route limits {which}, but the routes are {labels}")

    def of(self, route: Route) -> int | None:
        """Return the limit of a route; None if it has none."""
        return self._limits.get(route.label)


def _is_for(condition: str, route: Route) -> bool:
    if condition.startswith("/"):
        return route.path == condition
    return route.number is not None and phone_key(route.number) == phone_key(condition)
