import pytest
from starlette.datastructures import Headers

from mediaserver.server.trust.other_pages import is_of_another_page


OWN = ("http://127.0.0.1:8090",)


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://127.0.0.1:3000"])
def test_a_request_with_the_origin_of_another_page_is_its(origin: str) -> None:
    assert is_of_another_page(Headers({"origin": origin}), OWN)
    assert is_of_another_page(Headers({"origin": origin, "sec-fetch-dest": "document"}), OWN)


def test_the_own_page_and_programs_are_no_other_page() -> None:
    assert not is_of_another_page(Headers({"origin": OWN[0]}), OWN)
    assert not is_of_another_page(Headers(), OWN)


@pytest.mark.parametrize(
    ("site", "is_other"),
    [("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)],
)
def test_what_a_page_loads_without_reading_it_has_no_origin(site: str, is_other: bool) -> None:
    headers = Headers({"sec-fetch-site": site, "sec-fetch-dest": "image"})
    assert is_of_another_page(headers, OWN) == is_other


def test_a_link_of_another_page_may_be_followed() -> None:
    headers = Headers({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"})
    assert not is_of_another_page(headers, OWN)
