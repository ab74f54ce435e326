import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.notes import LostMember, Note
from mediaserver.server.fleet.store import FleetStore, FleetUnavailableError


pytestmark = [pytest.mark.real_time, pytest.mark.fleet]

KEPT, LIVE = Note(0, live=False, route=""), Note(0, live=True, route="")


class BreakerClock:
    """The time of a member's breaker, which passes when the test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> BreakerClock:
    return BreakerClock()


@pytest.fixture
async def member(private_redis: Any, clock: BreakerClock) -> AsyncIterator[Any]:
    """Make members of one fleet: ``member("a")``."""
    async with contextlib.AsyncExitStack() as stack:

        def make(name: str, **options: Any) -> FleetStore:
            breaker = Breaker(clock, failures=2, seconds=5.0)
            options = {"seconds": 30.0, **options}
            store = FleetStore(private_redis.url, name, FleetKeys(), breaker, **options)
            stack.push_async_callback(store.close)
            return store

        yield make


async def claim(
    store: FleetStore,
    call: str,
    *,
    number: int = 1,
    route: str = "",
    account: int = 0,
    of_route: int = 0,
    seconds: float = 30.0,
) -> str:
    note = Note(number, live=False, route=route)
    return await store.claim(
        call, note, account_limit=account, route_limit=of_route, seconds=seconds
    )


async def test_the_accounts_limit_holds_for_all_members(member: Any) -> None:
    one, other = member("a"), member("b")
    assert await claim(one, "c-1", account=2) == ""
    assert await claim(other, "c-2", account=2) == ""
    assert await claim(one, "c-3", account=2) == "account"
    await other.release(["c-2"], 1)
    assert await claim(one, "c-3", account=2) == ""


async def test_the_limit_of_a_route_holds_for_all_members(member: Any) -> None:
    one, other = member("a"), member("b")
    assert await claim(one, "c-1", route="/sales", of_route=1) == ""
    assert await claim(other, "c-2", route="/sales", of_route=1) == "route"
    assert await claim(other, "c-2", route="/support", of_route=1) == ""
    await one.release(["c-1"], 1)
    assert await claim(other, "c-3", route="/sales", of_route=1) == ""


async def test_a_call_that_is_claimed_again_takes_no_second_place(member: Any) -> None:
    one, other = member("a"), member("b")
    assert await claim(one, "c-1", route="/sales", account=1, of_route=1) == ""
    assert await claim(other, "c-1", route="/sales", account=1, of_route=1) == ""
    assert await one.owner("c-1") == "b"
    await one.release(["c-1"], 1)
    assert await claim(one, "c-2", account=1) == "account"


async def test_a_call_that_changes_its_route_leaves_the_former_one(member: Any) -> None:
    one = member("a")
    await claim(one, "c-1", route="/sales", of_route=1)
    await claim(one, "c-1", number=2, route="/support", of_route=1)
    assert await claim(one, "c-2", route="/sales", of_route=1) == ""
    assert await claim(one, "c-3", route="/support", of_route=1) == "route"


async def test_a_release_does_not_undo_a_later_claim(member: Any) -> None:
    one = member("a")
    await claim(one, "c-1", number=5)
    await one.release(["c-1"], 4)
    assert await one.owner("c-1") == "a"
    await one.release(["c-1"], 5)
    assert await one.owner("c-1") is None


async def test_a_beat_registers_what_redis_has_lost(member: Any, private_redis: Any) -> None:
    one = member("a")
    await claim(one, "c-1", route="/sales")
    private_redis.kill()
    private_redis.start()
    with contextlib.suppress(FleetUnavailableError):
        await one.owner("c-1")
    assert await one.owner("c-1") is None
    for _ in range(2):
        everybody, lost = await one.beat(b"about a", {"c-1": Note(1, live=True, route="/sales")}, 1)
        assert (everybody, lost) == ({"a": b"about a"}, [])
    assert await claim(one, "c-2", account=1) == "account"
    assert await claim(one, "c-2", route="/sales", of_route=1) == "route"
    assert await claim(one, "c-2", account=2) == ""


async def test_a_beat_frees_what_the_member_has_no_more(member: Any) -> None:
    one = member("a")
    await claim(one, "c-1", number=1)
    await claim(one, "c-2", number=2)
    await one.beat(b"", {}, 1)
    assert await one.owner("c-1") is None
    assert await one.owner("c-2") == "a", "its claim may be under way"


async def test_a_stream_that_is_served_elsewhere_than_expected_counts_once(member: Any) -> None:
    one, other = member("a"), member("b")
    await one.beat(b"", {"c-1": KEPT}, 0)
    await other.beat(b"", {"c-1": LIVE}, 0)
    await one.beat(b"", {"c-1": KEPT}, 0)
    assert await one.owner("c-1") == "b"
    await one.beat(b"", {}, 0)
    assert await one.owner("c-1") == "b"
    assert await claim(one, "c-2", account=1) == "account"
    await other.beat(b"", {}, 0)
    assert await claim(one, "c-2", account=1) == ""


async def test_a_member_that_does_not_beat_is_lost_once_with_its_calls(member: Any) -> None:
    one, other, third = member("a"), member("b", lost_after=0.05), member("c")
    await one.beat(b"about a", {"c-1": Note(0, live=True, route="/sales")}, 0)
    await asyncio.sleep(0.1)
    everybody, lost = await other.beat(b"about b", {}, 0)
    assert everybody == {"b": b"about b"}
    assert lost == [LostMember("a", b"about a", ["c-1"])]
    assert await third.lost_with("c-1") == "a"
    (found,) = await third.lost_calls()
    assert (found.call, await third.members_lost_with(["c-1", "c-9"])) == ("c-1", ["a", ""])
    assert found.at == pytest.approx(time.time(), abs=60)
    assert await claim(third, "c-2", route="/sales", account=1, of_route=1) == ""
    assert (await third.beat(b"", {"c-2": KEPT}, 1))[1] == []


async def test_a_member_that_was_only_silent_has_its_calls_again(member: Any) -> None:
    one, other = member("a"), member("b", lost_after=0.05)
    await one.beat(b"", {"c-1": LIVE}, 0)
    await asyncio.sleep(0.1)
    await other.beat(b"", {}, 0)
    await one.beat(b"", {"c-1": LIVE}, 0)
    assert await other.owner("c-1") == "a"
    assert await other.lost_with("c-1") is None
    assert await other.lost_calls() == []


async def test_a_member_that_leaves_takes_its_calls_with_it(member: Any) -> None:
    one, other = member("a"), member("b")
    await one.beat(b"", {"c-1": LIVE}, 0)
    await one.leave()
    everybody, lost = await other.beat(b"about b", {}, 0)
    assert (everybody, lost) == ({"b": b"about b"}, [])
    assert await other.owner("c-1") is None


async def test_a_signature_is_used_by_one_member(member: Any) -> None:
    one, other = member("a"), member("b")
    assert await one.use_nonce("n")
    assert await one.use_nonce("n")
    assert not await other.use_nonce("n")
    await one.release_nonce("n")
    assert await other.use_nonce("n")


async def test_a_message_to_nobody_is_not_delivered(member: Any) -> None:
    assert not await member("a").publish("nobody", b"hello")


async def test_nothing_waits_for_a_redis_that_does_not_answer(
    member: Any, private_redis: Any, clock: BreakerClock
) -> None:
    one = member("a")
    await claim(one, "c-1")
    private_redis.freeze()
    for _ in range(2):
        with pytest.raises(FleetUnavailableError, match=r"no answer within 0\.1 s"):
            await claim(one, "c-2", seconds=0.1)
    assert one.breaker.state == "open"
    with pytest.raises(FleetUnavailableError, match="lately"):
        await claim(one, "c-2")
    private_redis.thaw()
    clock.now += 4.9
    assert one.breaker.state == "open"
    clock.now += 0.1
    await one.beat(b"", {"c-1": KEPT}, 1)
    assert one.breaker.state == "closed"
    assert one.failures == 2


async def test_a_redis_that_is_gone_is_an_error_at_once(member: Any, private_redis: Any) -> None:
    one = member("a")
    private_redis.kill()
    with pytest.raises(FleetUnavailableError):
        await one.owner("c-1")


async def test_many_requests_at_once_share_the_connections(member: Any) -> None:
    one = member("a")
    reached = await asyncio.gather(*(claim(one, f"c-{n}", account=60) for n in range(100)))
    assert reached.count("") == 60
    assert reached.count("account") == 40
