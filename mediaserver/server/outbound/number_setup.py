"""Pointing a phone number at this server.

At Plivo a number belongs to an application, and the application has the URLs of the webhooks. Each
server gets its own application, since other numbers may use the existing ones. The present state is
read before anything is changed, so repeating the set-up changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.errors import NotFoundError
from mediaserver.plivo.models import Application, ApplicationRequest, NumberRequest
from mediaserver.plivo.numbers import digits


_URLS: Final = ("answer_url", "hangup_url", "fallback_answer_url")
_METHODS: Final = ("answer_method", "hangup_method", "fallback_method")


class NumberSetupError(ValueError):
    """The number cannot be set up; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was made."""

    what: str
    """Such as ``answer_url of application 2046859``."""
    before: str | None
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before or 'none'} -> {self.after}"


@dataclass(frozen=True, slots=True)
class NumberSetup:
    """The set-up of a number, and the changes that were made for it."""

    number: str
    app_id: str | None
    """None if a dry run would have created the application."""
    answer_url: str
    changes: tuple[Change, ...]
    """Empty if nothing had to be changed."""


async def set_up_number(
    client: PlivoClient,
    number: str,
    server_url: str,
    *,
    path: str | None = None,
    app_name: str | None = None,
    dry_run: bool = False,
) -> NumberSetup:
    """Have this server answer the calls to a number.

    Args:
        client: A client for the account that has the number.
        number: The number, in any notation.
        server_url: ``http`` or ``https`` URL by which Plivo reaches the server.
        path: Path of the stream for the calls; by default that of the number.
        app_name: Name of the application; by default derived from `server_url` and `path`.
        dry_run: Change nothing, and return the changes that would be made.

    Raises:
        NumberSetupError: It is not a number, the account does not have it, or it takes no calls.
        PlivoError: Plivo refused, or could not be reached.

    """
    found = digits(number)
    if found is None:
        raise NumberSetupError(f"a phone number is written +14155550100, not {number[:60]!r}")
    try:
        current = await client.numbers.get(found)
    except NotFoundError:
        raise NumberSetupError(f"the account has no number +{found}") from None
    if current.voice_enabled is False:
        raise NumberSetupError(f"+{found} cannot take calls: it is not enabled for voice")

    server_url = server_url.rstrip("/")
    query = f"?path={quote(path, safe='/')}" if path else ""
    wanted = ApplicationRequest(
        answer_url=f"{server_url}/answer{query}",
        answer_method="POST",
        hangup_url=f"{server_url}/hangup",
        hangup_method="POST",
        fallback_answer_url=f"{server_url}/fallback{query}",
        fallback_method="POST",
    )
    name = app_name or name_for(server_url, path)
    application = await _application_for(client, current.app_id, name, wanted)

    changes: list[Change] = []
    app_id = application.app_id if application else None
    if application is None:
        changes.append(Change("application", None, name))
        if not dry_run:
            request = wanted.model_copy(update={"app_name": name})
            app_id = (await client.applications.create(request)).app_id
    else:
        different = _differences(application, wanted)
        changes += different
        if different and not dry_run:
            await client.applications.update(application.app_id, wanted)
    if app_id is None or current.app_id != app_id:
        changes.append(Change(f"application of +{found}", current.app_id, app_id or name))
        if app_id is not None and not dry_run:
            await client.numbers.update(found, NumberRequest(app_id=app_id))
    return NumberSetup(found, app_id, str(wanted.answer_url), tuple(changes))


def name_for(server_url: str, path: str | None = None) -> str:
    """Return the name of the application for a server: letters, digits and hyphens."""
    parts = urlsplit(server_url)
    words = re.findall(r"[A-Za-z0-9]+", f"{parts.netloc} {parts.path} {path or ''}")
    return "-".join(("mediaserver", *words))


async def _application_for(
    client: PlivoClient, current: str | None, name: str, wanted: ApplicationRequest
) -> Application | None:
    """Find this server's application: the number's own if it leads here, or one by name."""
    if current is not None:
        try:
            own = await client.applications.get(current)
        except NotFoundError:
            pass
        else:
            if own.answer_url == wanted.answer_url or own.app_name == name:
                return own
    async for application in client.applications.all(app_name=name):
        # The filter may match a part of the name.
        if application.app_name == name:
            return application
    return None


def _differences(application: Application, wanted: ApplicationRequest) -> list[Change]:
    changes = []
    for field in (*_URLS, *_METHODS):
        before, after = getattr(application, field), getattr(wanted, field)
        same = (before or "").upper() == after if field in _METHODS else before == after
        if not same:
            changes.append(Change(f"{field} of application {application.app_id}", before, after))
    return changes
