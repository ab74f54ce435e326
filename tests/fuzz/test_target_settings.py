from pathlib import Path

from tools.fuzz.inputs import UPGRADE, seeds
from tools.fuzz.target import FuzzTarget
from tools.fuzz.target_settings import settings_of, signed


def test_eight_seeds_try_each_combination(tmp_path: Path) -> None:
    assert len({tuple(settings_of(seed, tmp_path)) for seed in range(8, 16)}) == 8


async def test_a_server_that_checks_signatures_takes_signed_inputs_alone(tmp_path: Path) -> None:
    requests = [each for each in seeds() if b"/answer" in each]
    async with FuzzTarget(**settings_of(1, tmp_path)) as target:
        for number, request in enumerate([UPGRADE, *requests]):
            status = b"101" if request == UPGRADE else b"200"
            response = await target.send([signed(request, f"{number:020}")])
            assert response.startswith(b"HTTP/1.1 " + status)
            assert (await target.send([request])).startswith(b"HTTP/1.1 403")
    assert not target.crashes


async def test_a_server_that_records_calls_has_records(tmp_path: Path) -> None:
    async with FuzzTarget(**settings_of(4, tmp_path)) as target:
        assert target.runtime.record_figures is not None
    assert not target.crashes
