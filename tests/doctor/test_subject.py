import pytest

from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


def test_numbers_are_those_of_the_routes() -> None:
    settings = Settings(handler=("a:B", "/sales=a:C", "+14155550100=a:D", "sip:x@y=a:E"))
    assert Subject.of(settings).numbers == ("+14155550100",)


def test_named_numbers_win() -> None:
    settings = Settings(handler=("+14155550100=a:D",))
    assert Subject.of(settings, ("+14155550199",)).numbers == ("+14155550199",)


@pytest.mark.parametrize(("workers", "calls"), [(0, 100), (1, 100), (3, 34)])
def test_workers_share_the_calls(workers: int, calls: int) -> None:
    assert Subject(Settings(max_calls=100, workers=workers)).calls_per_process == calls
