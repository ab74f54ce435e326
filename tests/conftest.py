import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_they_were():
    """Undo what a test, or the command it ran, did to the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    config = structlog.get_config()
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers] or handlers
    root.setLevel(level)
    structlog.configure(**config)
