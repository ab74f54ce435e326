"""The monologue on plivo-stream-sdk, on an event loop that is blocked once a second."""

import uvloop

from benchmarks.servers.options import Options, parse_options
from benchmarks.servers.plivo_sdk_monologue import main
from benchmarks.servers.talkers import stalling


async def main_stalled(options: Options) -> None:
    async with stalling():
        await main(options)


if __name__ == "__main__":
    uvloop.run(main_stalled(parse_options()))
