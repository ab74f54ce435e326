"""Plivo's REST API, for asyncio.

    async with PlivoClient(auth_id, auth_token) as plivo:
        created = await plivo.calls.create(
            CallRequest(from_="+14155550100", to="+14155550199", answer_url="https://…/answer")
        )
        await plivo.calls.hang_up(created.call_uuid)

A request is repeated when Plivo is busy or out of reach. A `POST` could place a second call or
start a second stream, so it is repeated only when no connection was made.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr, ValidationError

from mediaserver.plivo.addresses import API_URL
from mediaserver.plivo.bounded_body import IDENTITY, BodyRefusedError, read_body
from mediaserver.plivo.errors import (
    InvalidRequestError,
    NotFoundError,
    PlivoError,
    PlivoUnreachableError,
    UnexpectedResponseError,
    error_for,
)
from mediaserver.plivo.models import (
    MAX_PAGE,
    Accepted,
    Answer,
    Application,
    ApplicationCreated,
    ApplicationList,
    ApplicationRequest,
    Call,
    CallCreated,
    CallList,
    CallRequest,
    DigitsRequest,
    LiveCall,
    LiveCallList,
    Number,
    NumberRequest,
    Request,
    StreamCreated,
    StreamList,
    StreamObject,
    StreamRequest,
    TransferRequest,
)
from mediaserver.plivo.numbers import digits


log = logging.getLogger(__name__)

_MAX_ANSWER: Final = 1 << 20
"""Longest response that is read, in bytes. A page of twenty objects has about twenty thousand."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NO_STREAM: Final = "no active stream found"

# All of these are raised before the first byte of a request is sent.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

# Headers that describe the body on the wire, not the decoded one.
_OF_THE_WIRE: Final = (b"content-encoding", b"content-length", b"transfer-encoding")

A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how soon a request is repeated.

    The defaults keep trying for longer than the five seconds over which Plivo counts requests.
    """

    attempts: int = 5
    """Requests in all; with 1, a request is not repeated."""
    backoff: float = 0.5
    """Seconds before the second request; each further wait is twice as long."""
    longest: float = 8.0
    """Longest wait in seconds, unless Plivo names one."""
    longest_retry_after: float = 30.0
    """Longest Retry-After that is obeyed, in seconds; a longer one fails the request at once."""

    def wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Return the seconds to wait after the `attempt`-th request failed, None to give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.longest_retry_after else None
        # Random, so that clients that failed together do not come back together.
        wait: float = min(self.backoff * 2.0 ** (attempt - 1), self.longest)
        return wait * random.uniform(0.5, 1.0)


_RETRIES: Final = Retries()


class PlivoClient:
    """Plivo's REST API for one account.

    Proxies of the environment (``HTTPS_PROXY`` and so on) are used, but not on the way to a sandbox
    on this machine.

    Args:
        auth_id: The account, ``MA…`` or ``SA…``.
        auth_token: Its token. It appears in no log, error or ``repr``.
        base_url: Address of Plivo or of the sandbox.
        timeout: Seconds that connecting may take, and then each part of the answer; the request as
            a whole may take twice as long.
        retries: How often a request is repeated.
        transport: What carries the requests, for tests.
        sleep: How to wait between requests, for tests.

    """

    def __init__(
        self,
        auth_id: str,
        auth_token: SecretStr | str,
        *,
        base_url: str = API_URL,
        timeout: float = 10.0,
        retries: Retries = _RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not _ID.fullmatch(auth_id):
            raise ValueError(f"an auth id is 20 letters and digits such as MA…, not {auth_id!r}")
        token = auth_token if isinstance(auth_token, SecretStr) else SecretStr(auth_token)
        if not token.get_secret_value():
            raise ValueError("the auth token is empty")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"base_url must be a URL such as {API_URL}, without a user name")
        self.base_url = base_url.rstrip("/")
        self._account = f"{self.base_url}/v1/Account/{auth_id}/"
        self._token = token
        self._deadline = 2 * timeout
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            auth=httpx.BasicAuth(auth_id, token.get_secret_value()),
            headers={"accept": "application/json", "user-agent": "mediaserver", **IDENTITY},
            timeout=timeout,
            transport=transport,
            trust_env=not _is_loopback(parts.hostname),
        )
        self.calls = CallsApi(self)
        self.streams = StreamsApi(self)
        self.numbers = NumbersApi(self)
        self.applications = ApplicationsApi(self)

    def __repr__(self) -> str:
        return f"<PlivoClient {self.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, answer: type[A], **query: Any) -> A:
        """Ask for a resource.

        Args:
            path: Below the account, with the slash at its end: ``Call/``.
            answer: The type of the response.
            **query: Parameters; those that are None are left out.

        """
        query = {name: value for name, value in query.items() if value is not None}
        return _read(await self._repeated("GET", path, query), answer)

    async def post(self, path: str, request: Request, answer: type[A]) -> A:
        """Send a request that changes something. It is repeated only if it never left."""
        return _read(await self._sent_once("POST", path, request.body()), answer)

    async def delete(self, path: str) -> bool:
        """End or remove a resource, and return whether it still existed."""
        try:
            await self._repeated("DELETE", path)
        except NotFoundError:
            return False
        except InvalidRequestError as error:
            if _NO_STREAM in error.message.lower():
                return False
            raise
        return True

    async def _repeated(
        self, method: str, path: str, query: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return await self._ask(method, path, query=query, again=lambda error: True)

    async def _sent_once(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        def never_left(error: PlivoError) -> bool:
            return isinstance(error, PlivoUnreachableError) and not error.may_have_arrived

        return await self._ask(method, path, body=body, again=never_left)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        again: Callable[[PlivoError], bool],
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        retries = self._retries
        attempt = 1
        while True:
            try:
                return await self._ask_once(method, path, query, body)
            except PlivoError as error:
                passing = isinstance(error, PlivoUnreachableError) or _is_passing(error.status)
                wait = retries.wait(attempt, error.retry_after)
                if not passing or not again(error) or wait is None:
                    raise
            await self._sleep(wait)
            attempt += 1

    async def _ask_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> httpx.Response:
        request = f"{method} {path}"
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._fetch(method, path, query, body)
        except TimeoutError:
            raise PlivoUnreachableError(
                f"{self.base_url} gave no complete response within {self._deadline:g} s",
                may_have_arrived=True,
                request=request,
            ) from None
        except httpx.RequestError as failure:
            raise PlivoUnreachableError(
                self._without_token(_explain(failure, self.base_url)),
                may_have_arrived=not isinstance(failure, _NOT_SENT),
                request=request,
            ) from None
        if response.is_success:
            return response
        raise error_for(
            response.status_code,
            _content(self._without_token(response.text)),
            request=request,
            retry_after=_retry_after(response),
        )

    async def _fetch(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> httpx.Response:
        async with self._http.stream(
            method, self._account + path, params=query or None, json=body
        ) as response:
            try:
                content = await read_body(response, _MAX_ANSWER)
            except BodyRefusedError as error:
                raise UnexpectedResponseError(
                    str(error), status=response.status_code, request=f"{method} {path}"
                ) from None
        headers = [
            (name, value)
            for name, value in response.headers.raw
            if name.lower() not in _OF_THE_WIRE
        ]
        return httpx.Response(
            response.status_code, headers=headers, content=content, request=response.request
        )

    def _without_token(self, text: str) -> str:
        return text.replace(self._token.get_secret_value(), "…")


class CallsApi:
    """Making, watching and steering calls."""

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def create(self, request: CallRequest) -> CallCreated:
        """Make a call, or several.

        Raises:
            ConcurrencyLimitError: The account's limit of concurrent calls is reached (5030).
            RateLimitedError: The account's limit of calls per second is reached. No call was made.
            PlivoUnreachableError: `may_have_arrived` says whether a call may have been made.

        """
        return await self._client.post("Call/", request, CallCreated)

    async def get(self, call_uuid: str) -> Call:
        """Look up a call that has ended.

        Raises:
            NotFoundError: The call does not exist, or has not ended.

        """
        return await self._client.get(f"Call/{_id(call_uuid, 'call_uuid')}/", Call)

    async def list(
        self, *, limit: int | None = None, offset: int | None = None, **filters: Any
    ) -> CallList:
        """List calls that have ended, the latest first.

        Args:
            limit: Length of the page, at most 20.
            offset: Number of calls to skip.
            **filters: As Plivo's page names them: ``call_direction``, ``from_number``,
                ``to_number``, ``end_time__gt``, ``hangup_cause_code`` and so on.

        """
        page = _page(limit, offset)
        return await self._client.get("Call/", CallList, **page, **filters)

    async def live(self, call_uuid: str) -> LiveCall:
        """Look up a live call.

        Raises:
            NotFoundError: The call does not exist, or has ended.

        """
        path = f"Call/{_id(call_uuid, 'call_uuid')}/"
        return await self._client.get(path, LiveCall, status="live")

    async def list_live(
        self,
        *,
        call_direction: str | None = None,
        from_number: str | None = None,
        to_number: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> LiveCallList:
        """List the ids of live calls.

        Args:
            call_direction: Only ``inbound`` or only ``outbound`` calls.
            from_number: Only calls of this caller.
            to_number: Only calls to this number.
            limit: Length of the page, at most 20.
            offset: Number of calls to skip.

        """
        return await self._client.get(
            "Call/",
            LiveCallList,
            status="live",
            call_direction=call_direction,
            from_number=from_number,
            to_number=to_number,
            **_page(limit, offset),
        )

    async def hang_up(self, call_uuid: str) -> bool:
        """End a call, and return whether it was still live."""
        return await self._client.delete(f"Call/{_id(call_uuid, 'call_uuid')}/")

    async def cancel(self, request_uuid: str) -> bool:
        """Cancel a call that has not been answered, and return whether it was still waiting."""
        return await self._client.delete(f"Request/{_id(request_uuid, 'request_uuid')}/")

    async def transfer(self, call_uuid: str, request: TransferRequest) -> Accepted:
        """Continue a call with other XML.

        Raises:
            NotFoundError: The call has ended.

        """
        return await self._client.post(f"Call/{_id(call_uuid, 'call_uuid')}/", request, Accepted)

    async def send_digits(self, call_uuid: str, request: DigitsRequest) -> Accepted:
        """Press keys on a call."""
        path = f"Call/{_id(call_uuid, 'call_uuid')}/DTMF/"
        return await self._client.post(path, request, Accepted)


class StreamsApi:
    """Audio streams of live calls."""

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def start(self, call_uuid: str, request: StreamRequest) -> StreamCreated:
        """Start a stream.

        Raises:
            InvalidRequestError: Plivo refuses the URL, or already streams to it.
            NotFoundError: The call has ended.
            PlivoUnreachableError: `may_have_arrived` says whether it may have been started.

        """
        for warning in request.warnings:
            log.warning("stream of call %s: %s", call_uuid, warning)
        return await self._client.post(_streams(call_uuid), request, StreamCreated)

    async def get(self, call_uuid: str, stream_id: str) -> StreamObject:
        """Look up a stream, live or ended."""
        return await self._client.get(_stream(call_uuid, stream_id), StreamObject)

    async def list(
        self, call_uuid: str, *, limit: int | None = None, offset: int | None = None
    ) -> StreamList:
        """List the streams of a call."""
        return await self._client.get(_streams(call_uuid), StreamList, **_page(limit, offset))

    async def stop(self, call_uuid: str, stream_id: str) -> bool:
        """Stop a stream, and return whether it was still running."""
        return await self._client.delete(_stream(call_uuid, stream_id))

    async def stop_all(self, call_uuid: str) -> bool:
        """Stop all streams of a call, and return whether any was running."""
        return await self._client.delete(_streams(call_uuid))


class NumbersApi:
    """The phone numbers of the account."""

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def get(self, number: str) -> Number:
        """Look up a number.

        Raises:
            NotFoundError: The account does not have it.

        """
        return await self._client.get(_number(number), Number)

    async def update(self, number: str, request: NumberRequest) -> Accepted:
        """Change what a number does."""
        return await self._client.post(_number(number), request, Accepted)


class ApplicationsApi:
    """Applications: the URLs that numbers are pointed at."""

    def __init__(self, client: PlivoClient) -> None:
        self._client = client

    async def get(self, app_id: str) -> Application:
        """Look up an application."""
        return await self._client.get(f"Application/{_id(app_id, 'app_id')}/", Application)

    async def list(
        self,
        *,
        app_name: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> ApplicationList:
        """List applications, a page of them."""
        page = _page(limit, offset)
        return await self._client.get(
            "Application/", ApplicationList, app_name=app_name, cursor=cursor, **page
        )

    async def all(self, *, app_name: str | None = None) -> AsyncIterator[Application]:
        """Go through all applications, page by page."""
        page: dict[str, Any] | None = {"limit": MAX_PAGE, "offset": 0}
        while page is not None:
            answer = await self._client.get(
                "Application/", ApplicationList, app_name=app_name, **page
            )
            for application in answer.objects:
                yield application
            following = answer.meta.next_page
            page = following if answer.objects and following != page else None

    async def create(self, request: ApplicationRequest) -> ApplicationCreated:
        """Make an application."""
        return await self._client.post("Application/", request, ApplicationCreated)

    async def update(self, app_id: str, request: ApplicationRequest) -> Accepted:
        """Change an application."""
        path = f"Application/{_id(app_id, 'app_id')}/"
        return await self._client.post(path, request, Accepted)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _id(value: str, name: str) -> str:
    """Return an id that may stand in a path.

    An empty one would turn a request about one call into one about all calls.
    """
    if not _ID.fullmatch(value):
        raise ValueError(f"{name} must be an id of letters, digits, - and _; not {value[:60]!r}")
    return value


def _streams(call_uuid: str) -> str:
    return f"Call/{_id(call_uuid, 'call_uuid')}/Stream/"


def _stream(call_uuid: str, stream_id: str) -> str:
    return f"{_streams(call_uuid)}{_id(stream_id, 'stream_id')}/"


def _number(number: str) -> str:
    found = digits(number)
    if found is None:
        raise ValueError(f"must be a phone number such as +14155550100, not {number[:60]!r}")
    return f"Number/{found}/"


def _page(limit: int | None, offset: int | None) -> dict[str, int]:
    if limit is not None and not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit must be from 1 to {MAX_PAGE}, not {limit}")
    if offset is not None and offset < 0:
        raise ValueError(f"offset must not be negative; it is {offset}")
    page = {"limit": limit, "offset": offset}
    return {name: value for name, value in page.items() if value is not None}


def _is_passing(status: int | None) -> bool:
    return status == httpx.codes.TOO_MANY_REQUESTS or (
        status is not None and status >= httpx.codes.INTERNAL_SERVER_ERROR
    )


def _read(response: httpx.Response, answer: type[A]) -> A:
    request = f"{response.request.method} {response.request.url.path.split('/', 4)[-1]}"
    content = _content(response.text)
    if content is None and answer is Accepted:
        content = {}
    try:
        return answer.model_validate(content)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(each) for each in detail["loc"])
        what = f"{where}: {detail['msg']}" if where else detail["msg"]
        # A success with an error in it: the error says more than the missing field.
        said = error_for(response.status_code, content).message if _has_error(content) else what
        api_id = content.get("api_id") if isinstance(content, Mapping) else None
        raise UnexpectedResponseError(
            f"unexpected response: {said}",
            status=response.status_code,
            api_id=api_id if isinstance(api_id, str) else None,
            request=request,
        ) from None


def _has_error(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content.get("error"))


def _content(text: str) -> Any:
    """Return the JSON of a response, the text if it is not JSON, or None if it is empty."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _retry_after(response: httpx.Response) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - time.time())


def _explain(error: httpx.RequestError, base_url: str) -> str:
    what = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        what = f"no answer in time ({type(error).__name__})"
    return f"{base_url} is out of reach: {what}"
