"""What the log says once a server listens: addresses, routes, and warnings about the settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

import structlog

from mediaserver import __version__
from mediaserver.routes import Routes
from mediaserver.server.process.descriptors import (
    descriptor_limit,
    most_waiting,
    needed_descriptors,
)
from mediaserver.server.process.listening import authority
from mediaserver.server.route_limits import RouteLimits
from mediaserver.settings import Settings, unknown_variables


log = structlog.get_logger(__name__)

Addresses: TypeAlias = Sequence[tuple[str, int]]
"""Hosts and ports."""


def announce_addresses(
    settings: Settings,
    addresses: Addresses,
    metrics: Addresses = (),
    admin: Sequence[str] = (),
    **more: object,
) -> None:
    """Log what is listened on, and warnings about the settings.

    Args:
        settings: The server's settings.
        addresses: Where calls come in.
        metrics: Where only the metrics are.
        admin: Where operators are served.
        more: Further values for the line of each address.

    """
    scheme = "https" if settings.tls else "http"
    for address in addresses:
        url = f"{scheme}://{authority(*address)}"
        log.info("listening", url=url, version=__version__, pid=os.getpid(), **more)
    for place in admin:
        log.info("admin", at=place)
    for address in metrics:
        log.info("metrics", url=f"http://{authority(*address)}/metrics")
    if settings.metrics == "auto" and not (settings.metrics_shared or settings.admin_address):
        hint = "this address may be public: set --metrics HOST:PORT, or --metrics-token"
        if settings.workers:
            hint = "with workers they are not on the port of the calls: set --metrics or --admin"
        log.info("metrics are off", hint=hint)
    _warn_of_descriptors(settings)
    if settings.secret_is_random:
        log.info(
            "token secret is random",
            hint="set MEDIASERVER_SECRET if several servers serve the same numbers",
        )
    else:
        log.info(
            "other servers do not know the calls of this one",
            hint="if several serve the same numbers, docs/deploying.md says what follows from that",
        )
    if not (settings.check_signatures and settings.auth_tokens):
        log.warning(
            "signatures are not checked",
            hint="set MEDIASERVER_AUTH_TOKEN so that only Plivo's requests are accepted",
        )
    for warning in unknown_variables():
        log.warning(warning)


def announce_routes(settings: Settings, routes: Routes, addresses: Addresses) -> None:
    """Log which handler takes which call, and how to try it.

    Args:
        settings: The server's settings.
        routes: The handlers.
        addresses: Where calls come in.

    """
    media = "wss" if settings.tls else "ws"
    limits = RouteLimits(routes, settings.route_limits)
    for route in routes.routes:
        limit = limits.of(route)
        if limit is not None and settings.workers > 1 and settings.redis is None:
            log.warning(
                "each worker keeps the limit of a route by itself",
                route=route.label,
                limit=limit,
                together=limit * settings.workers,
                hint="set --redis so that it holds for all together, or divide it by --workers",
            )
        for warning in route.stream.over(settings.stream_options).warnings:
            log.warning(warning, handler=route.name)
        log.info(
            "route",
            handler=route.name,
            stream=f"{media}://{authority(*addresses[0])}{route.path}",
            **({"number": route.number} if route.number else {}),
        )
    if settings.log_format == "console" and not settings.require_token:
        url = _callable_url(settings, addresses[0]) + routes.routes[0].path
        log.info("try it", command=f"mediaserver call {url}")


def _callable_url(settings: Settings, address: tuple[str, int]) -> str:
    """Return the server's URL as it is reached from this machine."""
    if settings.tls and settings.public_url is not None:
        # The certificate is valid for this name.
        return f"wss://{settings.public_url.partition('://')[2]}"
    host, port = address
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    scheme = "wss" if settings.tls else "ws"
    return f"{scheme}://{authority(anywhere.get(host, host), port)}"


def _warn_of_descriptors(settings: Settings) -> None:
    limit = descriptor_limit()
    needed = needed_descriptors(
        settings.max_calls, most_waiting(settings.max_idle_connections, limit)
    )
    if needed > limit:
        log.warning(
            "too few file descriptors for --max-calls",
            limit=limit,
            needed=needed,
            hint="raise the limit of open files (ulimit -n, LimitNOFILE), or lower --max-calls",
        )
