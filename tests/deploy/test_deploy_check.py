"""That a server in a container can write call records where it keeps them."""

from typing import Any

import pytest

from tools.deploy_check import DeployError, compose, judge_compose


def test_each_server_of_the_compose_file_keeps_records_on_its_own_volume() -> None:
    judge_compose(compose())


def volumes(*of_nodes: list[str]) -> dict[str, Any]:
    """Return a compose file whose servers have these volumes."""
    return {
        "services": {
            f"node{number}": {"image": "mediaserver", "environment": {}, "volumes": given}
            for number, given in enumerate(of_nodes)
        },
        "volumes": {"a": None, "b": None},
    }


def test_a_volume_at_another_place_is_refused() -> None:
    with pytest.raises(DeployError, match="node0: no volume is mounted for the journal"):
        judge_compose(volumes(["a:/handlers/.local/state"]))


def test_a_volume_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(DeployError, match="node0: no volume is mounted for the journal"):
        judge_compose(volumes(["a:/var/lib/mediaserver:ro"]))


@pytest.mark.parametrize("second", ["a", "./state"])
def test_a_volume_that_is_shared_or_unnamed_is_refused(second: str) -> None:
    mounts = [[f"{name}:/var/lib/mediaserver"] for name in ("a", second)]
    with pytest.raises(DeployError, match="need a named volume each"):
        judge_compose(volumes(*mounts))
