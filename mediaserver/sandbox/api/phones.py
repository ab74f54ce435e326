"""The phones on the other side, which only the sandbox has."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mediaserver.plivo import models
from mediaserver.sandbox.api.body import Lenient
from mediaserver.sandbox.api.description import errors
from mediaserver.sandbox.api.routing import Ex, PlivoRouter
from mediaserver.sandbox.calls.exchange import DEFAULT_CALLER
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.people.script import files_below, person_from_option
from mediaserver.sandbox.webhooks import Target


phone_routes = PlivoRouter("/v1/sandbox", "Sandbox")


class DialInRequest(BaseModel):
    """A number of the account to dial from a phone."""

    to: str
    from_: str = Field(default=DEFAULT_CALLER, alias="from")
    caller_name: str = ""
    person: str | None = None
    answer_url: models.WebUrl | None = None
    answer_method: models.HttpMethod | None = None
    hangup_url: models.WebUrl | None = None
    hangup_method: models.HttpMethod | None = None
    fallback_url: models.WebUrl | None = None
    fallback_method: models.HttpMethod | None = None


class DialledIn(models.Accepted):
    """Response to dialling a number."""

    call_uuid: str


@phone_routes.post("/Call/", status_code=201, responses=errors(400, 403, 404))
async def dial_in(exchange: Ex, asked: Lenient[DialInRequest]) -> DialledIn:
    """Dial a number of the account from a phone."""
    plan = person = None
    if asked.answer_url is not None:
        plan = CallPlan(
            Target(asked.answer_url, asked.answer_method or "POST"),
            fallback=Target.optional(asked.fallback_url, asked.fallback_method),
            hangup=Target.optional(asked.hangup_url, asked.hangup_method),
        )
    if asked.person is not None:
        person = person_from_option(asked.person, find=files_below(exchange.services.options.files))
        await person.prepare()
    call = await exchange.dial_in(
        asked.to, caller=asked.from_, person=person, plan=plan, caller_name=asked.caller_name
    )
    return DialledIn(message="call placed", call_uuid=call.uuid)
