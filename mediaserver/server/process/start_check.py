"""Starting a server without taking calls, to find out whether it can: ``serve --check``."""

from __future__ import annotations

import asyncio

from mediaserver.error_lines import error_lines
from mediaserver.routes import Routes
from mediaserver.server.process.daemon import load_certificates
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


async def check_start(settings: Settings, routes: Routes) -> list[str]:
    """Do what precedes the first call, undo it, and return what is wrong, a line each.

    Reads the certificates, enters the lifespans, makes an instance of each handler class, and asks
    the services. It does not listen, so it can run beside the server.

    Raises:
        HandlerError: a route cannot be streamed as the settings say.
        TLSError: the certificate files cannot be used.

    """
    load_certificates(settings)
    runtime = Runtime(settings, routes)
    try:
        async with asyncio.timeout(settings.lifespan_timeout):
            await runtime.startup()
    except TimeoutError:
        return [f"{routes.opening} took longer than {settings.lifespan_timeout:g} s"]
    except Exception as error:
        return error_lines(error)
    try:
        routes.try_out()
        return [f"{name}: {reason}" for name, reason in routes.unready.items()]
    except Exception as error:
        return error_lines(error)
    finally:
        await runtime.shutdown()
