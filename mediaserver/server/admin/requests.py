"""Reads what operators ask for, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args

import msgspec
from starlette.requests import ClientDisconnect, Request

from mediaserver.plivo.numbers import phone_key
from mediaserver.server.admin.commands import MOST_CALLS, Action, CallCommand, CallFilter
from mediaserver.server.runtime import CallState
from mediaserver.settings.values import read_redirect


LONGEST_TEXT: Final = 2_000
"""Most characters that an operator can have said at once: about two minutes of speech."""

_FEW_CALLS: Final = 50
"""Calls on one page, if the request does not say how many."""

_Fields = TypeVar("_Fields", bound=msgspec.Struct)


class AdminError(Exception):
    """A request that cannot be answered as it is."""

    def __init__(self, status: int, error: str, hint: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "hint": hint, **more}


_SAY: Final = '{"text": "One moment, please."}'
_TRANSFER: Final = '{"url": "https://example.com/agent.xml"}'


class _Say(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class _Transfer(msgspec.Struct, forbid_unknown_fields=True):
    url: str


def read_filter(request: Request) -> CallFilter:
    """Return which calls a request is about.

    Raises:
        AdminError: it cannot be understood.

    """
    given = dict(request.query_params)
    wrong = [name for name in given if name not in ("number", "handler", "state", "limit", "after")]
    if wrong:
        raise AdminError(
            422,
            f"there is no filter {wrong[0][:60]!r}",
            "there is number, handler, state, limit and after",
        )
    number = given.get("number", "")
    if number and phone_key(number) is None:
        raise AdminError(
            422,
            f"{number[:60]!r} is not a phone number",
            "write it with its country code, such as 14155550100, or as a SIP address",
        )
    state = given.get("state", "")
    if state and state not in get_args(CallState):
        raise AdminError(
            422, f"there is no state {state[:60]!r}", f"there is {', '.join(get_args(CallState))}"
        )
    return CallFilter(
        number=number,
        handler=given.get("handler", ""),
        state=msgspec.convert(state, type=CallState) if state else "",
        limit=read_limit(given),
        after=given.get("after", ""),
    )


def read_limit(given: Mapping[str, str]) -> int:
    """Return how many calls a request wants at most.

    Raises:
        AdminError: it cannot be understood.

    """
    limit = given.get("limit", str(_FEW_CALLS))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= MOST_CALLS:
        raise AdminError(
            422,
            f"limit is {limit[:60]!r}",
            f"it is a number from 1 to {MOST_CALLS}; next leads to further calls, as after",
        )
    return int(limit)


async def read_command(request: Request) -> CallCommand:
    """Return what a request has done to a call.

    Raises:
        AdminError: it cannot be understood.

    """
    call, action = request.path_params["id"], request.path_params["action"]
    if action not in get_args(Action):
        raise AdminError(
            404,
            f"there is no action {action!r}",
            f"there is {', '.join(get_args(Action))}",
        )
    if action == "say":
        said = await _body(request, _Say, _SAY)
        return CallCommand(action, call, text=_text(said.text))
    if action == "transfer":
        to = await _body(request, _Transfer, _TRANSFER)
        return CallCommand(action, call, url=_url(to.url))
    if await request.body():
        raise AdminError(422, f"{action} takes no body", "leave it out")
    return CallCommand(action, call)


def read_trace(request: Request) -> CallCommand:
    """Return which call a request wants to follow, from when on, and whether with its audio.

    Raises:
        AdminError: it cannot be understood.

    """
    given = dict(request.query_params)
    audio = given.pop("audio", "0")
    begin = given.pop("from", "now")
    if given:
        wrong = next(iter(given))[:60]
        raise AdminError(422, f"there is no parameter {wrong!r}", "there is audio and from")
    if begin not in ("now", "start"):
        raise AdminError(
            422,
            f"from is {begin[:60]!r}",
            "it is start for all lines that are kept, or now for those that come",
        )
    if audio not in ("0", "1"):
        raise AdminError(422, f"audio is {audio[:60]!r}", "it is 1 for lines with audio, or 0")
    after = 0 if begin == "start" else -1
    return CallCommand("trace", request.path_params["id"], after=after, audio=audio == "1")


async def _body(request: Request, kind: type[_Fields], example: str) -> _Fields:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise AdminError(400, "the request was cut short", "send it again") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise AdminError(422, str(error), f"send a body such as {example}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"the body is not JSON: {error}" if body else "there is no body"
        raise AdminError(400, what, f"send a body such as {example}") from None


def _text(given: str) -> str:
    text = given.strip()
    if not text:
        raise AdminError(422, "text is empty", "it is what the caller is to hear")
    if len(text) > LONGEST_TEXT:
        raise AdminError(
            422, f"text has {len(text)} characters", f"it has at most {LONGEST_TEXT}; send parts"
        )
    return text


def _url(given: str) -> str:
    try:
        url = read_redirect(given)
    except ValueError as error:
        raise AdminError(422, f"url {error}", f"send a body such as {_TRANSFER}") from None
    if url is None:
        raise AdminError(422, "url is empty", f"send a body such as {_TRANSFER}")
    return url
