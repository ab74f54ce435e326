"""Whether a deploy drops calls: nodes behind HAProxy are restarted one by one under live calls.

    python -m benchmarks.rolling [--only restart,workers,kill,partition,vanish,proxy]
                                 [--calls 200] [--namespaces] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import functools
import math
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random

import uvloop
from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark starts HAProxy, and only works on Linux")

from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, arguments_of, report_on
from benchmarks.fleet_watch import FleetWatch, Watched
from benchmarks.linux import busy_seconds, end_with_parent
from benchmarks.namespaces import NETWORK, Namespace
from benchmarks.processes import Certificate, stop
from benchmarks.redis_server import RedisServer
from benchmarks.rolling_calls import LATE_SECONDS, Callers, RollingCall
from benchmarks.root import ROOT
from benchmarks.servers.marked_echo import LIMIT, LIMITED
from benchmarks.store_links import DeviceLink, RelayLink, StoreLink


EXPERIMENTS = ("restart", "workers", "kill", "partition", "vanish", "proxy")
WITH_REDIS = ("kill", "partition")
"""Those whose nodes are a fleet."""
QUICK = ("restart", "kill", "partition")
"""Those that `--quick` runs of all."""
NODES = 3
WORKERS = 2
TOKEN = "an auth token for benchmarks"
DISTURBANCE_LIMIT = 0.10
LOST_SECONDS = 10.0
"""Within which the others notice that a node is dead or cut off, and its places are free."""
AGREED_SECONDS = 10.0
"""Within which all agree again on the calls, once Redis is reached."""
SPEAKS_SECONDS = 5.0
"""Within which the caller of a node that was killed hears another one."""
TOLD_AFTER = 2.5
"""Seconds after which what a call has said is kept: a look each second, and a slow machine."""
DYING_SECONDS = 0.1
"""Within so long the proxy has told callers that the node of their streams is gone."""
NOTICED_SECONDS = 25.0
"""Within which the calls of a node that has vanished are over: `tcp-ut` of HAProxy, and some."""
PROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""

_CONFIGURATION = ROOT / "deploy/haproxy.cfg"
_START_SECONDS = 30.0


class Node:
    """A server of the benchmark, which can be restarted at its address.

    Args:
        number: Which node it is, from 1.
        port: The port, at an address of its own.
        arguments: Arguments for `serve`.
        directory: Where its log is written.
        namespace: The network namespace that it runs in, if any.
        redis: The URL of Redis, if it has one.

    """

    def __init__(
        self,
        number: int,
        port: int,
        arguments: list[str],
        directory: Path,
        namespace: Namespace | None,
        redis: str | None = None,
    ) -> None:
        self.name = f"node{number}"
        self.address = loopback(number) if namespace is None else namespace.address
        self.port = port
        self.namespace = namespace
        self.log = directory / f"{self.name}.log"
        self.admin = directory / f"{self.name}.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = arguments
        self._redis = redis

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.namespace.command if self.namespace else ()),
                    *(sys.executable, "-m", "mediaserver", "serve"),
                    "benchmarks.servers.marked_echo:ROUTES",
                    *("--node", self.name, "--host", self.address, "--port", str(self.port)),
                    *("--admin", str(self.admin)),
                    *(("--redis", self._redis) if self._redis else ()),
                    *self._arguments,
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def watched(self) -> Watched:
        """Where it is asked and called."""
        return Watched(self.name, self.admin, self.address, self.port)

    async def until_ready(self) -> None:
        """Wait until it takes calls.

        Raises:
            BenchmarkError: It did not become ready.

        """
        assert self.process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not await self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                last = self.log.read_text().strip().splitlines()[-3:]
                raise BenchmarkError("\n    ".join((f"{self.name} did not become ready", *last)))
            await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self.address, self.port)
        except OSError:
            return False
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
        try:
            return (await reader.read()).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
        finally:
            writer.close()

    async def drain(self, limit: float) -> float:
        """Send SIGTERM, wait for the end, and return how many seconds it took.

        Raises:
            BenchmarkError: It did not end in time, or not with status 0.

        """
        assert self.process is not None
        begun = time.monotonic()
        self.process.terminate()
        while self.process.poll() is None:
            if time.monotonic() - begun > limit:
                raise BenchmarkError(f"{self.name} did not stop within {limit:g} s")
            await asyncio.sleep(0.05)
        if self.process.returncode:
            raise BenchmarkError(f"{self.name} stopped with status {self.process.returncode}")
        return time.monotonic() - begun

    async def reload(self) -> float:
        """Send SIGHUP, wait until new workers serve, and return how many seconds it took.

        Raises:
            BenchmarkError: They did not become ready.

        """
        assert self.process is not None
        before, begun = self._count('"event": "reloaded"'), time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        while self._count('"event": "reloaded"') == before:
            if time.monotonic() - begun > _START_SECONDS:
                raise BenchmarkError(f"{self.name} did not reload")
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def problems(self) -> Counter[str]:
        """Return its warnings and errors, by event."""
        found = re.findall(
            r'"event": "([^"]+)".*"level": "(?:warning|error|critical)"', self.log.read_text()
        )
        return Counter(f"{self.name} logged: {event}" for event in found)

    def _count(self, text: str) -> int:
        return self.log.read_text().count(text)


def end_all(nodes: list[Node]) -> None:
    """End all that run, whatever they do."""
    running = [node.process for node in nodes if node.process is not None]
    # The second signal closes calls that a failed run has left.
    for _ in range(2):
        for process in running:
            process.terminate()
        time.sleep(0.3)
    for process in running:
        stop(process)


class Proxy:
    """HAProxy, as `deploy/haproxy.cfg` configures it, at other addresses.

    Args:
        nodes: The nodes.
        directory: Where its files are.

    """

    def __init__(self, nodes: list[Node], directory: Path) -> None:
        self.port = free_port("127.0.0.1")
        self._directory = directory
        self._configuration = directory / "haproxy.cfg"
        self._control = directory / "haproxy.sock"
        certificate = Certificate.issue(directory)
        self.context = ssl.create_default_context(cafile=certificate.authority)
        combined = directory / "haproxy.pem"
        combined.write_bytes(certificate.certificate.read_bytes() + certificate.key.read_bytes())
        self._configuration.write_text(
            configured(
                _CONFIGURATION.read_text("utf-8"),
                bind=f"127.0.0.1:{self.port}",
                certificate=combined,
                control=self._control,
                servers={node.name: f"{node.address}:{node.port}" for node in nodes},
            )
        )
        self._log = directory / "haproxy.log"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it for the duration of the block.

        Raises:
            BenchmarkError: Its configuration is wrong, or it did not start.

        """
        command = [PROXY, "-f", str(self._configuration)]
        checked = subprocess.run([*command, "-c"], capture_output=True, check=False)
        if checked.returncode or b"WARNING" in checked.stderr:
            raise BenchmarkError(f"deploy/haproxy.cfg: {checked.stderr.decode().strip()}")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-W"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    break
                time.sleep(0.05)
            else:
                raise BenchmarkError(f"HAProxy did not start: {self._log.read_text()[-500:]}")
            yield
        finally:
            stop(self._process)

    def reload(self) -> None:
        """Have it read its configuration again."""
        self._process.send_signal(signal.SIGUSR2)

    async def until_up(self, node: Node) -> None:
        """Wait until it sends new calls to a node.

        Raises:
            BenchmarkError: It does not.

        """
        deadline = time.monotonic() + _START_SECONDS
        while f"nodes,{node.name},UP" not in await self._states():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"HAProxy does not notice that {node.name} is ready")
            await asyncio.sleep(0.05)

    async def _states(self) -> str:
        """Return a line with the state of each node."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._control)
            writer.write(b"show stat nodes 4 -1\n")
            table = (await reader.read()).decode()
            writer.close()
        except OSError:
            return ""
        rows = [line.split(",") for line in table.splitlines()]
        return "\n".join(",".join((row[0], row[1], row[17])) for row in rows if len(row) > 17)


def configured(
    text: str, *, bind: str, certificate: Path, control: Path, servers: dict[str, str]
) -> str:
    """Return HAProxy's configuration for other addresses, and for whoever runs it.

    Raises:
        BenchmarkError: The text does not have what is replaced.

    """
    lines = "".join(f"    server {name} {address}\\1\n" for name, address in servers.items())
    for pattern, replacement in (
        (r"^    log /dev/log local0$", "    log stdout format raw local0"),
        (r"^    user haproxy\n    group haproxy\n", ""),
        (r"(?<=stats socket )\S+", str(control)),
        (r"(?<=bind ):443", bind),
        (r"(?<= crt )\S+", str(certificate)),
        (r"(?:^    server \S+ \S+(.*)\n)+", lines),
    ):
        text, number = re.subn(pattern, replacement, text, flags=re.M)
        if number != 1:
            raise BenchmarkError(f"deploy/haproxy.cfg: {pattern} is there {number} times")
    return text


def loopback(number: int) -> str:
    """Return the address of a node that has no namespace."""
    return f"127.0.0.{number + 1}"


def free_port(*addresses: str) -> int:
    """Return a port that is free at all of these addresses."""
    for _ in range(20):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            first = stack.enter_context(socket.create_server((addresses[0], 0)))
            port: int = first.getsockname()[1]
            for address in addresses[1:]:
                stack.enter_context(socket.create_server((address, port)))
            return port
    raise BenchmarkError("no port is free")


class Rollout:
    """Calls, and the nodes that take them, in one experiment.

    Args:
        chosen: The command's arguments.
        callers: The callers.
        nodes: The nodes.
        proxy: The proxy.
        say: Reports progress.
        redis: What the nodes share, if anything.
        link: The second node's way there, if it can be cut.

    """

    def __init__(
        self,
        chosen: argparse.Namespace,
        callers: Callers,
        nodes: list[Node],
        proxy: Proxy,
        say: Callable[[str], None],
        redis: RedisServer | None = None,
        link: StoreLink | None = None,
    ) -> None:
        self.chosen = chosen
        self.callers = callers
        self.nodes = nodes
        self.proxy = proxy
        self.say = say
        self.live: list[int] = []
        """Calls that were live whenever something was stopped."""
        self.drains: list[float] = []
        self.reloads: list[float] = []
        self.victims: set[RollingCall] = set()
        """Calls of a node that was killed, or vanished."""
        self.lost = ""
        """The name of that node."""
        self.vanished_at = 0.0
        self.killed_at = 0.0
        self.facts: list[tuple[str, float, str, float | None]] = []
        """Further figures: their names, values, units and goals."""
        self._redis = redis
        self._link = link

    async def restart(self) -> None:
        """Stop each node, and start it again when it is gone."""
        for node in self.nodes:
            self._note(f"{node.name} drains")
            took = await node.drain(self.chosen.drain_timeout + 20)
            self.drains.append(took)
            node.start()
            await node.until_ready()
            # Until then, no node would be left for new calls if the next one drained.
            await self.proxy.until_up(node)
            self.say(f"{node.name} drained for {took:.1f} s and is back")

    async def reload(self) -> None:
        """Have each node replace its workers."""
        for node in self.nodes:
            self._note(f"{node.name} reloads")
            self.reloads.append(await node.reload())
            await asyncio.sleep(self.chosen.pause)

    async def kill(self) -> None:
        """Kill a node."""
        node, other = self.nodes[1], self.nodes[0].watched
        await asyncio.sleep(TOLD_AFTER)
        self._note(f"{node.name} is killed")
        assert node.process is not None
        self.lost, pid = node.name, node.process.pid
        async with self._watching() as watch:
            before = await self._underruns(watch)
            self.victims = {
                each
                for each in self.callers.live
                if not each.hung_up and (each.pid == pid if each.pid else each.node == node.name)
            }
            self.killed_at = time.monotonic()
            node.kill()

            async def lost() -> bool:
                members = await watch.members_with_calls()
                return node.name not in members | await watch.nodes_of(other)

            took = await watch.until("the node is lost, its places free", lost, 3 * LOST_SECONDS)
            self._fact("until it is lost and its places free", took, "s", LOST_SECONDS)
            await asyncio.sleep(self.chosen.pause)
            # Their streams had connected, but had not said which process serves them.
            self.victims |= {
                each
                for each in self.callers.ended
                if each.cut is not None and each.node == node.name and each.pid in (0, pid)
            }
            # Those that hung up while it died have lost nothing.
            told = self.killed_at + DYING_SECONDS
            self.victims -= {
                each
                for each in self.callers.ended
                if each.hung_up and each.over_at is not None and each.over_at < told
            }
            judged = self.callers.worst_turn < LATE_SECONDS and not self.chosen.quick
            underruns = await self._underruns(watch) - before
            self._fact("underruns of the others", underruns, limit=0 if judged else None)

    async def partition(self) -> None:
        """Cut a node off from Redis, and bring it back; then restart Redis."""
        node = self.nodes[1]
        one, cut, third = (each.watched for each in self.nodes)
        assert self._link is not None
        assert node.process is not None
        async with self._watching() as watch:
            await self._agree(watch, "before")
            self._note(f"{node.name} is cut off from Redis")
            theirs = {each.call_id for each in self.callers.live if each.pid == node.process.pid}
            begun = time.monotonic()
            self._link.cut()
            try:
                await self._while_cut(watch, one, cut, third, theirs)
                # As long as the others take to free its places, and some.
                await asyncio.sleep(max(0.0, begun + LOST_SECONDS - time.monotonic()))
                let_in = await watch.open_direct(cut, LIMIT + 2)
                self._fact("let in at the cut node, less its limit", let_in - LIMIT, limit=0)
                let_in = await watch.open_direct(one, LIMIT)
                let_in += await watch.open_direct(third, LIMIT)
                self._fact("at the two others together, less it", let_in - LIMIT, limit=0)
            finally:
                self._link.mend()
            self._note(f"{node.name} is back")
            await self._agree(watch, "after the return")
            twice = await watch.places(LIMITED) - 2 * LIMIT
            self._fact("places of a route after the return, too many", twice, limit=0)
            more = [await watch.open_direct(each, 1) for each in (one, cut, third)]
            self._fact("streams let in above its limit then", sum(more), limit=0)
            self._note("Redis is restarted")
            assert self._redis is not None
            self._redis.kill()
            await asyncio.sleep(2.0)
            self._redis.start()
            await self._agree(watch, "after its restart")
            await watch.hang_up_direct()

    async def _while_cut(
        self, watch: FleetWatch, one: Watched, cut: Watched, third: Watched, theirs: set[str]
    ) -> None:
        begun, statuses, longest = time.monotonic(), Counter[int](), 0.0
        known = {each.call_id for each in self.callers.live if each.pid}
        for call in sorted(known - theirs)[:10]:
            status, _, took = await watch.ask(cut, "POST", f"/calls/{call}/clear")
            if any(each.call_id == call for each in self.callers.live):
                statuses[status] += 1
                longest = max(longest, took)
        self._fact("commands at the cut node for other calls", statuses.total())
        self._fact("of those, not answered 503", statuses.total() - statuses[503], limit=0)
        self._fact("answered 503 after, longest", round(longest), "ms", 2_000)
        for each in (one, third):

            async def lost(asked: Watched = each) -> bool:
                return cut.name not in await watch.nodes_of(asked)

            await watch.until("the others notice", lost, 3 * LOST_SECONDS)
        self._fact("until the others take it for lost", time.monotonic() - begun, "s", LOST_SECONDS)
        listed = set(await watch.listed(one, "lost"))
        still = theirs & {each.call_id for each in self.callers.live}
        self._fact("its calls that are listed as lost", len(still & listed))
        self._fact("its live calls that are not listed so", len(still - listed), limit=0)

    async def _agree(self, watch: FleetWatch, when: str) -> None:
        """Wait until nodes and Redis know exactly the calls that the callers have."""
        begun = time.monotonic()
        last: list[int] = []

        async def agreed() -> bool:
            last[:] = [await watch.disagreement(node.watched) for node in self.nodes]
            return not any(last)

        with contextlib.suppress(BenchmarkError):
            await watch.until("all agree on the calls", agreed, 3 * AGREED_SECONDS)
        self._fact(f"calls and places that are wrong {when}", sum(last), limit=0)
        took = time.monotonic() - begun
        self._fact(f"until all agree {when}", took, "s", AGREED_SECONDS)

    async def _underruns(self, watch: FleetWatch) -> float:
        """Return how often the nodes that live have had too little to play."""
        total = 0.0
        for node in (self.nodes[0], *self.nodes[2:]):
            total += await watch.metric(node.watched, "mediaserver_underruns_total")
        return total

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[FleetWatch]:
        assert self._redis is not None
        watch = FleetWatch(self.callers, self._redis.url())
        try:
            yield watch
        finally:
            await watch.close()

    async def emptied(self) -> None:
        """Wait until Redis has no places taken, as all calls are over."""
        async with self._watching() as watch:

            async def empty() -> bool:
                return not await watch.places()

            with contextlib.suppress(BenchmarkError):
                await watch.until("no place is taken", empty, AGREED_SECONDS)
            self._fact("places taken once all calls are over", await watch.places(), limit=0)

    def _fact(self, name: str, value: float, unit: str = "", limit: float | None = None) -> None:
        self.facts.append((name, round(value, 1), unit, limit))

    async def vanish(self) -> None:
        """Cut a node off from the network."""
        node = self.nodes[1]
        self._note(f"{node.name} vanishes")
        assert node.process is not None
        assert node.namespace is not None
        self.victims = {each for each in self.callers.live if each.pid == node.process.pid}
        node.namespace.vanish()
        self.lost, self.vanished_at = node.name, time.monotonic()
        await asyncio.sleep(NOTICED_SECONDS)

    async def reload_proxy(self) -> None:
        """Have the proxy read its configuration again, several times."""
        for number in range(3):
            self._note(f"the proxy reloads, {number + 1}")
            self.proxy.reload()
            await asyncio.sleep(self.chosen.pause)

    def _note(self, what: str) -> None:
        self.live.append(len(self.callers.live))
        self.say(f"{what}, {self.live[-1]} calls are live")


class Benchmark:
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self.report = Findings(
            {
                "calls": chosen.calls,
                "nodes": chosen.nodes,
                "seconds": chosen.seconds,
                "quick": chosen.quick,
                "load_average": os.getloadavg()[0],
            },
            f"{chosen.nodes} nodes behind HAProxy, which ends TLS",
        )
        self._progress = progress
        self._begun = time.monotonic()

    def run(self) -> None:
        """Run one experiment after the other; if one fails, the others still run."""
        if self.chosen.quick:
            self.report.doubts.append("--quick: few calls, short ones, whose times mean nothing")
        for name in self.chosen.only:
            try:
                uvloop.run(self._experiment(name))
            except BenchmarkError as error:
                self.report.missing.append(f"{name}: {error}")
                self.say(name, f"failed: {error}")

    async def _experiment(self, name: str) -> None:
        begun, busy, own = time.monotonic(), busy_seconds(), _own_seconds()
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            numbers = range(1, self.chosen.nodes + 1)
            spaces: list[Namespace | None] = [None] * len(numbers)
            if self.chosen.namespaces or name in ("vanish", "partition"):
                try:
                    for number in numbers:
                        spaces[number - 1] = space = Namespace(number)
                        stack.callback(space.remove)
                except BenchmarkError as error:
                    if name != "partition":
                        raise
                    spaces = [None] * len(numbers)
                    self.report.doubts.append(
                        f"partition: a relay on loopback stands for the link to Redis: {error}"
                    )
            redis: RedisServer | None = None
            link: StoreLink | None = None
            urls: list[str | None] = [None] * len(numbers)
            if name in WITH_REDIS:
                stores = [space.store_address for space in spaces if space is not None]
                redis = RedisServer(Path(folder), "127.0.0.1", *stores)
                stack.enter_context(redis.running())
                urls = [redis.url(each.store_address if each else "127.0.0.1") for each in spaces]
            if redis is not None and name == "partition":
                if spaces[1] is not None:
                    link = DeviceLink(redis, spaces[1])
                else:
                    link = relay = RelayLink(redis)
                    await stack.enter_async_context(relay.listening())
                urls[1] = link.url
            port = free_port(*map(loopback, numbers))
            # The nodes learn the proxy's address, and the proxy theirs.
            arguments: list[str] = []
            nodes = [
                Node(number, port, arguments, Path(folder), space, store)
                for number, space, store in zip(numbers, spaces, urls, strict=True)
            ]
            proxy = Proxy(nodes, Path(folder))
            url = f"https://127.0.0.1:{proxy.port}"
            arguments += self._arguments(url, WORKERS if name == "workers" else 0)
            if redis is not None:
                # With a limit, each call waits for its places.
                arguments += ["--max-calls-account", "2000", "--resume-calls", "3"]
            stack.callback(end_all, nodes)
            for node in nodes:
                node.start()
            await asyncio.gather(*(node.until_ready() for node in nodes))
            stack.enter_context(proxy.running())
            callers = Callers(url, proxy.context, TOKEN, Random(1), self.chosen.seconds)
            say = functools.partial(self.say, name)
            rollout = Rollout(self.chosen, callers, nodes, proxy, say, redis, link)
            await self._roll(name, rollout)
            problems = sum((node.problems() for node in nodes), Counter[str]())
        # All children have ended, so that their time is known.
        work = busy_seconds() - busy - (_own_seconds() - own)
        others = work / (time.monotonic() - begun) / len(os.sched_getaffinity(0))
        self._enter(name, rollout, max(0.0, others))
        own_share = (_own_seconds() - own) / (time.monotonic() - begun)
        self.report.add(name, "cores used by all of this", round(own_share, 2))
        self.report.doubts.extend(
            f"{name}: {count} x {reason}"
            for found in (problems, callers.refused, callers.unnoted)
            for reason, count in found.items()
        )
        self.report.doubts.extend(
            f"{name}: {count} x {node}'s stream opened again after {reason}"
            for (node, reason), count in callers.reopened.items()
        )

    def _arguments(self, url: str, workers: int) -> list[str]:
        chosen = self.chosen
        return [
            *("--workers", str(workers), "--public-url", url, "--auth-token", TOKEN),
            *("--secret", "a secret for benchmarks", "--trusted-proxies", f"127.0.0.1,{NETWORK}"),
            *("--drain-delay", str(chosen.drain_delay)),
            *("--drain-timeout", str(chosen.drain_timeout), "--max-calls", "2000"),
            *("--log-level", "info", "--log-format", "json"),
        ]

    async def _roll(self, name: str, rollout: Rollout) -> None:
        """Have callers call while nodes come and go."""
        chosen, callers = self.chosen, rollout.callers
        talking = asyncio.create_task(callers.talk())
        rate = chosen.calls / (sum(chosen.seconds) / 2)
        arriving: asyncio.Task[None] | None = None
        try:
            endless = chosen.endless if name in ("restart", "workers") else 0
            # Some of these live from long before a node is lost, or until then.
            for _ in range(3 * NODES if name in WITH_REDIS else endless):
                callers.begin(endless=True)
            arriving = asyncio.create_task(callers.arrive(rate))
            await callers.arrive(min(25.0, chosen.calls), chosen.calls)
            await asyncio.sleep(chosen.pause)
            match name:
                case "restart":
                    await rollout.restart()
                case "workers":
                    await rollout.reload()
                    await rollout.restart()
                case "kill":
                    await rollout.kill()
                case "partition":
                    await rollout.partition()
                case "vanish":
                    await rollout.vanish()
                case "proxy":
                    await rollout.reload_proxy()
            await asyncio.sleep(chosen.pause)
            arriving.cancel()
            await callers.hang_up()
            if name in WITH_REDIS:
                await rollout.emptied()
        finally:
            talking.cancel()
            if arriving is not None:
                arriving.cancel()

    def _enter(self, name: str, rollout: Rollout, others: float) -> None:
        add, callers = functools.partial(self.report.add, name), rollout.callers
        cut = callers.cut(endless=False)
        if name in WITH_REDIS:
            cut += callers.cut(endless=True)
        unharmed = [each for each in callers.streams if each not in rollout.victims]
        gaps = [gap for each in unharmed for gap in each.gaps]
        elsewhere = [each for each in callers.streams if each.pid and not each.prepared]
        add("calls that began", callers.served)
        add("calls live at a stop, fewest", min(rollout.live))
        if name in ("kill", "vanish"):
            add("calls of the lost node", len(rollout.victims))
            if name == "kill":
                add("calls of the lost node that went on", len(rollout.victims - set(cut)), limit=0)
                self._enter_resumed(rollout, others)
            else:
                ends = [each.over_at or math.inf for each in rollout.victims]
                longest = max(ends, default=0.0) - rollout.vanished_at
                add("until they were over, longest", round(longest, 1), "s", NOTICED_SECONDS)
            add("calls answered at /fallback, not at /answer", callers.fallbacks)
            add("streams of its calls, served by others", len(elsewhere))
        elif name == "partition":
            add("webhooks that failed", callers.fallbacks + callers.unnoted.total(), limit=0)
        else:
            add("webhooks that failed", callers.fallbacks + callers.unnoted.total(), limit=0)
            add("streams not at the process that prepared them", len(elsewhere), limit=0)
        if name in ("restart", "workers"):
            add("calls longer than the drain, ended by it", len(callers.cut(endless=True)))
        # A request that is under way when its node is lost fails, and the next one goes elsewhere.
        theirs = sum(n for (node, _), n in callers.reopened.items() if node == rollout.lost)
        if rollout.lost:
            add("streams of the lost node, opened at a further attempt", theirs)
        add("other streams opened at a further attempt", callers.reopened.total() - theirs, limit=0)
        add("calls refused or told busy", callers.refused.total(), limit=0)
        add("other calls cut", len(set(cut) - rollout.victims), limit=0)
        # A machine that has little time for this makes gaps of its own.
        judged = callers.worst_turn < LATE_SECONDS and not self.chosen.quick
        add("gaps heard in them", len(gaps), limit=0 if judged else None)
        add("frames without an echo", sum(each.lost for each in unharmed))
        for what, value, unit, limit in rollout.facts:
            # Times are judged only where other programs leave the machine alone.
            add(what, value, unit, limit if not unit or others < DISTURBANCE_LIMIT else None)
        if rollout.drains:
            add("a node's drain, longest", round(max(rollout.drains), 1), "s")
        if rollout.reloads:
            add("from SIGHUP to new workers, longest", round(max(rollout.reloads), 1), "s")
        setups = sorted(callers.setups)
        if setups:
            add("call → its first audio, p50", round(setups[len(setups) // 2] * 1e3, 1), "ms")
            add("call → its first audio, worst", round(setups[-1] * 1e3, 1), "ms")
        reasons = Counter(str(each.cut) for each in set(cut) - rollout.victims)
        self.report.doubts.extend(f"{name}: {count} x {why}" for why, count in reasons.items())
        if gaps:
            self.report.doubts.append(f"{name}: longest gap {max(gaps):.2f} s")
        self.report.doubts.append(
            f"{name}: the callers were late by {callers.worst_turn * 1e3:.0f} ms at worst"
        )
        if others >= DISTURBANCE_LIMIT:
            self.report.doubts.append(
                f"{name}: other programs used {others:.0%} of the machine: times mean little"
            )

    def _enter_resumed(self, rollout: Rollout, others: float) -> None:
        """Enter what became of the calls whose node was killed."""
        add = functools.partial(self.report.add, "kill")
        resumed = [each for each in rollout.callers.streams if each.previous in rollout.victims]
        spoke = [each.spoke_at - rollout.killed_at for each in resumed if each.spoke_at is not None]
        add("callers of it that heard no other node", len(rollout.victims) - len(spoke), limit=0)
        if spoke:
            add("killed → another node speaks, p50", round(sorted(spoke)[len(spoke) // 2], 2), "s")
            limit = SPEAKS_SECONDS if others < DISTURBANCE_LIMIT else None
            add("killed → another node speaks, worst", round(max(spoke), 2), "s", limit)
        old = [
            each
            for each in resumed
            if each.previous is not None
            and each.spoke_at is not None
            and (each.previous.spoke_at or math.inf) < rollout.killed_at - TOLD_AFTER
        ]
        told = [each for each in old if each.previous and each.told == str(each.previous.pid)]
        add(f"resumed handlers, of calls older than {TOLD_AFTER:g} s", len(old))
        add("of those, not told what was said", len(old) - len(told), limit=0)

    def say(self, name: str, line: str) -> None:
        """Report progress."""
        seconds = time.monotonic() - self._begun
        self._progress.print(f"{seconds:5.1f} s  {name}: {line}", highlight=False, markup=False)


def _own_seconds() -> float:
    """Return the time on a core of this process and of the children that have ended."""
    used = (resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> int:
    parser = arguments_of("rolling", "Deploys under live calls, behind HAProxy.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=200, help="calls that are live at a time")
    parser.add_argument(
        "--namespaces", action="store_true", help="run nodes in network namespaces; needs root"
    )
    chosen = parser.parse_args()
    if not 1 <= chosen.calls <= 1000:
        parser.error(f"{chosen.calls} is not a number of calls from 1 to 1000")
    if not PROXY:
        print("haproxy is missing: install the package haproxy, 2.6 or newer", file=sys.stderr)
        return 2
    # Calls that nobody hangs up are longer than the drain.
    chosen.nodes, chosen.endless, chosen.pause = NODES, 2, 5.0
    chosen.seconds, chosen.drain_delay, chosen.drain_timeout = (5.0, 20.0), 4.0, 30.0
    if chosen.quick:
        chosen.only = [name for name in chosen.only if name in QUICK] or chosen.only
        chosen.calls, chosen.nodes, chosen.endless, chosen.pause = 12, NODES, 1, 0.5
        chosen.seconds, chosen.drain_delay, chosen.drain_timeout = (0.8, 1.6), 2.0, 5.5
    benchmark = Benchmark(chosen, Console(stderr=True))
    return report_on(benchmark, chosen, width=110, judges=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
