"""What the documentation shows must be so.

Python blocks run, from the top of a page to its end, in one namespace:

* a block that uses ``await`` outside a function is the inside of a handler, and runs as one;
* the handlers that a block defines, which are the async functions whose first argument is
  ``stream`` and the subclasses of `Handler`, each take a call;
* tests that it defines are run.

Blocks of ``python sandbox`` are the inside of a coroutine, in real time, beside a sandbox that
stands for Plivo; see `beside_a_sandbox` for what they have.

The caller of those calls speaks for a second and presses a key; and, in a second call, hangs up at
once. The handlers of ``python raises`` end in an exception, and their first call is the only one.
"""

import argparse
import ast
import asyncio
import configparser
import contextlib
import inspect
import json
import re
import shlex
import socket
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from plivo.rest import client as plivo_rest
from pydantic import SecretStr
from websockets.asyncio.server import serve

from audiocodecs import write_wav
from mediaserver import settings
from mediaserver.cli.commands import COMMANDS
from mediaserver.handler import Handler
from mediaserver.plivo import CallRequest, PlivoClient
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallEnded
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.people.script import person_from_text
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.responses import OUTCOMES
from mediaserver.server.elsewhere import PROCESS_PARAMETER
from mediaserver.server.process.daemon import HTTP_CLOSE_TIMEOUT
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import CLOSE_TIMEOUT
from mediaserver.server.trust.tokens import TOKEN_PARAMETER, Claims
from mediaserver.server.webhooks import PATHS as WEBHOOK_PATHS
from mediaserver.settings import ENV_PREFIX, Settings
from mediaserver.testing import joined, run_virtual
from tests.server.admin.live import FakeControl, Live, client_of
from tests.telemetry.exposed import exposed_metrics


ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [page.name for page in PAGES]
CALL_SECONDS = 8.0
SHORT_CALL_SECONDS = 0.3

SPEECH = (6000 * np.sin(np.arange(8000) * 0.3)).astype(np.int16)


# Python


@dataclass
class Block:
    page: Path
    line: int
    info: str
    text: str

    @property
    def code(self) -> Any:
        """The block compiled, so that its lines are those of the page."""
        tree = ast.parse("\n" * (self.line - 1) + self.text, str(self.page))
        return compile(tree, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    @property
    def awaits(self) -> Any:
        return bool(self.code.co_flags & inspect.CO_COROUTINE)


def fences(page: Any) -> Any:
    """Return the fenced blocks of a page."""
    blocks: list[Any] = []
    lines: list[str] = []
    info, start = None, 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            if info is None:
                info, start, lines = line[3:].strip(), number + 1, []
            else:
                blocks.append(Block(page, start, info, "\n".join(lines)))
                info = None
        elif info is not None:
            lines.append(line)
    assert info is None, f"{page.name}: the block of line {start - 1} has no end"
    return blocks


def python_blocks(page: Any) -> Any:
    return [block for block in fences(page) if block.info.split()[:1] == ["python"]]


def call(target: Any, info: Any, path: str = "/stream") -> None:
    """Let a handler take a call whose caller speaks and presses a key, and one cut short."""

    async def hold(seconds: Any) -> None:
        async with joined(
            target, path=f"{path}?campaign=7", audio=SPEECH, raises="raises" not in info
        ) as line:
            with contextlib.suppress(CallEnded):
                await line.phone.wait_until(min(2.0, seconds))
                if seconds > 2.0:
                    line.phone.press("1")
                await line.phone.wait_until(seconds)
        report = line.phone.report()
        assert line.runtime.counters.handler_errors == ("raises" in info)
        assert not report.errors
        assert not report.warnings

    run_virtual(hold(CALL_SECONDS))
    if "raises" not in info:
        run_virtual(hold(SHORT_CALL_SECONDS))


def as_handler(block: Any, namespace: Any) -> Any:
    """Return a handler that does what is in `block`."""

    async def inside(stream: Any) -> None:
        namespace["stream"] = stream
        await eval(block.code, namespace)

    return inside


ACCOUNT = Account("MASANDBOXSANDBOXSAND", SecretStr("the token"))


class Customer(httpx.AsyncBaseTransport):
    """Carries requests to this machine; to all others it replies with a document that waits."""

    def __init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: Any) -> Any:
        if request.url.host == "127.0.0.1":
            return await self._network.handle_async_request(request)
        return httpx.Response(200, content='<Response><Wait length="60"/></Response>')

    async def aclose(self) -> None:
        await self._network.aclose()


async def beside_a_sandbox(block: Any, namespace: Any) -> None:
    """Run what is in `block` with a sandbox where Plivo would be.

    It has `plivo`, a client; `call_uuid` of a call that was answered, and `ended_call_uuid` of one
    that is over; `stream_url` of a server that listens; and `settings` for one that does not yet.
    """

    async def listen(connection: Any) -> None:
        async for _ in connection:
            pass

    options = SandboxOptions(account=ACCOUNT, exchange=ExchangeOptions(calls_per_second=1000))
    token = ACCOUNT.auth_token.get_secret_value()
    async with (
        Sandbox(options, transport=Customer()) as sandbox,
        PlivoClient(
            ACCOUNT.auth_id,
            token,
            base_url="http://sandbox",
            transport=httpx.ASGITransport(app=sandbox.app),
        ) as plivo,
        serve(listen, "127.0.0.1", 0) as server,
    ):
        sandbox.exchange.dialplan = Dialplan(lambda: Person(ring=0))

        async def answered() -> Any:
            request = CallRequest(
                from_="+14155550100",
                to="+14155550199",
                answer_url="https://voice.example.com/answer",
            )
            call = sandbox.exchange.calls[(await plivo.calls.create(request)).call_uuid]
            await call.answered.wait()
            return call

        over = await answered()
        await plivo.calls.hang_up(over.uuid)
        await over.wait_ended()
        port = free_port()
        namespace |= {
            "plivo": plivo,
            "sandbox": sandbox,
            "call_uuid": (await answered()).uuid,
            "ended_call_uuid": over.uuid,
            "stream_url": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream",
            "settings": Settings(
                port=port,
                public_url=f"http://127.0.0.1:{port}",
                auth_id=ACCOUNT.auth_id,
                auth_token=SecretStr(token),
            ),
        }
        await eval(block.code, namespace)


def free_port() -> Any:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def is_handler(value: Any, module: Any) -> Any:
    if getattr(value, "__module__", None) != module:
        return False
    if inspect.isclass(value):
        return issubclass(value, Handler) and not inspect.signature(value).parameters
    if not inspect.iscoroutinefunction(value):
        return False
    required = [
        name
        for name, parameter in inspect.signature(value).parameters.items()
        if parameter.default is parameter.empty
    ]
    return required == ["stream"]


def run_block(block: Any, namespace: Any) -> None:
    if "sandbox" in block.info.split():
        asyncio.run(beside_a_sandbox(block, namespace))
        return
    if block.awaits:
        call(as_handler(block, namespace), block.info)
        return
    before = dict(namespace)
    exec(block.code, namespace)
    new = {name: value for name, value in namespace.items() if before.get(name) is not value}
    routed = []
    for routes in [value for value in new.values() if isinstance(value, Routes)]:
        routed += [route.handler for route in routes.routes]
        for path in routes.paths:
            call(routes, block.info, path)
    for name, value in new.items():
        if is_handler(value, namespace["__name__"]) and value not in routed:
            call(value, block.info)
        elif name.startswith("test_"):
            value()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_blocks_run(page: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    # Its agents' services are asked at start: by a server that needs no key and is not there.
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    write_wav("greeting.wav", SPEECH, 8000)
    for name in [each for each in vars(plivo_rest) if each.isupper()]:
        # What a page has a reader change for good, it changes here for as long as it is read.
        monkeypatch.setattr(plivo_rest, name, getattr(plivo_rest, name))
    namespace = {"__name__": f"docs.{page.stem}"}
    for block in python_blocks(page):
        run_block(block, namespace)


def test_the_readme_has_a_handler_in_ten_lines() -> None:
    assert len(python_blocks(ROOT / "README.md")[0].text.splitlines()) <= 10


def test_a_handler_in_the_docs_that_cannot_bear_a_hang_up_is_found() -> None:
    async def careless(stream: Any) -> None:
        controls = stream.controls()
        assert await anext(controls, None) is not None

    with pytest.raises(AssertionError):
        call(careless, "python")


# Links


def anchors(page: Any) -> Any:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_within_the_repository_lead_somewhere(page: Any) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


# Commands and settings


def command_lines(page: Any) -> Iterator[Any]:
    """Return the command lines of this project on a page, in blocks and within the text."""
    text = page.read_text("utf-8")
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.sub(r"\\\n\s*", "", "\n".join(re.findall(r"^    .*$", plain, re.M)))
    yield from re.findall(r"^ +(mediaserver .+)$", indented, re.M)
    yield from re.findall(r"`(mediaserver [a-z]+ [^`]*)`", plain.replace("\n", " "))


def parse_command(words: Any) -> Any:
    """Have the command line parse what follows ``mediaserver``."""
    if words[0].startswith("-"):
        return None
    return COMMANDS[words[0]].load(words[0]).make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_command_lines_can_be_given(page: Any) -> None:
    for line in command_lines(page):
        parse_command(shlex.split(line, comments=True)[1:])


def test_command_lines_are_found() -> None:
    assert len(list(command_lines(ROOT / "README.md"))) > 3


DEPLOY = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())


@pytest.mark.parametrize("file", [*PAGES, *DEPLOY], ids=[*IDS, *(file.name for file in DEPLOY)])
def test_variables_name_settings(file: Any) -> None:
    named = re.findall(rf"{ENV_PREFIX}[A-Z_]*[A-Z]", file.read_text("utf-8"))
    assert {name.removeprefix(ENV_PREFIX).lower() for name in named} <= set(Settings.model_fields)


def test_the_settings_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings.reference()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_scripts_of_persons_can_be_followed(page: Any) -> None:
    for block in fences(page):
        if block.info == "yaml script":
            assert person_from_text(block.text).script


# Metrics


def test_the_table_of_metrics_has_each_of_them() -> None:
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    listed = re.findall(r"^\| `(mediaserver_\w+)(?:\{[\w,]+\})?` \|", text, re.M)
    own = [each for each in exposed_metrics() if each.startswith("mediaserver_")]
    assert sorted(listed) == sorted(own)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_metrics_that_are_named_exist(page: Any) -> None:
    named = re.findall(r"\bmediaserver_[a-z_]+\b", page.read_text("utf-8"))
    assert set(named) <= exposed_metrics()


# What operators ask


def curl_lines(page: Any) -> Iterator[tuple[list[str], Any]]:
    """Return the command lines of curl on a page, each with the JSON that follows it, or None."""
    pattern = r"^((?:    [^\n]+\n)+)(?:\n```json\n(.*?)^```)?"
    for block, answer in re.findall(pattern, page.read_text("utf-8"), re.M | re.S):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if line.startswith("    curl "):
                yield shlex.split(line)[1:], json.loads(answer) if answer else None


def alike(shown: Any, answered: Any) -> bool:
    """Tell whether an answer has the form of the one that is shown: texts are equal."""
    if isinstance(shown, dict):
        return list(shown) == list(answered) and all(
            name in ("started_at", "worker") or alike(shown[name], answered[name]) for name in shown
        )
    if isinstance(shown, list):
        return len(shown) == len(answered) and all(map(alike, shown, answered))
    if isinstance(shown, str):
        return re.sub(r"\d", "0", shown) == re.sub(r"\d", "0", answered)
    return type(shown) is type(answered)


def test_operators_are_answered_as_the_page_says() -> None:
    page = ROOT / "docs/operating.md"
    lines = list(curl_lines(page))
    assert len(lines) > 8
    sockets, urls = [line[0][1] for line in lines], [line[0][-1] for line in lines]
    assert set(sockets) == {"/run/mediaserver/admin.sock"}
    assert any("/calls" in url for url in urls)
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--unix-socket")
    parser.add_argument("-X", default="GET")
    parser.add_argument("-d")
    parser.add_argument("url")

    class Greeting(Handler):
        async def on_say(self, text: str) -> None:
            await asyncio.Event().wait()

    Greeting.__qualname__ = "Greeting"

    async def ask() -> None:
        clock = asyncio.get_running_loop().time
        runtime = Runtime(Settings(), Routes(Route(Greeting)), clock=clock)
        await runtime.startup()
        shown = lines[1][1]["calls"][0]
        live = Live(runtime, shown["call_id"], shown["stream_id"])
        await asyncio.sleep(0.1)
        async with client_of(OwnCalls(runtime, FakeControl())) as client:
            for words, answer in lines:
                await live.stream.play(bytes(4160))
                given = parser.parse_args(words)
                response = await client.request(given.X, given.url, content=given.d)
                assert response.is_success is (answer is None or "error" not in answer), words
                assert answer is None or alike(answer, response.json()), (words, response.text)
        live.call.lost("")
        await asyncio.sleep(0.1)
        await runtime.shutdown()

    run_virtual(ask())


def test_the_table_of_errors_has_each_status() -> None:
    text = (ROOT / "docs/operating.md").read_text("utf-8")
    listed: dict[str, int] = {}
    for status, outcomes in re.findall(r"^\| (\d{3}) \| (.*?) \|", text, re.M):
        listed |= dict.fromkeys(re.findall(r"`(\w+)`", outcomes), int(status))
    assert listed == {name: status for name, status in OUTCOMES.items() if status >= 400}


def test_the_gate_names_the_programs_that_its_targets_need() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    needed = set(re.findall(r"\$\(call needs,([\w-]+),([\w-]+)\)", makefile))
    # PostgreSQL is known by its own name, and not by that of its program.
    names = {package if program == "initdb" else program for program, package in needed}
    assert {"haproxy", "promtool", "postgresql"} <= names
    header = (ROOT / ".ci/run").read_text("utf-8").partition("\nset ")[0].lower()
    assert {each for each in names if each not in header} == set()


# Deployment files


@pytest.mark.parametrize("name", ["mediaserver.service", "mediaserver@.service"])
def test_the_unit_waits_for_the_last_call(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy" / name)
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/mediaserver")
    parse_command(words)
    assert float(unit["Service"]["TimeoutStopSec"]) > longest_stop(Settings())
    assert unit["Service"]["KillSignal"] == "SIGTERM"


def test_the_template_differs_from_the_unit_by_its_name_alone() -> None:
    unit, template = (
        (ROOT / "deploy" / name).read_text("utf-8").partition("[Unit]")[2].splitlines()
        for name in ("mediaserver.service", "mediaserver@.service")
    )
    serve = "/opt/mediaserver/venv/bin/mediaserver serve"
    assert {line for line in unit if line not in template} == {
        "Description=mediaserver, Plivo audio streams",
        "WorkingDirectory=/opt/mediaserver/handlers",
        '# For admin = "/run/mediaserver/admin.sock".',
        "RuntimeDirectory=mediaserver",
        "StateDirectory=mediaserver",
        "#   sudo mediaserver calls list --records /var/lib/mediaserver/calls.db",
        f"ExecStart={serve} --config /etc/mediaserver/mediaserver.toml",
    }


def test_the_servers_of_the_compose_file_wait_for_the_last_call() -> None:
    document = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
    example = (ROOT / "deploy/compose.env.example").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "deploy/compose.yaml").read_text("utf-8")))
    assert asked == set(re.findall(r"(?m)^(\w+)=", example))
    nodes = [each for name, each in document["services"].items() if name.startswith("node")]
    assert len(nodes) == 2
    for node in nodes:
        given = {
            name.removeprefix(ENV_PREFIX).lower(): value
            for name, value in node["environment"].items()
        }
        configured = Settings(
            **{name: v for name, v in given.items() if "${" not in str(v)},
            secret=SecretStr("sixteen characters"),
        )
        grace = float(node["stop_grace_period"].removesuffix("s"))
        assert grace > configured.drain_delay + longest_stop(configured)
        assert configured.drain_delay > 0
        # Neither is reached from outside of the containers' network.
        assert "ports" not in node
        assert not isinstance(configured.admin_address, tuple)


def test_proxies_pass_every_webhook_and_call_on() -> None:
    """HAProxy's file is looked at below."""
    caddy = (ROOT / "deploy/Caddyfile").read_text("utf-8")
    (paths,) = re.findall(r"@plivo path (.*)", caddy)
    assert set(paths.split()) == {*WEBHOOK_PATHS, Settings().path}
    nginx = (ROOT / "deploy/nginx.conf").read_text("utf-8")
    (names,) = re.findall(r"location ~ \^/\((.*?)\)\$", nginx)
    assert {f"/{name}" for name in names.split("|")} == set(WEBHOOK_PATHS)
    assert f"location = {Settings().path} " in nginx


def longest_stop(configured: Any) -> Any:
    """Return how long a server with these settings may take to stop."""
    closing = configured.grace + CLOSE_TIMEOUT + 1
    return configured.drain_timeout + closing + HTTP_CLOSE_TIMEOUT


def test_the_proxy_passes_the_upgrade_on() -> None:
    text = (ROOT / "deploy/nginx.conf").read_text("utf-8")
    assert text.count("{") == text.count("}")
    for line in (
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Host $host;",
        "proxy_buffering off;",
    ):
        assert line in text


def test_the_balancer_finds_the_process_in_a_token() -> None:
    text = (ROOT / "deploy/haproxy.cfg").read_text("utf-8")
    (index,) = re.findall(r"json_query\('\$\[(\d+)\]'\)", text)
    assert Claims.__struct_fields__[int(index)] == "process"
    assert f"url_param({TOKEN_PARAMETER})" in text
    assert f"url_param({PROCESS_PARAMETER})" in text


def test_the_balancer_passes_every_webhook_and_call_on_and_waits_for_the_last_call() -> None:
    text = (ROOT / "deploy/haproxy.cfg").read_text("utf-8")
    (webhooks,) = re.findall(r"^ *acl webhook path (.*)$", text, re.M)
    assert tuple(webhooks.split()) == WEBHOOK_PATHS
    assert f"acl stream path {Settings().path}\n" in text
    (hours,) = re.findall(r"hard-stop-after (\d+)h", text)
    assert int(hours) * 3600 > (Settings().max_call_seconds or 0)
    commands = re.findall(r"mediaserver (serve .*) …", text)
    assert commands
    for command in commands:
        assert float(parse_command(shlex.split(command)).params["drain_delay"]) > 0


def test_extras_are_installed_from_the_folder_of_the_project() -> None:
    """It is not in a package index, where another project may take its name."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = {
        path: path.read_text("utf-8")
        for folder, kind in (("mediaserver", "*.py"), ("examples", "*.py"), ("docs", "*.md"))
        for path in (ROOT / folder).rglob(kind)
    }
    texts[ROOT / "README.md"] = (ROOT / "README.md").read_text("utf-8")
    named = set[str]()
    for path, text in texts.items():
        assert not re.search(r"[\"']mediaserver\[", text), path
        named |= set(re.findall(r"[\"']\.\[(\w+)\][\"']", text))
    assert (
        {"openai", "sandbox", "records", "redis"} <= named <= set(extras["optional-dependencies"])
    )
