"""Numbers of the account, and the applications that they are pointed at."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import Query, Request
from starlette.exceptions import HTTPException

from mediaserver.plivo import models
from mediaserver.plivo.numbers import digits
from mediaserver.sandbox.api.body import Lenient
from mediaserver.sandbox.api.description import errors
from mediaserver.sandbox.api.objects import Paging, application_object, number_object
from mediaserver.sandbox.api.routing import ACCOUNT, Ex, PlivoRouter
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.records.records import ApplicationRecord, NumberRecord


number_routes = PlivoRouter(ACCOUNT, "Number and application")


class ApplicationQuery(Paging):
    """Query of a list of applications."""

    app_name: str | None = None


class NumberList(models.Answer):
    """A page of numbers."""

    meta: models.Meta
    objects: list[models.Number]


@number_routes.get("/Application/", responses=errors(400))
async def list_applications(
    request: Request, exchange: Ex, auth_id: str, query: Annotated[ApplicationQuery, Query()]
) -> models.ApplicationList:
    """List the applications."""
    found = [
        application_object(auth_id, each)
        for each in exchange.records.applications.values()
        if query.app_name in (None, each.app_name)
    ]
    return models.ApplicationList(**query.page(request.url, found))


@number_routes.post("/Application/", status_code=201, responses=errors(400))
async def create_an_application(
    exchange: Ex, asked: Lenient[models.ApplicationRequest]
) -> models.ApplicationCreated:
    """Create an application."""
    if asked.app_name is None:
        raise HTTPException(400, "app_name parameter is required")
    if any(each.app_name == asked.app_name for each in exchange.records.applications.values()):
        raise HTTPException(400, f"app_name {asked.app_name!r:.80} is already taken")
    app_id = str(uuid4().int % 10**17).zfill(17)
    record = ApplicationRecord(app_id=app_id, app_name=asked.app_name)
    _change(record, asked)
    await exchange.records.remember(record)
    return models.ApplicationCreated(message="created", app_id=app_id)


@number_routes.get("/Application/{app_id}/", responses=errors(404))
async def get_an_application(exchange: Ex, auth_id: str, app_id: str) -> models.Application:
    """Show an application."""
    return application_object(auth_id, _application(exchange, app_id))


@number_routes.post("/Application/{app_id}/", status_code=202, responses=errors(400, 404))
async def update_an_application(
    exchange: Ex, app_id: str, asked: Lenient[models.ApplicationRequest]
) -> models.Accepted:
    """Change the fields in the request, and keep the others."""
    record = _application(exchange, app_id)
    _change(record, asked)
    await exchange.records.remember(record)
    return models.Accepted(message="changed")


@number_routes.delete("/Application/{app_id}/", status_code=204, responses=errors(404))
async def delete_an_application(exchange: Ex, app_id: str) -> None:
    """Delete an application; its numbers have none afterwards."""
    record = _application(exchange, app_id)
    for number in exchange.records.numbers.values():
        if number.app_id == app_id:
            number.app_id = None
            await exchange.records.remember(number)
    await exchange.records.forget(record)


@number_routes.get("/Number/", responses=errors(400))
async def list_numbers(
    request: Request, exchange: Ex, auth_id: str, paging: Annotated[Paging, Query()]
) -> NumberList:
    """List the numbers that requests have named so far."""
    rates = exchange.services.rates
    numbers = [number_object(auth_id, each, rates) for each in exchange.records.numbers.values()]
    return NumberList(**paging.page(request.url, numbers))


@number_routes.get("/Number/{number}/", responses=errors(404))
async def get_a_number(exchange: Ex, auth_id: str, number: str) -> models.Number:
    """Show a number."""
    record = await _number(exchange, number)
    return number_object(auth_id, record, exchange.services.rates)


@number_routes.post("/Number/{number}/", status_code=202, responses=errors(400, 404))
async def update_a_number(
    exchange: Ex, number: str, asked: Lenient[models.NumberRequest]
) -> models.Accepted:
    """Point a number at an application, or name it."""
    record = await _number(exchange, number)
    if asked.app_id is not None:
        if asked.app_id not in exchange.records.applications:
            raise HTTPException(400, f"app_id {asked.app_id!r:.40} is not an application")
        record.app_id = asked.app_id
    if asked.alias is not None:
        record.alias = asked.alias
    await exchange.records.remember(record)
    return models.Accepted(message="changed")


def _change(record: ApplicationRecord, asked: models.ApplicationRequest) -> None:
    """Change the fields in the request, and keep the others, the hangup URL included."""
    for name, value in asked.body().items():
        name = "default_app" if name == "default_number_app" else name
        if hasattr(record, name):
            setattr(record, name, value)


def _application(exchange: Exchange, app_id: str) -> ApplicationRecord:
    record = exchange.records.applications.get(app_id)
    if record is None:
        raise HTTPException(404, f"application not found: {app_id:.40}")
    return record


async def _number(exchange: Exchange, number: str) -> NumberRecord:
    """Return a number of the account. A number exists as soon as a request names it."""
    bare = digits(number)
    if bare is None:
        raise HTTPException(404, f"number not found: {number:.40}")
    record = exchange.records.numbers.get(bare)
    if record is None:
        record = NumberRecord(number=bare, added=exchange.services.now())
        await exchange.records.remember(record)
    return record
