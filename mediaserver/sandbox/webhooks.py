"""HTTP requests that Plivo sends to a server: signed, retried, and with a time limit.

A URL can have options as its fragment, as Plivo's callback configuration page describes:
`https://example.com/answer#ct=2000&rt=3000&rc=2&rp=ct,rt,5xx`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit, urlunsplit

import httpx
import structlog

from mediaserver.plivo.bounded_body import (
    IDENTITY,
    BodyRefusedError,
    BodyTooLongError,
    read_body,
)
from mediaserver.plivo.xml import MAX_DOCUMENT
from mediaserver.sandbox.account import Account


log = structlog.get_logger(__name__)

MAX_AUDIO: Final = 20 * 1024 * 1024
"""Bytes that a file of `<Play>` may have."""

_AUDIO_SECONDS: Final = 30.0

_POLICIES = frozenset(("ct", "rt", "4xx", "5xx", "all"))

Failure = Literal["connect", "timeout", "status", "too_large", "unreadable"]


class Target(NamedTuple):
    """A URL, and the method of its requests: GET or POST."""

    url: str
    method: str = "POST"

    @classmethod
    def optional(cls, url: str | None, method: str | None) -> Self | None:
        """Return the target of an optional URL, whose method is POST by default."""
        return cls(url, method or "POST") if url else None


class WebhookError(Exception):
    """A URL gave no usable response.

    Attributes:
        failure: What kind of failure it was.
        status: HTTP status, if the server answered with one.

    """

    def __init__(self, failure: Failure, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a URL, and when to repeat a request.

    Plivo's pages say that a document must arrive within 15 s, and that `rt` is 40 s if left out.
    The shorter one is the default: a server that meets it meets both.

    Attributes:
        connect: Seconds for the connection (`ct`, in milliseconds).
        read: Seconds for the answer to one request, with its body (`rt`).
        total: Seconds for all requests together (`tt`).
        retries: Requests after the first (`rc`).
        policy: After which failures a request is repeated (`rp`): `ct` no connection, `rt` no
            answer in time, `4xx`, `5xx`, or `all`.

    """

    connect: float = 2.0
    read: float = 15.0
    total: float = 55.0
    retries: int = 1
    policy: frozenset[str] = frozenset(("ct", "rt"))

    def with_options(self, fragment: str) -> Self:
        """Return this policy with the options of a URL's fragment applied.

        Raises:
            ValueError: An option has an invalid value.

        """
        values: dict[str, Any] = {}
        for key, text in parse_qsl(fragment, keep_blank_values=True):
            if key in ("ct", "rt", "tt"):
                name = {"ct": "connect", "rt": "read", "tt": "total"}[key]
                values[name] = _whole(key, text, least=1) / 1000
            elif key == "rc":
                values["retries"] = _whole(key, text, least=0)
            elif key == "rp":
                policy = frozenset(text.split(","))
                if not policy <= _POLICIES:
                    raise ValueError(
                        f"rp must be a list of {', '.join(sorted(_POLICIES))}, separated by"
                        f" commas, not {text!r}"
                    )
                values["policy"] = policy
        return replace(self, **values)

    def repeats(self, error: WebhookError) -> bool:
        """Return whether a request that failed with `error` is repeated."""
        if "all" in self.policy:
            return error.failure not in ("too_large", "unreadable")
        if error.status is not None:
            return f"{error.status // 100}xx" in self.policy
        return {"connect": "ct", "timeout": "rt"}.get(error.failure) in self.policy


class WebhookClient:
    """Sends the requests of one account: for documents, for files, and callbacks.

    Args:
        account: The account, whose tokens sign the requests.
        client: Sends the requests; the caller closes it.
        patience: How long URLs without options may take.

    """

    def __init__(
        self, account: Account, client: httpx.AsyncClient, patience: Patience | None = None
    ) -> None:
        self._account = account
        self._client = client
        self._patience = patience or Patience()
        self._notes: set[asyncio.Task[None]] = set()

    async def fetch(self, url: str, method: str, params: Mapping[str, str]) -> bytes:
        """Fetch a document.

        Raises:
            WebhookError: The URL did not give one.

        """
        bare, fragment = urldefrag(url)
        try:
            patience = self._patience.with_options(fragment)
        except ValueError as error:
            raise WebhookError("connect", f"invalid options in {url}: {error}") from None
        try:
            async with asyncio.timeout(patience.total):
                return await self._insist(bare, method.upper(), params, patience)
        except TimeoutError:
            raise WebhookError(
                "timeout", f"{bare} gave no answer in {patience.total:g} s"
            ) from None

    async def _insist(
        self, url: str, method: str, params: Mapping[str, str], patience: Patience
    ) -> bytes:
        for attempt in range(patience.retries + 1):
            try:
                return await self._ask(url, method, params, patience)
            except WebhookError as error:
                log.warning(
                    "webhook failed", url=url, callback=params.get("Event"), error=str(error)
                )
                if attempt == patience.retries or not patience.repeats(error):
                    raise
        raise AssertionError("unreachable")

    async def _ask(
        self, url: str, method: str, params: Mapping[str, str], patience: Patience
    ) -> bytes:
        form: Mapping[str, str] | None = params
        if method == "GET":
            url, form = _with_query(url, params), None
        timeout = httpx.Timeout(patience.read, connect=patience.connect)
        try:
            headers = {**IDENTITY, **self._account.sign_request(method, url, form)}
            async with (
                asyncio.timeout(patience.connect + patience.read),
                self._client.stream(
                    method, url, data=form, headers=headers, timeout=timeout
                ) as response,
            ):
                return await _body(url, response, MAX_DOCUMENT)
        except (httpx.ConnectTimeout, httpx.ConnectError) as error:
            raise WebhookError("connect", f"no connection to {url}: {_words(error)}") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise WebhookError("timeout", f"{url} did not answer in {patience.read:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise WebhookError("connect", f"{url} cannot be requested: {_words(error)}") from error

    async def fetch_audio(self, url: str) -> bytes:
        """Fetch a file of `<Play>`, by one request that is not signed.

        Raises:
            WebhookError: The URL did not give one.

        """
        try:
            async with (
                asyncio.timeout(_AUDIO_SECONDS),
                self._client.stream("GET", url, headers=IDENTITY) as response,
            ):
                return await _body(url, response, MAX_AUDIO)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            raise WebhookError("connect", f"{url} cannot be fetched: {_words(error)}") from error

    def notify(
        self,
        url: str,
        method: str,
        params: Mapping[str, str],
        *,
        after: asyncio.Task[None] | None = None,
    ) -> asyncio.Task[None]:
        """Send a callback in the background; its response does not matter.

        Args:
            url: URL to request.
            method: GET or POST.
            params: Its parameters.
            after: The task of a callback that must be done first.

        """
        note = asyncio.create_task(
            self._note(url, method, dict(params), after), name=f"callback {url}"
        )
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)
        return note

    async def _note(
        self, url: str, method: str, params: Mapping[str, str], after: asyncio.Task[None] | None
    ) -> None:
        if after is not None:
            await asyncio.wait([after])
        try:
            await self.fetch(url, method, params)
        except WebhookError as error:
            log.warning("callback lost", url=url, callback=params.get("Event"), error=str(error))

    async def delivered(self) -> None:
        """Wait until every callback has been delivered or given up."""
        while self._notes:
            await asyncio.wait(set(self._notes))

    async def aclose(self, grace: float = 5.0) -> None:
        """Wait up to `grace` seconds for callbacks, and give up the rest."""
        if self._notes:
            await asyncio.wait(set(self._notes), timeout=grace)
        for note in self._notes:
            note.cancel()
        await asyncio.gather(*self._notes, return_exceptions=True)


async def _body(url: str, response: httpx.Response, most: int) -> bytes:
    """Return the body of a successful response, of at most `most` bytes."""
    if not response.is_success:
        raise WebhookError(
            "status", f"{url} answered with HTTP {response.status_code}", response.status_code
        )
    try:
        return await read_body(response, most)
    except BodyTooLongError as error:
        raise WebhookError("too_large", f"{url} answered, but {error}") from None
    except BodyRefusedError as error:
        raise WebhookError("unreadable", f"{url} answered, but {error}") from None


def _with_query(url: str, params: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(text for text in (parts.query, urlencode(params)) if text)
    return urlunsplit((*parts[:3], query, parts.fragment))


def _whole(key: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{key} must be a whole number, at least {least}, not {text!r}")
    return int(text)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
