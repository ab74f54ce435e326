from httpx import AsyncClient


async def test_a_refusal_is_a_success_for_whoever_asks_for_that(client: AsyncClient) -> None:
    loud = await client.get("/calls/call-9/trace")
    quiet = await client.get("/calls/call-9/trace", headers={"x-quiet-refusals": "1"})
    assert (loud.status_code, loud.headers.get("x-refused")) == (404, None)
    assert (quiet.status_code, quiet.headers["x-refused"]) == (200, "404")
    assert quiet.json() == loud.json()


async def test_an_answer_that_is_none_stays_as_it_is(client: AsyncClient) -> None:
    answer = await client.get("/calls", headers={"x-quiet-refusals": "1"})
    assert (answer.status_code, answer.headers.get("x-refused")) == (200, None)


async def test_who_has_no_access_is_refused_quietly_too(client: AsyncClient) -> None:
    headers = {"x-quiet-refusals": "1", "origin": "https://example.com"}
    answer = await client.get("/calls", headers=headers)
    assert (answer.status_code, answer.headers["x-refused"]) == (200, "403")
