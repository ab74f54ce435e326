"""The demo's scene, and calls that play it in virtual time."""

import logging

import pytest
import structlog

from mediaserver.demo.command import hold_call
from mediaserver.demo.scene import Scene
from mediaserver.handler import Route, Routes
from mediaserver.testing import joined, run_virtual


@pytest.fixture(scope="session")
def scene():
    return Scene.spoken()


@pytest.fixture
def perform(scene):
    """Play the scene with an agent, the right one unless told: the moments and the report."""

    def perform(handler=None):
        moments = []
        routes = Routes(Route(handler)) if handler else scene.routes

        async def call():
            async with joined(routes, start=False) as line:
                return await hold_call(scene, line.phone, moments.append)

        return moments, run_virtual(call())

    return perform


@pytest.fixture(autouse=True)
def restored_logs():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
