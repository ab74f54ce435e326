"""The account at Plivo: whether its credentials are good, and where its numbers lead."""

from __future__ import annotations

from typing import Final

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.public_url import NO_URL
from mediaserver.doctor.subject import Subject
from mediaserver.plivo.client import PlivoClient, Retries
from mediaserver.plivo.errors import AuthenticationError, PlivoError, PlivoUnreachableError
from mediaserver.server.account import NoAccountError, has_account
from mediaserver.server.outbound.number_setup import NumberSetupError, set_up_number
from mediaserver.settings import Settings


_NO_ACCOUNT: Final = "no account is set (auth_id and auth_token)"
_SECONDS: Final = 4.0


async def credentials(subject: Subject) -> Finding:
    """Ask the API for the live calls, which it tells only to the account itself."""
    if not has_account(subject.settings):
        return skipped(_NO_ACCOUNT)
    async with _client(subject.settings) as client:
        try:
            await client.calls.list_live(limit=1)
        except PlivoError as error:
            return _explained(error, subject.settings)
    return passed(f"{subject.settings.api_url} accepts {subject.settings.auth_id}")


async def numbers(subject: Subject) -> Finding:
    """Compare where each number leads with where `mediaserver setup-number` would lead it."""
    settings = subject.settings
    if not has_account(settings):
        return skipped(_NO_ACCOUNT)
    if settings.public_url is None:
        return skipped(NO_URL)
    if not subject.numbers:
        return skipped("no number is named: name each with --number")
    wrong, mends = [], []
    async with _client(settings) as client:
        for number in subject.numbers:
            try:
                setup = await set_up_number(client, number, settings.public_url, dry_run=True)
            except NumberSetupError as error:
                wrong.append(str(error))
                mends.append(f"name a number that the account has, not {number}")
            except PlivoError as error:
                return _explained(error, settings)
            else:
                wrong += map(str, setup.changes)
                if setup.changes:
                    mends.append(
                        f"mediaserver setup-number +{setup.number} --public-url"
                        f" {settings.public_url}"
                    )
    if wrong:
        return failed("; ".join(wrong), "; ".join(mends))
    return passed(f"{', '.join(subject.numbers)} lead to {settings.public_url}")


def _client(settings: Settings) -> PlivoClient:
    if settings.auth_id is None or settings.auth_token is None:
        raise NoAccountError(_NO_ACCOUNT)
    return PlivoClient(
        settings.auth_id,
        settings.auth_token,
        base_url=settings.api_url,
        timeout=_SECONDS / 2,
        retries=Retries(attempts=1),
    )


def _explained(error: PlivoError, settings: Settings) -> Finding:
    if isinstance(error, AuthenticationError):
        return failed(
            f"{settings.api_url} does not accept the account: {error.message}",
            "copy auth_id and auth_token from Plivo's console anew",
        )
    if isinstance(error, PlivoUnreachableError):
        return failed(
            error.message, "let the machine connect to it; proxies are set by HTTPS_PROXY"
        )
    return failed(str(error), "see Plivo's console, and its status page")
