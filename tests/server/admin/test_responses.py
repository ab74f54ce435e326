import pytest

from mediaserver.server.admin.commands import (
    CallCommand,
    Delivery,
    DeliveryStatus,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.responses import masked
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.admin.live import CALLED, CALLER, URL, Answering, Live, client_of


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, None),
        ("+14155550100", "…0100"),
        ("sip:+14155550100@phone.plivo.com", "…0100"),
        ("sip:alice1234@example.com", "…"),
        ("112", "…"),
        ("anonymous", "…"),
        ("", "…"),
    ],
)
def test_of_a_number_four_digits_are_shown(number: str | None, shown: str | None) -> None:
    assert masked(number) == shown


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("done", 200),
        ("begun", 202),
        ("unknown_call", 404),
        ("unknown_node", 404),
        ("refused", 409),
        ("too_many", 429),
        ("unable", 501),
        ("failed", 502),
        ("not_delivered", 503),
    ],
)
async def test_every_outcome_has_its_status(status: DeliveryStatus, code: int) -> None:
    directory = Answering(Delivery(status, "what happened", "what would be right"))
    async with client_of(directory) as client:
        response = await client.post("/calls/call-1/transfer", json={"url": URL})
    assert directory.asked == [CallCommand("transfer", "call-1", url=URL)]
    assert response.status_code == code
    body = response.json()
    assert body["outcome"] == status
    if code < 400:
        assert body["detail"] == "what happened"
    else:
        assert (body["error"], body["hint"]) == ("what happened", "what would be right")


async def test_whole_numbers_are_shown_only_where_personal_data_is(
    directory: OwnCalls, runtime: Runtime
) -> None:
    Live(runtime)
    settings = Settings(admin="127.0.0.1:8001", admin_personal_data=True)
    async with client_of(directory, settings) as client:
        call = (await client.get("/calls/call-1")).json()
    assert (call["caller"], call["called"]) == (CALLER, CALLED)
