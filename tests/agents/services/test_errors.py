from mediaserver.agents.services.errors import ServiceError


def test_an_error_names_its_service_and_its_status() -> None:
    error = ServiceError("brain", "no money left", status=402)
    assert str(error) == "brain: no money left"
    assert (error.service, error.status) == ("brain", 402)


def test_a_service_that_did_not_answer_has_no_status() -> None:
    assert ServiceError("brain", "gone").status is None
