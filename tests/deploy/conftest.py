import os
import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of promtool."""
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("MEDIASERVER_TESTS_NEED_PROMTOOL"):
            pytest.fail("there is no promtool: install Debian's package prometheus")
        pytest.skip("there is no promtool: make observability installs it")
    return found
