"""What operators can see and do: the calls, the processes and the machines."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mediaserver.server.admin.access import client_of
from mediaserver.server.admin.audit import AuditLog
from mediaserver.server.admin.commands import CallFilter, CallPage, unknown_call
from mediaserver.server.admin.directory import Directory
from mediaserver.server.admin.followed_lines import followed_lines
from mediaserver.server.admin.requests import AdminError, read_command, read_filter, read_trace
from mediaserver.server.admin.responses import (
    PRIVATE,
    call_fields,
    delivery_response,
    json_response,
)


class OperatorEndpoints:
    """The endpoints for operators.

    Args:
        directory: knows the calls, and has commands carried out.
        audit: writes down what operators do.
        personal_data: whether whole numbers are shown.

    """

    def __init__(self, directory: Directory, audit: AuditLog, *, personal_data: bool) -> None:
        self._directory = directory
        self._audit = audit
        self._personal_data = personal_data

    async def calls(self, request: Request) -> Response:
        """List live calls."""
        wanted = read_filter(request)
        page = await self._directory.calls(wanted)
        body: dict[str, Any] = {
            "calls": [call_fields(each, personal_data=self._personal_data) for each in page.calls]
        }
        body["total"] = page.total
        more = len(page.calls) == wanted.limit and page.calls
        body["next"] = page.calls[-1].cursor if more else None
        if page.silent:
            body["silent"] = page.silent
        return json_response(body)

    async def call(self, request: Request) -> Response:
        """Return one live call."""
        call = request.path_params["id"]
        page = await self._directory.calls(CallFilter(call=call))
        if len(page.calls) == 1:
            return json_response(call_fields(page.calls[0], personal_data=self._personal_data))
        raise _no_such_call(call, page)

    async def command(self, request: Request) -> Response:
        """Have a command carried out."""
        command = await read_command(request)
        delivery = await self._directory.send(command)
        self._audit.command(client_of(request), command, delivery)
        return delivery_response(delivery, call=command.call)

    async def trace(self, request: Request) -> Response:
        """Send the lines of a call's trace as they come, until it ends or the reader leaves."""
        command = read_trace(request)
        delivery = await self._directory.send(command)
        self._audit.command(client_of(request), command, delivery)
        if delivery.traced is None:
            return delivery_response(delivery, call=command.call)
        lines = followed_lines(self._directory, command, delivery.traced)
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=PRIVATE)

    async def workers(self, request: Request) -> Response:
        """List the processes of this machine."""
        return json_response({"workers": msgspec.to_builtins(await self._directory.workers())})

    async def nodes(self, request: Request) -> Response:
        """List the machines."""
        return json_response({"nodes": msgspec.to_builtins(await self._directory.nodes())})

    async def drain(self, request: Request) -> Response:
        """Drain a machine."""
        node = request.path_params["id"]
        delivery = await self._directory.drain(node)
        self._audit.server(client_of(request), "drain", delivery, node=node)
        return delivery_response(delivery, node=node)

    async def reload(self, request: Request) -> Response:
        """Reload this machine's server."""
        delivery = await self._directory.reload()
        self._audit.server(client_of(request), "reload", delivery)
        return delivery_response(delivery)


def _no_such_call(call: str, page: CallPage) -> AdminError:
    if page.calls:
        ids = ", ".join(each.stream_id or "?" for each in page.calls)
        return AdminError(
            409, f"call {call} has {len(page.calls)} streams", f"ask for one of them: {ids}"
        )
    if page.silent:
        return AdminError(
            503,
            f"no live call or stream with the id {call!r} is known, but not all workers answered",
            f"GET /workers shows those that did not: {', '.join(page.silent)}",
        )
    unknown = unknown_call(call)
    return AdminError(404, unknown.detail, unknown.hint)
