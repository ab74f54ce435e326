"""The public URL: whether requests come to the server from there, and how they look then."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.reaching import client_for, in_a_thread, upgrade
from mediaserver.doctor.subject import Subject
from mediaserver.plivo.signatures import sign_headers, sign_upgrade
from mediaserver.server.trust.seen import SEEN_HEADER, SeenRequest
from mediaserver.server.trust.tokens import TOKEN_PARAMETER
from mediaserver.settings import Settings
from mediaserver.settings.values import is_loopback


NO_URL: Final = "public_url is not set"
_WEBHOOKS: Final = ("/answer", "/fallback", "/hangup", "/status")
_GATEWAY: Final = (502, 503, 504)
_NO_TOKEN: Final = "no-token"
"""A token that no server has made: a stream with it is refused, after all else was checked."""


async def public_url(subject: Subject) -> Finding:
    """Tell whether the URL is one that Plivo can use."""
    url = subject.settings.public_url
    if url is None:
        return failed(
            NO_URL, "set public_url to the https:// URL at which Plivo reaches this server"
        )
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_sandbox = is_loopback(urlsplit(subject.settings.api_url).hostname or "")
    if parts.scheme != "https" and not (is_sandbox and is_loopback(host)):
        return failed(
            f"{url} has no TLS: the audio and the telephone numbers of calls could be read",
            "use an https:// URL: with ssl_certfile, or behind a proxy that ends TLS",
        )
    try:
        port = parts.port or 443
        found = await in_a_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        return failed(f"{host} has no address: {error}", f"make a DNS record for {host}")
    addresses = sorted({str(each[4][0]) for each in found})
    private = [each for each in addresses if not ip_address(each.partition("%")[0]).is_global]
    if private and not is_sandbox:
        return failed(
            f"{host} is {', '.join(private)} here, which is no address of the internet",
            "have its DNS record name the public address of the proxy or of this machine. Where"
            " names are resolved otherwise inside your network, run this command outside of it",
        )
    return passed(f"{url} is at {', '.join(addresses)}")


async def webhooks(subject: Subject) -> Finding:
    """Send each webhook a request without fields, which the server refuses in words of its own."""
    settings = subject.settings
    if settings.public_url is None:
        return skipped(NO_URL)
    paths = (*_WEBHOOKS, "/resume") if settings.resume_calls else _WEBHOOKS
    async with client_for(settings.public_url) as client:
        for path in paths:
            url = settings.public_url + path
            try:
                reply = await client.post(url, headers=_signed(settings, url))
            except httpx.HTTPError as error:
                return _unreached(url, error)
            if not _is_ours(reply.status_code, reply.text):
                return _not_ours(path, reply)
    return passed(f"{', '.join(paths)} reach the server")


async def signatures(subject: Subject) -> Finding:
    """Tell whether what the token has signed is accepted, and nothing else."""
    settings = subject.settings
    if settings.public_url is None:
        return skipped(NO_URL)
    if not settings.auth_tokens:
        return skipped("no auth token is set, so no signature is checked")
    if not settings.check_signatures:
        return skipped("check_signatures is off")
    url = f"{settings.public_url}/status"
    async with client_for(url) as client:
        try:
            signed = await client.post(url, headers=_signed(settings, url))
            unsigned = await client.post(url)
        except httpx.HTTPError as error:
            return _unreached(url, error)
    if signed.status_code == httpx.codes.FORBIDDEN:
        return failed(
            f"the server refuses what the auth token has signed: {signed.text.strip()[:200]}",
            "give the server the same auth token and public_url as this command, restart it, and"
            " have the proxy leave the URL as it is",
        )
    if unsigned.status_code != httpx.codes.FORBIDDEN:
        return failed(
            f"the server answered {unsigned.status_code} to a request without a signature",
            "set auth_token, and leave check_signatures on, where the server is started; then"
            " restart it",
        )
    return passed("a signed webhook is accepted, and one without a signature is refused")


async def stream_upgrade(subject: Subject) -> Finding:
    """Ask for a stream whose token is wrong, which the server refuses after all other checks."""
    settings = subject.settings
    if settings.public_url is None:
        return skipped(NO_URL)
    routes = subject.routes
    path = routes.paths[0] if routes else settings.path
    if "{" in path:
        return skipped(f"the path {path} has parameters, and no other path is known")
    url = f"{settings.public_url}{path}?{TOKEN_PARAMETER}={_NO_TOKEN}"
    tokens = settings.auth_tokens
    headers = sign_upgrade(url.replace("http", "ws", 1), tokens[0]) if tokens else {}
    try:
        status, text = await upgrade(url, headers)
    except httpx.HTTPError as error:
        return _unreached(url, error)
    return judge_upgrade(path, status, text)


def judge_upgrade(path: str, status: int, text: str) -> Finding:
    """Judge the reply to a request for a stream with a wrong token."""
    said = f"{status} {text[:200]}".strip()
    if status == httpx.codes.FORBIDDEN and "token is invalid" in text:
        return passed(f"a WebSocket can be opened at {path}")
    if status == httpx.codes.UPGRADE_REQUIRED:
        return failed(
            f"the request for a WebSocket at {path} reached the server as an ordinary one",
            "have the proxy speak HTTP/1.1 to the server and pass Upgrade and Connection on; for"
            " nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
            " proxy_set_header Connection $connection_upgrade;",
        )
    if status == httpx.codes.FORBIDDEN and "ignature" in text:
        return failed(
            f"the server refuses a signed request for a stream: {said}",
            "give the server the same auth token and public_url as this command, and have the"
            " proxy leave the path and the query as they are",
        )
    if status == httpx.codes.SWITCHING_PROTOCOLS:
        return failed(
            f"a WebSocket opens at {path} with a token that no server has made: the query got lost"
            " on the way, or what answers there is not mediaserver",
            f"have the proxy bring {path} to mediaserver, and pass the query on",
        )
    if status == httpx.codes.NOT_FOUND and "no handler" in text:
        return failed(
            f"the server has no handler at {path}: {said}",
            "name the handlers of the server, or its --path, to this command as well",
        )
    if status in _GATEWAY:
        return failed(f"the reply at {path} is {said}", "start the server; then look at the proxy")
    return failed(
        f"the reply at {path} is {said}",
        f"have the proxy bring requests for {path} to the server, with their query",
    )


async def proxy_headers(subject: Subject) -> Finding:
    """Ask the server how it saw a signed request."""
    settings = subject.settings
    if settings.public_url is None:
        return skipped(NO_URL)
    if not settings.auth_tokens or not settings.check_signatures:
        return skipped("without an auth token the server tells nobody how it sees requests")
    url = f"{settings.public_url}/status"
    async with client_for(url) as client:
        try:
            reply = await client.post(url, headers=_signed(settings, url))
        except httpx.HTTPError as error:
            return _unreached(url, error)
    told = reply.headers.get(SEEN_HEADER)
    if told is None:
        return failed(
            f"the reply to a signed request does not say how it was seen ({reply.status_code})",
            "update the server to the version of this command",
        )
    try:
        seen = msgspec.json.decode(told, type=SeenRequest)
    except msgspec.MsgspecError:
        return failed(
            f"what the server says of a request cannot be read: {told[:200]}",
            "update the server to the version of this command",
        )
    return judge_seen(seen, is_https=settings.public_url.startswith("https"))


def judge_seen(seen: SeenRequest, *, is_https: bool) -> Finding:
    """Judge how the server saw a request."""
    if not seen.forwarded_for and not seen.is_trusted:
        if is_https and not seen.secure:
            return failed(
                f"the server saw a request without TLS from {seen.peer}, and no X-Forwarded-For:"
                " the proxy there hides the clients",
                f"set trusted_proxies to {seen.peer}, and have the proxy send X-Forwarded-For and"
                " X-Forwarded-Proto",
            )
        return passed(f"no proxy is in front: the request came from {seen.peer}")
    if not seen.is_trusted:
        return failed(
            f"{seen.peer} sent X-Forwarded-For, and is not one of trusted_proxies: all clients"
            " have its address, in the log and for max_idle_per_address",
            f"set trusted_proxies to {seen.peer}",
        )
    if not seen.forwarded_for:
        return failed(
            f"the proxy at {seen.peer} is trusted, and sends no X-Forwarded-For",
            "have it send the client's address; for nginx: proxy_set_header X-Forwarded-For"
            " $proxy_add_x_forwarded_for; for HAProxy: option forwardfor",
        )
    if is_https and not seen.secure:
        return failed(
            f"the proxy at {seen.peer} does not say that its client used TLS",
            "have it send X-Forwarded-Proto: https; for nginx: proxy_set_header"
            " X-Forwarded-Proto $scheme; for HAProxy: http-request set-header X-Forwarded-Proto"
            " https",
        )
    return passed(f"the proxy at {seen.peer} says that the client is {seen.client}")


def _signed(settings: Settings, url: str) -> dict[str, str]:
    tokens = settings.auth_tokens
    return dict(sign_headers("POST", url, tokens[0], {})) if tokens else {}


def _is_ours(status: int, text: str) -> bool:
    is_malformed = status == httpx.codes.BAD_REQUEST and "is missing" in text
    return is_malformed or (status == httpx.codes.FORBIDDEN and "ignature" in text)


def _not_ours(path: str, reply: httpx.Response) -> Finding:
    said = f"{path} is answered with {reply.status_code}"
    if reply.status_code in _GATEWAY:
        return failed(
            f"{said}: the proxy does not reach the server",
            "start the server; then compare the proxy's address of it with its host and port",
        )
    if reply.is_redirect:
        return failed(
            f"{said}, a redirect to {reply.headers.get('location', '')[:100]}",
            "set public_url to the URL after the redirect: a redirected request is not signed for"
            " its new URL",
        )
    return failed(
        f"{said}, which is not what mediaserver answers: {reply.text.strip()[:100]!r}",
        f"have the proxy bring {path} to the server; if public_url has a path, have it strip that",
    )


def _unreached(url: str, error: httpx.HTTPError) -> Finding:
    where = urlsplit(url)
    return failed(
        f"{where.scheme}://{where.netloc}{where.path} cannot be reached:"
        f" {str(error) or type(error).__name__}",
        "start the server and the proxy, and open the port in the firewall",
    )
