"""Calls, streams, applications and numbers as Plivo's API shows them, and pages of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field
from starlette.datastructures import URL

from mediaserver.plivo import models
from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    NumberRecord,
    Record,
    StreamRecord,
)
from mediaserver.sandbox.records.timestamps import offset, offset_precise, spaced_precise


M = TypeVar("M", bound=models.Answer)


def _shown(model: type[M], record: Record, **more: Any) -> M:
    """Return an object with the fields that it shares with the record, and `more`."""
    names = [name for name in model.model_fields if name != "api_id" and hasattr(record, name)]
    return model.model_validate({**{name: getattr(record, name) for name in names}, **more})


def call_object(auth_id: str, record: CallRecord) -> models.Call:
    """Return the detail record of a call that has ended."""
    return _shown(
        models.Call,
        record,
        answer_time=_time(record.answered),
        call_direction=record.direction,
        cnam_lookup=None,
        conference_uuid=None,
        call_duration=record.seconds,
        call_state=record.status,
        end_time=_time(record.end_shown),
        initiation_time=offset(record.initiated),
        request_uuid=record.request_uuid,
        source_ip=None,
        stir_attestation=None,
        voice_network_group=None,
        resource_uri=f"/v1/Account/{auth_id}/Call/{record.call_uuid}/",
        stir_verification="Not Applicable",
        to_number=record.to_number.removeprefix("+"),
        total_rate=record.rate,
    )


def live_call_object(record: CallRecord) -> models.LiveCall:
    """Return a call that has not ended."""
    return _shown(
        models.LiveCall,
        record,
        call_status=record.status,
        from_=record.from_number,
        session_start=spaced_precise(record.initiated),
        stir_verification="Not Applicable",
        to=record.to_number.removeprefix("+"),
    )


def stream_object(auth_id: str, record: StreamRecord) -> models.StreamObject:
    """Return an audio stream with what Plivo's page shows, older pages and SDKs included."""
    return _shown(
        models.StreamObject,
        record,
        # Plivo's PHP SDK reads it; no page shows it.
        billed_duration=record.rounded_bill_duration,
        created_at=offset_precise(record.created),
        end_time=_time(record.end_shown),
        plivo_auth_id=auth_id,
        resource_uri=f"/v1/Account/{auth_id}/Call/{record.call_uuid}/Stream/{record.stream_id}/",
        start_time=_time(record.started),
        status_callback_url=record.status_callback_url or "",
    )


def application_object(auth_id: str, record: ApplicationRecord) -> models.Application:
    """Return an application."""
    return _shown(
        models.Application,
        record,
        application_type="XML",
        enabled=True,
        # Plivo's PHP SDK reads the singular.
        log_incoming_message=True,
        log_incoming_messages=True,
        resource_uri=_application_uri(auth_id, record.app_id),
        sip_uri=f"sip:{record.app_id}@app.plivo.com",
        sub_account=None,
    )


def number_object(auth_id: str, record: NumberRecord, rates: Rates) -> models.Number:
    """Return a number of the account."""
    return _shown(
        models.Number,
        record,
        active=True,
        added_on=offset(record.added)[:10],
        application=record.app_id and _application_uri(auth_id, record.app_id),
        carrier="Plivo",
        monthly_rental_rate="0.80000",
        number_type="local",
        region="Sandbox",
        renewal_date=None,
        resource_uri=f"/v1/Account/{auth_id}/Number/{record.number}/",
        sms_enabled=False,
        sms_rate="0.00000",
        sub_account=None,
        tendlc_campaign_id=None,
        tendlc_registration_status=None,
        toll_free_sms_verification=None,
        toll_free_sms_verification_id=None,
        toll_free_sms_verification_order_status=None,
        voice_enabled=True,
        voice_rate=rates.inbound.rate,
    )


def _application_uri(auth_id: str, app_id: str) -> str:
    return f"/v1/Account/{auth_id}/Application/{app_id}/"


class Paging(BaseModel):
    """Query of a list: which page of it."""

    limit: Annotated[int, Field(ge=1, le=models.MAX_PAGE)] = models.MAX_PAGE
    offset: Annotated[int, Field(ge=0)] = 0

    def page(self, url: URL, objects: Sequence[models.Answer]) -> dict[str, Any]:
        """Return the fields of this page of a list.

        Args:
            url: Of the request, for the links to the pages before and after.
            objects: The whole list.

        """
        end = self.offset + self.limit
        before = max(0, self.offset - self.limit)
        meta = models.Meta(
            limit=self.limit,
            next=self._link(url, end) if end < len(objects) else None,
            offset=self.offset,
            previous=self._link(url, before) if self.offset else None,
            total_count=len(objects),
        )
        return {"meta": meta, "objects": objects[self.offset : end]}

    def _link(self, url: URL, at: int) -> str:
        other = url.include_query_params(limit=self.limit, offset=at)
        return f"{other.path}?{other.query}"


def _time(epoch: float | None) -> str | None:
    return None if epoch is None else offset(epoch)
