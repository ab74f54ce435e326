"""The handlers: whether they can be imported, and whether their services accept their keys."""

from __future__ import annotations

from contextlib import AsyncExitStack

from mediaserver.agents.services.known import KNOWN_SERVICES
from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.reaching import in_a_thread
from mediaserver.doctor.subject import Subject
from mediaserver.error_lines import error_lines
from mediaserver.handler import HandlerError, Served
from mediaserver.routes import Routes


async def handlers(subject: Subject) -> Finding:
    """Import the handlers; checks that come later find them in `subject`."""
    settings = subject.settings
    if not settings.handler:
        return skipped("no handler is named: name them as for `mediaserver serve`")
    try:
        routes = await in_a_thread(lambda: Routes.load(*settings.handler, path=settings.path))
        routes.check_streams(settings.stream_options)
    except HandlerError as error:
        return failed(str(error), "mend the handler; `mediaserver serve --check` tells more")
    subject.routes = routes
    return passed(", ".join(f"{each.name} at {each.label}" for each in routes.routes))


async def services(subject: Subject) -> Finding:
    """Have each handler check its services: that they are reached, and take its keys."""
    if subject.routes is None:
        return skipped("no handler is loaded")
    served = [each for each in subject.routes.routes if isinstance(each.handler, Served)]
    if not served:
        return skipped("no handler has services")
    unready: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for route in served:
            assert isinstance(route.handler, Served)
            try:
                found = await stack.enter_async_context(route.handler.serving(route.settings))
            except (HandlerError, ImportError) as error:
                said = "; ".join(error_lines(error))
                return failed(said, _remedy("set the keys, and install the packages", said))
            unready.update(found or {})
    if unready:
        said = "; ".join(f"{name}: {reason}" for name, reason in unready.items())
        remedy = "let the machine connect to the service, and compare its key and its model"
        return failed(said, _remedy(remedy, said))
    return passed(f"the services of {', '.join(each.name for each in served)} are ready")


def _remedy(remedy: str, said: str) -> str:
    """Return a remedy, with the variables of the keys of providers that are named."""
    words = said.lower()
    named = [
        f"{provider.variable} has the key of `mediaserver check-service {name}`, which tells more"
        for name, provider in KNOWN_SERVICES.items()
        if provider.variable is not None and (name in words or provider.variable in said)
    ]
    return "; ".join((remedy, *named))
