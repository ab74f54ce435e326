"""The `extraHeaders` of `<Stream>`, and the forms in which they arrive as `extra_headers`.

They are metadata, not authentication: anyone who can open the socket can write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mediaserver.protocol.errors import ProtocolError, quote
from mediaserver.protocol.liberal import parse_object


_Style: TypeAlias = Literal["live", "documented", "json"]

_MAX_BYTES: Final = 512
"""Plivo's limit for `extraHeaders` in the form `key=value,key=value`."""

_PREFIX: Final = re.compile(r"^x-(?:ph|vh)-", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[;,]")
_RESERVED: Final = frozenset(",;=:{}")


def parse_extra_headers(headers: str | Mapping[str, Any] | None) -> dict[str, str]:
    """Read extra headers in every known form. Keys lose their `X-PH-` or `X-VH-` prefix.

    The forms are brace text as live calls send it (`{X-PH-token: abc, X-PH-agent: 7}`), a JSON
    object or its text, and `key=value` pairs separated by `;` or `,` as Plivo documents. `""`,
    `"{}"` and `None` mean no headers. Nothing is refused: text without a separator becomes a key
    with an empty value. If a key comes twice, the last one wins.

    The brace form has no quoting, so a value with a comma in it arrives broken; send one opaque
    token instead.
    """
    if headers is None:
        return {}
    if not isinstance(headers, str):
        return _unprefixed((key, _as_text(value)) for key, value in headers.items())
    headers = headers.strip()
    if not headers.startswith("{"):
        return _unprefixed(_split(item, "=") for item in _SEPARATORS.split(headers))
    try:
        return parse_extra_headers(parse_object(headers))
    except ProtocolError:
        items = headers.removeprefix("{").removesuffix("}").split(",")
        return _unprefixed(_split(item, ":") for item in items)


def format_extra_headers(headers: Mapping[str, str], style: _Style = "live") -> str:
    """Write extra headers as Plivo would send them.

    Args:
        headers: keys with or without `X-PH-`.
        style: `"live"` is the form of live calls (`{X-PH-agent: 7}`), `"documented"` that of the
            reference (`agent=7;team=x`), `"json"` the one that some of Plivo's SDKs describe.

    Raises:
        ProtocolError: `bad_extra_headers` if they are longer than 512 bytes, or if the style cannot
            carry a key or value: every style but `"json"` forbids `,;=:{}` and outer spaces.

    """
    plain = _unprefixed(headers.items())
    if len(plain) != len(headers):
        raise ProtocolError(
            "bad_extra_headers", "a key is empty, or comes both with and without its prefix"
        )
    _check_size(plain)
    if style == "json":
        return msgspec.json.encode(plain).decode()
    for word in (*plain.keys(), *plain.values()):
        if word != word.strip() or not _RESERVED.isdisjoint(word):
            raise ProtocolError(
                "bad_extra_headers",
                f"{quote(word)} contains one of ',;=:{{}}' or an outer space, which the "
                f"{style} form cannot carry",
            )
    if style == "live":
        return "{" + ", ".join(f"X-PH-{key}: {value}" for key, value in plain.items()) + "}"
    if style == "documented":
        return ";".join(f"{key}={value}" for key, value in plain.items())
    raise ProtocolError(
        "bad_value", f"a style is 'live', 'documented' or 'json', got {quote(style)}"
    )


def _unprefixed(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    plain = ((_PREFIX.sub("", key), value) for key, value in items)
    return {key: value for key, value in plain if key}


def _split(item: str, separator: str) -> tuple[str, str]:
    key, _, value = item.partition(separator)
    return key.strip(), value.strip()


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _check_size(plain: Mapping[str, str]) -> None:
    written = ",".join(f"{key}={value}" for key, value in plain.items())
    try:
        size = len(written.encode())
    except UnicodeError:
        raise ProtocolError("bad_extra_headers", "extra headers are not valid Unicode") from None
    if size > _MAX_BYTES:
        raise ProtocolError(
            "bad_extra_headers",
            f"extra headers take {size} bytes, the limit is {_MAX_BYTES}",
        )
