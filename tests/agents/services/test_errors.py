import pytest

from mediaserver.agents.services.errors import (
    MisconfiguredServiceError,
    ServiceError,
    refused_with,
)


def test_an_error_names_its_service_and_its_status() -> None:
    error = ServiceError("brain", "no money left", status=402)
    assert str(error) == "brain: no money left"
    assert (error.service, error.status) == ("brain", 402)


def test_a_service_that_did_not_answer_has_no_status() -> None:
    assert ServiceError("brain", "gone").status is None


def test_a_failure_has_the_service_and_the_status_and_no_words() -> None:
    assert (
        ServiceError("model", "you said: my card is 4111", status=429).failure == "model: HTTP 429"
    )
    assert ServiceError("speech", "you said: hello").failure == "speech"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, None])
def test_what_a_service_refuses_for_how_it_is_set_up_is_misconfigured(status: int | None) -> None:
    error = refused_with("ears", "no", status)
    assert (str(error), error.status) == ("ears: no", status)
    assert isinstance(error, MisconfiguredServiceError) is (status in (401, 403, 404))
