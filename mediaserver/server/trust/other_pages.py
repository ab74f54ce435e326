"""Tells requests of other web pages, which a browser sends to loopback for them as well."""

from __future__ import annotations

from collections.abc import Container

from starlette.datastructures import Headers


def is_of_another_page(headers: Headers, origins: Container[str]) -> bool:
    """Tell whether another web page sends a request.

    For an image or a script a browser names no origin, but says where the request comes from
    (https://www.w3.org/TR/fetch-metadata). A link that is followed is let in: the page that has it
    reads nothing of what is opened.

    Args:
        headers: those of the request.
        origins: the origins of the server's own pages, such as ``http://127.0.0.1:8090``.

    """
    origin = headers.get("origin")
    if origin is not None:
        return origin not in origins
    is_link = headers.get("sec-fetch-dest") == "document"
    return not is_link and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
