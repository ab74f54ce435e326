"""HTTP requests that Plivo sends to a server: signed, retried, and with a time limit.

The options that Plivo's callback configuration page lets one append to a URL as its fragment are
honoured: `https://example.com/answer#ct=2000&rt=3000&rc=2&rp=ct,rt,5xx`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit, urlunsplit

import httpx
import structlog

from mediaserver.plivo.signatures import sign_headers
from mediaserver.sandbox.account import Account


log = structlog.get_logger(__name__)

MAX_DOCUMENT = 100 * 1024
"""Bytes of a document that Plivo takes."""

_POLICIES = frozenset(("ct", "rt", "4xx", "5xx", "all"))

Failure = Literal["connect", "timeout", "status", "too_large"]


class Target(NamedTuple):
    """A URL, and how it is asked."""

    url: str
    method: str = "POST"


class WebhookError(Exception):
    """A URL gave no usable answer.

    Attributes:
        failure: What kind of failure it was.
        status: HTTP status, if there was one.

    """

    def __init__(self, failure: Failure, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a URL, and when to ask it again.

    Plivo's pages say that a document has to come within 15 s, and that `rt` is 40 s if left out.
    The shorter one is the default: what is quick enough here is quick enough for both.

    Attributes:
        connect: Seconds for the connection (`ct`, in milliseconds).
        read: Seconds for the answer to one request, its body included (`rt`).
        total: Seconds for all of them together (`tt`).
        retries: Requests after the first (`rc`).
        policy: What is worth another request (`rp`): `ct` no connection, `rt` no answer in time,
            `4xx`, `5xx`, or `all`.

    """

    connect: float = 2.0
    read: float = 15.0
    total: float = 55.0
    retries: int = 1
    policy: frozenset[str] = frozenset(("ct", "rt"))

    def told(self, fragment: str) -> Self:
        """Return what the fragment of a URL makes of this; what it does not say stays.

        Raises:
            ValueError: The fragment says something that cannot be.

        """
        values: dict[str, float | int | frozenset[str]] = {}
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
                        f"rp is made of {', '.join(sorted(_POLICIES))}, separated by commas,"
                        f" not {text!r}"
                    )
                values["policy"] = policy
        return type(self)(
            connect=values.get("connect", self.connect),  # type: ignore[arg-type]
            read=values.get("read", self.read),  # type: ignore[arg-type]
            total=values.get("total", self.total),  # type: ignore[arg-type]
            retries=values.get("retries", self.retries),  # type: ignore[arg-type]
            policy=values.get("policy", self.policy),  # type: ignore[arg-type]
        )

    def retry(self, error: WebhookError) -> bool:
        """Tell whether the request that ended so is worth another one."""
        if "all" in self.policy:
            return error.failure != "too_large"
        if error.status is not None:
            return f"{error.status // 100}xx" in self.policy
        return {"connect": "ct", "timeout": "rt"}.get(error.failure) in self.policy


class WebhookClient:
    """Sends the callbacks of one account.

    Args:
        account: Whose tokens sign them.
        client: What sends them; it is the caller's to close.
        patience: What holds for URLs that say nothing else.

    """

    def __init__(
        self, account: Account, client: httpx.AsyncClient, patience: Patience | None = None
    ) -> None:
        self._account = account
        self._client = client
        self._patience = patience or Patience()
        self._notes: set[asyncio.Task[None]] = set()

    async def fetch(self, url: str, method: str, params: Mapping[str, str]) -> bytes:
        """Ask a URL for a document.

        Raises:
            WebhookError: It gave none.

        """
        bare, fragment = urldefrag(url)
        try:
            patience = self._patience.told(fragment)
        except ValueError as error:
            raise WebhookError("connect", f"the options of {url} cannot be: {error}") from None
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
                if attempt == patience.retries or not patience.retry(error):
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
            headers = sign_headers(
                method,
                url,
                self._account.auth_token.get_secret_value(),
                form,
                main_tokens=(
                    self._account.main_token or self._account.auth_token
                ).get_secret_value(),
            )
            async with (
                asyncio.timeout(patience.connect + patience.read),
                self._client.stream(
                    method, url, data=form, headers=headers, timeout=timeout
                ) as response,
            ):
                return await _body(url, response)
        except (httpx.ConnectTimeout, httpx.ConnectError) as error:
            raise WebhookError("connect", f"no connection to {url}: {_words(error)}") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise WebhookError("timeout", f"{url} did not answer in {patience.read:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise WebhookError("connect", f"{url} cannot be asked: {_words(error)}") from error

    def notify(
        self,
        url: str,
        method: str,
        params: Mapping[str, str],
        *,
        after: asyncio.Task[None] | None = None,
    ) -> asyncio.Task[None]:
        """Tell a URL something, whose answer does not matter, without waiting for it.

        Args:
            url: Whom to tell.
            method: GET or POST.
            params: What.
            after: An earlier such task, which is to be done first.

        """
        note = asyncio.create_task(
            self._note(url, method, dict(params), after), name=f"callback {url}"
        )
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)
        return note

    async def _note(
        self,
        url: str,
        method: str,
        params: Mapping[str, str],
        after: asyncio.Task[None] | None,
    ) -> None:
        if after is not None:
            await asyncio.wait([after])
        try:
            await self.fetch(url, method, params)
        except WebhookError as error:
            log.warning("callback lost", url=url, callback=params.get("Event"), error=str(error))

    async def delivered(self) -> None:
        """Wait until everything told so far was delivered or given up."""
        while self._notes:
            await asyncio.wait(set(self._notes))

    async def aclose(self, grace: float = 5.0) -> None:
        """Deliver what can be in so many seconds, and give up the rest."""
        if self._notes:
            await asyncio.wait(set(self._notes), timeout=grace)
        for note in self._notes:
            note.cancel()
        await asyncio.gather(*self._notes, return_exceptions=True)


async def _body(url: str, response: httpx.Response) -> bytes:
    if not response.is_success:
        raise WebhookError(
            "status", f"{url} answered with HTTP {response.status_code}", response.status_code
        )
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_DOCUMENT:
            raise WebhookError(
                "too_large", f"{url} answered with more than {MAX_DOCUMENT} bytes", None
            )
    return bytes(body)


def _with_query(url: str, params: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(text for text in (parts.query, urlencode(params)) if text)
    return urlunsplit(parts._replace(query=query))


def _whole(key: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{key} is a whole number from {least} on, not {text!r}")
    return int(text)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
