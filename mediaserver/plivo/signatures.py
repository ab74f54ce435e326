"""Plivo's request signatures: V3, Ma-V3 and V2, to check and to make.

Plivo signs what it sends to a server: HTTP callbacks, and the request that opens a media
WebSocket. The key is the auth token of the account or subaccount that the call belongs to (V3), or
always that of the main account (Ma-V3). While an account has several active tokens, a header
carries one signature for each, separated by commas.

V3 covers the URL, its query and the form. V2, which Plivo has deprecated for voice, covers the URL
without its query and nothing else: anyone who has seen one such request can change the rest of it.

The text that is signed is the one that Plivo's own SDKs compute, which differs from the prose of
Plivo's pages: see `signed_text`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import ParseResult, parse_qs, urlparse, urlunparse


V3_HEADER: Final = "X-Plivo-Signature-V3"
MA_V3_HEADER: Final = "X-Plivo-Signature-Ma-V3"
V3_NONCE_HEADER: Final = "X-Plivo-Signature-V3-Nonce"
V2_HEADER: Final = "X-Plivo-Signature-V2"
MA_V2_HEADER: Final = "X-Plivo-Signature-Ma-V2"
V2_NONCE_HEADER: Final = "X-Plivo-Signature-V2-Nonce"

_MAX_NONCE: Final = 128
"""Longest nonce in characters; Plivo's have 20 digits."""
_MAX_SIGNATURES: Final = 16
"""Largest number of signatures in one header that are compared."""

ParamValue: TypeAlias = "str | Sequence[str] | Mapping[str, ParamValue]"
Params: TypeAlias = Mapping[str, ParamValue]
"""A form's fields; a field that was given several times has the list of its values."""

AuthTokens: TypeAlias = str | Sequence[str]
"""One auth token, or all active ones."""

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""A request's headers; the case of their names does not matter."""


class SignatureError(ValueError):
    """The request was not signed with any of the tokens; the message says why, without secrets.

    Attributes:
        reason: ``missing`` (no signature or no nonce), ``invalid`` (an invalid nonce or URL) or
            ``mismatch``.

    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Verified(NamedTuple):
    """A request that Plivo signed."""

    nonce: str
    """Digits that are unique to the request."""
    header: str
    """The header with the valid signature."""
    url: str
    """The URL that was signed."""


def form_params(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Gather the fields of a form, as they came, for `sign_v3` and `verify_headers`."""
    params: dict[str, list[str]] = {}
    for name, value in pairs:
        params.setdefault(name, []).append(value)
    return params


def signed_text(method: str, url: str, params: Params | None = None) -> str:
    """Return the text that V3 signs, up to the nonce.

    It begins with the URL without query, fragment and path parameters. For a ``GET``, the query and
    `params` follow, decoded and sorted, as ``?a=1&b=2``; if both have a name, the query's value
    counts. For a ``POST``, the query follows in the same way and then the form: each name directly
    followed by its value. A ``.`` separates the query from the form; without a query, a bare ``?``
    precedes the form.

    Raises:
        ValueError: The method is neither GET nor POST, or the URL is invalid.

    """
    parts = _parse(url)
    root = _root(parts)
    query: Params = parse_qs(parts.query, keep_blank_values=True) if parts.query else {}
    verb = method.upper()
    if verb == "GET":
        text = _query_text({**(params or {}), **query})
        return f"{root}?{text}" if text else root
    if verb != "POST":
        raise ValueError(f"Plivo signs GET and POST requests, not {method!r:.20}")
    text = _query_text(query)
    if not params:
        return f"{root}?{text}" if text else root
    return f"{root}?{text}{'.' if text else ''}{_form_text(params)}"


def sign_v3(method: str, url: str, nonce: str, token: str, params: Params | None = None) -> str:
    """Return the V3 signature of a request: 44 characters of base64.

    Args:
        method: ``GET`` or ``POST``, in any case.
        url: Where the request goes, as it is written in the request.
        nonce: Digits that no other request has, see `new_nonce`.
        token: The auth token.
        params: The form of a POST. For a GET, parameters that its query has may be left out.

    Raises:
        ValueError: The method is neither GET nor POST, or the URL is invalid.

    """
    return _sign(f"{signed_text(method, url, params)}.{nonce}", token)


def sign_v2(url: str, nonce: str, token: str) -> str:
    """Return the V2 signature of a request to `url`, whatever its method, query and form.

    Raises:
        ValueError: The URL is invalid.

    """
    return _sign(f"{_root(_parse(url))}{nonce}", token)


def verify_v3(
    signatures: str,
    method: str,
    url: str,
    nonce: str,
    tokens: AuthTokens,
    params: Params | None = None,
) -> bool:
    """Tell whether one of the comma-separated `signatures` is that of one of the tokens.

    None is if the nonce is not decimal.
    """
    if not _is_nonce(nonce):
        return False
    try:
        text = f"{signed_text(method, url, params)}.{nonce}"
    except ValueError:
        return False
    return _matches(signatures, text, tokens)


def verify_v2(signatures: str, url: str, nonce: str, tokens: AuthTokens) -> bool:
    """Tell whether one of the comma-separated `signatures` is that of one of the tokens.

    None is if the nonce is not decimal.
    """
    if not _is_nonce(nonce):
        return False
    try:
        text = f"{_root(_parse(url))}{nonce}"
    except ValueError:
        return False
    return _matches(signatures, text, tokens)


def verify_headers(
    headers: Headers,
    method: str,
    url: str,
    tokens: AuthTokens,
    params: Params | None = None,
    *,
    v2: bool = False,
) -> Verified:
    """Check the signature of an HTTP callback.

    Args:
        headers: The request's.
        method: ``GET`` or ``POST``.
        url: The URL that Plivo was given, with its query; not the URL as a proxy rewrote it.
        tokens: Auth tokens, any of which may have signed, for V3 and Ma-V3 alike.
        params: The form of a POST, see `form_params`.
        v2: Accept a V2 signature if the request has no V3 signature.

    Raises:
        SignatureError: No signature is valid.

    """
    given = _gather(headers)
    found = _v3_signatures(given)
    if found is not None:
        nonce, named = found
        for header, signatures in named:
            if verify_v3(signatures, method, url, nonce, tokens, params):
                return Verified(nonce, header, url)
    elif v2 and (found := _v2_signatures(given)) is not None:
        nonce, named = found
        for header, signatures in named:
            if verify_v2(signatures, url, nonce, tokens):
                return Verified(nonce, header, url)
    if found is None:
        raise SignatureError(
            "missing", f"the request has no {V3_HEADER} header: Plivo signs its requests"
        )
    raise _mismatch(tokens)


def verify_upgrade(headers: Headers, url: str, tokens: AuthTokens) -> Verified:
    """Check the signature of the request that opens a media WebSocket.

    Args:
        headers: The request's.
        url: The stream URL that Plivo was given, ``wss`` or ``ws``, with its query.
        tokens: Auth tokens, any of which may have signed, for V3 and Ma-V3 alike.

    Raises:
        SignatureError: No signature is valid for any of `websocket_candidates`.

    """
    found = _v3_signatures(_gather(headers))
    if found is None:
        raise SignatureError(
            "missing", f"the request has no {V3_HEADER} header: Plivo signs the streams it opens"
        )
    nonce, named = found
    for candidate in _candidates(url):
        for header, signatures in named:
            if verify_v3(signatures, "GET", candidate, nonce, tokens):
                return Verified(nonce, header, candidate)
    raise _mismatch(tokens)


def websocket_candidates(url: str) -> list[str]:
    """Return the URLs that Plivo may have signed for a stream at `url`, likeliest first.

    Live calls were signed for ``http`` without the query, whatever the stream's own scheme. Plivo's
    pages, SDKs and tools show the other forms: with the query, ``https``, and last ``wss`` itself.

    Raises:
        SignatureError: `url` is not a URL.

    """
    return list(_candidates(url))


def _candidates(url: str) -> Iterator[str]:
    """Yield them one by one: the first is nearly always the one."""
    try:
        parts = _parse(url)
    except ValueError as error:
        raise SignatureError("invalid", str(error)) from None
    own = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    for scheme in ("http", "https", own):
        yield urlunparse((scheme, parts.netloc, parts.path, "", "", ""))
        if parts.query:
            yield urlunparse((scheme, parts.netloc, parts.path, "", parts.query, ""))


def new_nonce() -> str:
    """Return 20 random digits, as Plivo's nonces have."""
    return f"{secrets.randbelow(10**20):020}"


def sign_headers(
    method: str,
    url: str,
    tokens: AuthTokens,
    params: Params | None = None,
    *,
    main_tokens: AuthTokens | None = None,
    nonce: str | None = None,
    v2: bool = False,
) -> dict[str, str]:
    """Return the headers with which Plivo sends an HTTP callback.

    Args:
        method: ``GET`` or ``POST``.
        url: Where the request goes, with its query.
        tokens: Auth tokens of the account or subaccount that the call belongs to.
        params: The form of a POST.
        main_tokens: Auth tokens of the main account, if that is another one.
        nonce: Digits that no other request has; new ones by default.
        v2: Add V2 signatures.

    Raises:
        ValueError: The method is neither GET nor POST, or the URL is invalid.

    """
    nonce = nonce or new_nonce()
    main_tokens = tokens if main_tokens is None else main_tokens

    def v3_by(tokens: AuthTokens) -> str:
        return ",".join(sign_v3(method, url, nonce, token, params) for token in _each(tokens))

    headers = {
        V3_HEADER: v3_by(tokens),
        MA_V3_HEADER: v3_by(main_tokens),
        V3_NONCE_HEADER: nonce,
    }
    if v2:
        headers[V2_HEADER] = ",".join(sign_v2(url, nonce, token) for token in _each(tokens))
        headers[MA_V2_HEADER] = ",".join(sign_v2(url, nonce, token) for token in _each(main_tokens))
        headers[V2_NONCE_HEADER] = nonce
    return headers


def sign_upgrade(
    url: str, tokens: AuthTokens, *, main_tokens: AuthTokens | None = None, nonce: str | None = None
) -> dict[str, str]:
    """Return the headers with which Plivo opens the media WebSocket at `url`.

    The signature covers the first of `websocket_candidates`, as on live calls.

    Raises:
        ValueError: `url` is not a URL.

    """
    signed = websocket_candidates(url)[0]
    return sign_headers("GET", signed, tokens, main_tokens=main_tokens, nonce=nonce)


def _parse(url: str) -> ParseResult:
    try:
        parts = urlparse(url)
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if not parts.scheme or not parts.netloc:
        raise ValueError("not a URL: it needs a scheme and a host, as https://example.com/answer")
    return parts


def _root(parts: ParseResult) -> str:
    return urlunparse((parts.scheme, parts.netloc, parts.path, "", "", ""))


def _query_text(params: Params) -> str:
    words = []
    for name in sorted(params):
        value = params[name]
        if isinstance(value, Mapping):
            raise ValueError(f"a query cannot have nested fields such as {name!r:.40}")
        words += [f"{name}={each}" for each in _values(value)]
    return "&".join(words)


def _form_text(params: Params) -> str:
    words = []
    for name in sorted(params):
        value = params[name]
        # As `form_params` gathers them, first: it takes ten times as long to tell a mapping.
        if isinstance(value, list):
            words += [name + each for each in sorted(value)]
        elif isinstance(value, Mapping):
            words.append(f"{name}{_form_text(value)}")
        else:
            words += [f"{name}{each}" for each in _values(value)]
    return "".join(words)


def _values(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else sorted(value)


def _sign(text: str, token: str) -> str:
    # A lone surrogate, which no real request has, must not raise an exception in a server.
    message = text.encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(token.encode(), message, hashlib.sha256)).decode()


def _each(tokens: AuthTokens) -> Sequence[str]:
    tokens = (tokens,) if isinstance(tokens, str) else tokens
    if not tokens or not all(tokens):
        # Anyone can sign with an empty key.
        raise ValueError("no auth token was given, or an empty one: a signature needs a token")
    return tokens


def _matches(signatures: str, text: str, tokens: AuthTokens) -> bool:
    given = [each.strip().encode("utf-8", "replace") for each in signatures.split(",")]
    found = False
    for token in _each(tokens):
        # Compare with every token, so that the time taken does not tell which one matched.
        expected = _sign(text, token).encode()
        for signature in given[:_MAX_SIGNATURES]:
            found |= hmac.compare_digest(signature, expected)
    return found


def _gather(headers: Headers) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    given: dict[str, str] = {}
    for name, value in pairs:
        lower = name.lower()
        # HTTP joins the values of a repeated header with commas.
        given[lower] = f"{given[lower]},{value}" if lower in given else value
    return given


def _v3_signatures(given: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]] | None:
    return _signatures(given, (V3_HEADER, MA_V3_HEADER), V3_NONCE_HEADER)


def _v2_signatures(given: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]] | None:
    return _signatures(given, (V2_HEADER, MA_V2_HEADER), V2_NONCE_HEADER)


def _signatures(
    given: Mapping[str, str], headers: Sequence[str], nonce_header: str
) -> tuple[str, list[tuple[str, str]]] | None:
    named = [(name, value) for name in headers if (value := given.get(name.lower(), "").strip())]
    if not named:
        return None
    nonce = given.get(nonce_header.lower(), "").strip()
    if not nonce:
        raise SignatureError("missing", f"the request has a signature but no {nonce_header} header")
    if len(nonce) > _MAX_NONCE:
        raise SignatureError(
            "invalid", f"the nonce has {len(nonce)} characters; at most {_MAX_NONCE} are accepted"
        )
    if not _is_nonce(nonce):
        raise SignatureError("invalid", "the nonce is not a decimal number, as Plivo's are")
    return nonce, named


def _is_nonce(text: str) -> bool:
    """Tell whether a text is decimal.

    With any other text the border between the signed text and the nonce could be moved: a request
    signed for ``a.b`` with the nonce ``1`` would pass for ``a`` with the nonce ``b.1``.
    """
    return text.isascii() and text.isdecimal()


def _mismatch(tokens: AuthTokens) -> SignatureError:
    count = len(_each(tokens))
    which = "the auth token" if count == 1 else f"any of the {count} auth tokens"
    return SignatureError(
        "mismatch",
        f"the signature was not made with {which} for this URL:"
        " check the token, and that the public URL is the one Plivo was given",
    )
