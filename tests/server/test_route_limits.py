import pytest

from mediaserver.agents import Echo
from mediaserver.handler import HandlerError
from mediaserver.routes import Route, Routes
from mediaserver.server.route_limits import RouteLimits


SALES = Route(Echo, "/sales")
NUMBER = Route(Echo, number="+1 415 555 0100")
OWN = Route(Echo, "/own", max_calls=3)
ROUTES = Routes(SALES, NUMBER, OWN)


def test_a_route_is_limited_by_its_path_its_number_or_itself() -> None:
    limits = RouteLimits(ROUTES, {"/sales": 20, "14155550100": 5, "/own": 9})
    assert (limits.of(SALES), limits.of(NUMBER), limits.of(OWN)) == (20, 5, 3)
    assert RouteLimits(ROUTES, {}).of(SALES) is None


def test_a_limit_without_its_route_is_refused() -> None:
    with pytest.raises(HandlerError, match=r"/sale, but the routes are /sales, /stream \+1 415"):
        RouteLimits(ROUTES, {"/sales": 1, "/sale": 1})
