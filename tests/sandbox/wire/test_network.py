from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.wire.network import RETRANSMITTED_AFTER, NetworkPath, StreamNetwork
from mediaserver.testing import in_virtual_time, run_virtual


def test_without_troubles_messages_arrive_at_once() -> None:
    assert [StreamNetwork().arrival(now) for now in (0.0, 1.5)] == [0.0, 1.5]


def test_jitter_takes_up_to_its_seconds() -> None:
    network = StreamNetwork()
    network.trouble(jitter=0.1)
    times = [network.arrival(5.0) for _ in range(1_000)]

    assert min(times) >= 5.0
    assert 5.09 < max(times) <= 5.1


def test_what_is_lost_comes_when_it_has_been_sent_again() -> None:
    network = StreamNetwork()
    network.trouble(loss=0.1)
    late = [network.arrival(0.0) == RETRANSMITTED_AFTER for _ in range(1_000)]

    assert 70 < sum(late) < 130


def test_in_a_stall_nothing_arrives_before_its_end() -> None:
    network = StreamNetwork()
    network.stall(2.0, 10.0)

    assert (network.stalled(11.9), network.stalled(12.0)) == (True, False)
    assert (network.arrival(11.0), network.arrival(12.5)) == (12.0, 12.5)


def test_troubles_change_one_by_one() -> None:
    network = StreamNetwork()
    network.trouble(jitter=0.1, loss=0.2)
    network.trouble(jitter=0.0)

    assert (network.jitter, network.loss) == (0.0, 0.2)


@pytest.mark.parametrize("jitter", [-0.1, 2.1, float("nan"), float("inf")])
def test_jitter_out_of_range_changes_nothing(jitter: float) -> None:
    network = StreamNetwork()
    with pytest.raises(ValueError, match="jitter is 0 to 2 seconds, not"):
        network.trouble(jitter=jitter, loss=0.1)
    assert network.loss == 0


def test_loss_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a share of 0 to 0.5, not 2"):
        StreamNetwork().trouble(loss=2)


@pytest.mark.parametrize("seconds", [0, -1, 61, float("nan")])
def test_a_stall_that_is_none_or_too_long_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 60 seconds"):
        StreamNetwork().stall(seconds, 0.0)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.lists(st.floats(0, 0.1), max_size=30))
def test_messages_arrive_once_and_in_order(jitter: float, loss: float, gaps: list[float]) -> None:
    async def scenario() -> list[int]:
        network = StreamNetwork()
        network.trouble(jitter=jitter, loss=loss)
        arrived: list[int] = []
        path = NetworkPath(network, arrived.append)
        for number, gap in enumerate(gaps):
            path.send(number)
            await asyncio.sleep(gap)
        await asyncio.sleep(2)
        return arrived

    assert run_virtual(scenario()) == list(range(len(gaps)))


@in_virtual_time
async def test_what_is_on_its_way_can_be_delivered_at_once() -> None:
    network, arrived = StreamNetwork(), list[int]()
    path = NetworkPath(network, arrived.append)
    network.stall(1.0, asyncio.get_running_loop().time())
    path.send(1)
    path.send(2)
    assert (arrived, len(path)) == ([], 2)

    path.flush()
    await asyncio.sleep(2)
    assert arrived == [1, 2]


@in_virtual_time
async def test_what_is_on_its_way_can_be_lost() -> None:
    network, arrived = StreamNetwork(), list[int]()
    path = NetworkPath(network, arrived.append)
    network.stall(1.0, asyncio.get_running_loop().time())
    path.send(1)
    path.drop()
    await asyncio.sleep(2)
    path.send(2)

    assert arrived == [2]
