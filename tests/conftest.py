"""What holds for every test: hypothesis' profiles, and the logs of the process."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings


pytest_plugins = ["tests.real"]

# The same examples in every run, and no limit that a busy machine can exceed. For a longer search
# with new examples: pytest --hypothesis-profile=search.
settings.register_profile(
    "gate", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "search", settings.get_profile("gate"), derandomize=False, max_examples=5000
)
settings.load_profile("gate")


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Undo what a test, or the command it ran, did to the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    config = structlog.get_config()
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers] or handlers
    root.setLevel(level)
    structlog.configure(**config)
