"""Who may open a media stream: decided on the request, before the WebSocket is accepted.

The order is path, signature, verifiers, token, admission. Cheap checks, and checks whose refusal
reveals least, come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mediaserver.plivo.signatures import SignatureError
from mediaserver.server.form_fields import form_fields
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest, Refused, Verifier
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.proxy import base_url, origin
from mediaserver.server.trust.tokens import TOKEN_PARAMETER, Claims, TokenError, unseal


_RETRY_AFTER: Final = 5
"""Seconds after which a refused client is asked to try again."""


def examine(
    runtime: Runtime, request: HandshakeRequest, *, verifiers: Sequence[Verifier] = ()
) -> AcceptedStream | Refused:
    """Decide whether a stream may begin, and if so, take a place for it."""
    if not runtime.started.is_set():
        retry = (("retry-after", str(_RETRY_AFTER)),)
        return Refused(503, "this server is starting", retry, cause="starting")
    query = dict(form_fields(request.query_string))
    token = query.pop(TOKEN_PARAMETER, None)
    claims: Claims | None = None
    token_error: TokenError | None = None
    if token is not None:
        try:
            secret = runtime.settings.secret.get_secret_value()
            claims = unseal(token, secret, runtime.wall_clock())
        except TokenError as error:
            token_error = error
    if not runtime.routes.has_path(request.path):
        return Refused(404, f"no handler at {request.path}", cause="path")
    nonce: str | None = None
    runtime.lost_streams.look_again()
    if runtime.signatures is not None:
        try:
            nonce = runtime.signatures.verify_upgrade(request.headers, _url(runtime, request))
        except SignatureError as error:
            return Refused(403, str(error), cause="signature")
    for verify in verifiers:
        refusal = verify(request)
        if refusal is not None:
            return refusal
    if token is None and runtime.settings.require_token:
        return Refused(403, "only streams whose URL came from /answer are accepted", cause="token")
    if token_error is not None:
        return Refused(403, f"the stream's token is invalid: {token_error}", cause="token")
    if claims is not None and runtime.answered.has_ended(claims.call_id):
        return Refused(410, "the call is over: Plivo reported its end to /hangup", cause="ended")
    route = runtime.routes.match(request.path, claims.called if claims else None)
    if route is None:
        return Refused(404, f"no handler at {request.path} for this number", cause="path")
    call_id = claims.call_id if claims else None
    path = request.path if request.url_path is None else request.url_path
    may_continue = runtime.lost_streams.may_be(call_id, path)
    # For calls that came by `/answer`, that has looked.
    is_full = claims is None and runtime.is_full(route)
    if is_full and not may_continue:
        retry = (("retry-after", str(_RETRY_AFTER)),)
        limit = runtime.route_limits.of(route)
        return Refused(503, f"{route.label} has reached its limit of {limit}", retry, cause="full")
    needed = None if may_continue else _needed(claims, runtime.wall_clock())
    slot = runtime.admission.admit(call_id, needed=needed)
    exceeds_limit = (slot is None or is_full) and may_continue
    if slot is None and may_continue:
        slot = runtime.admission.readmit(call_id)
    if slot is None:
        retry = (("retry-after", str(_RETRY_AFTER)),)
        if runtime.admission.closed:
            return Refused(503, "this server is shutting down", retry, cause="draining")
        return Refused(503, "this server has reached its limit of calls", retry, cause="full")
    if runtime.signatures is not None and nonce is not None:
        runtime.signatures.use(nonce)
        if claims is None or claims.process != runtime.process:
            # Otherwise a stream with this signature comes here for as long as the call lasts.
            runtime.neighbours.used(nonce)
    client = origin(
        request.headers,
        client_host=request.client_host,
        secure=request.secure,
        trusted=runtime.settings.trusted_proxies,
    ).client
    return AcceptedStream(
        route=route,
        path=path,
        path_params={**request.path_params, **(route.path_params(request.path) or {})},
        query=query,
        caller=claims.caller if claims else None,
        called=claims.called if claims else None,
        call_id=call_id,
        slot=slot,
        client=client,
        answer=runtime.answered.request(claims) if claims else None,
        nonce=nonce,
        exceeds_limit=exceeds_limit,
        repeats_signature=runtime.lost_streams.repeats(nonce),
    )


def _needed(claims: Claims | None, now: float) -> float | None:
    """Return how long after its webhook a stream comes, if that is known."""
    return None if claims is None or claims.issued is None else now - claims.issued


def _url(runtime: Runtime, request: HandshakeRequest) -> str:
    """Return the URL by which Plivo knows the stream."""
    base = base_url(
        runtime.settings.public_url,
        request.headers,
        client_host=request.client_host,
        secure=request.secure,
        trusted=runtime.settings.trusted_proxies,
    )
    if base is None:
        raise SignatureError("invalid", "the Host header is missing or invalid; set --public-url")
    scheme, _, rest = base.partition("://")
    path = request.path if request.raw_path is None else request.raw_path
    url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
    return f"{url}?{request.query_string}" if request.query_string else url
