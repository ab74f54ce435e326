"""The agents in examples/services, each called as it is written, beside local servers.

Every agent greets, answers twice, the second time with a tool, is interrupted, and goes on.
"""

import asyncio
import json
import math
import re
import tomllib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from audiocodecs import Samples, resample
from mediaserver import Turn
from mediaserver.agents.services import event_client
from mediaserver.agents.services.openai import client as openai_client
from mediaserver.espeak import speak
from mediaserver.handler import HandlerError
from mediaserver.routes import Routes, load_name
from mediaserver.testing import joined
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.deepgram import DeepgramServer
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.gemini import GeminiLiveServer, GeminiServer, GeminiToolCall, answers
from mediaserver.testing.openai import ChatToolCall, OpenAIServer, says
from mediaserver.testing.openai.realtime import OpenAIRealtimeServer
from mediaserver.testing.openai.speech import hums
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer
from mediaserver.testing.replies import HttpReply, Received
from mediaserver.testing.sarvam import SaarasServer
from mediaserver.testing.xai import XAIRealtimeServer, XAIVoiceServer
from tests.agents.provider_network import ProviderNetworkLoop, client_tls


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "services"
NETWORK = ProviderNetworkLoop
LONGEST = 60

HEARD = ["Hello?", "Where is my order?", "And what does it cost?", "No, stop it, please."]
FIRST, SECOND, LAST = "What can I do for you?", "It left yesterday.", "Sorry."
ORDER = CallTool("order_status", {"number": "4711"})
LONG = "It costs nine dollars a month for one person and twenty dollars for each person of a team."


@dataclass(frozen=True)
class Provider:
    """A provider's own host, the variable with its key, and its local server."""

    host: str
    variable: str
    serve: Callable[[Sequence[str | CallTool]], Any]


@dataclass(frozen=True)
class Example:
    """An agent, whose servers it needs, and what its model does in the second turn.

    Of one with several models, it also says which of them is asked.
    """

    providers: Sequence[str]
    name: str = "Support"
    second: Sequence[str | CallTool] = (ORDER, SECOND)
    tools: Sequence[tuple[str, str]] = (("order_status", SECOND),)
    models: Sequence[str] = ()


def hums_long(request: Received) -> HttpReply:
    """Speak at about the rate of a person."""
    hum = hums(request)
    (audio,) = hum.body
    assert isinstance(audio, bytes)
    words = len(request.params["input"].split())
    return replace(hum, body=[audio * math.ceil(words * 0.6)])


def scripted_openai(script: Sequence[str | CallTool]) -> OpenAIServer:
    server = OpenAIServer(api_key="a test key")
    server.speech.answer = hums_long
    for each in script[1:]:  # the greeting is the agent's own
        if isinstance(each, str):
            server.chat.will(says(each))
        else:
            call = ChatToolCall(each.name, json.dumps(each.arguments))
            server.chat.will(says(calls=[call]))
    return server


def scripted_gemini(script: Sequence[str | CallTool]) -> GeminiServer:
    server = GeminiServer(signed=True)
    for each in script[1:]:
        if isinstance(each, str):
            server.generate.will(answers(each))
        else:
            call = GeminiToolCall(each.name, each.arguments, signature="c2ln")
            server.generate.will(answers(calls=[call]))
    return server


def running(kind: Any) -> Callable[[Sequence[str | CallTool]], Any]:
    def serve(script: Sequence[str | CallTool]) -> Any:
        said = (
            RealtimeAnswer(text=each) if isinstance(each, str) else RealtimeAnswer(calls=[each])
            for each in script
        )
        return kind(*said, transcripts=HEARD).running()

    return serve


GOOGLE = "generativelanguage.googleapis.com"
PROVIDERS = {
    "cartesia": Provider("api.cartesia.ai", "CARTESIA_API_KEY", lambda _: CartesiaServer()),
    "deepgram": Provider(
        "api.deepgram.com", "DEEPGRAM_API_KEY", lambda _: DeepgramServer(*HEARD).running()
    ),
    "elevenlabs": Provider("api.elevenlabs.io", "ELEVENLABS_API_KEY", lambda _: ElevenLabsServer()),
    "gemini": Provider(GOOGLE, "GEMINI_API_KEY", scripted_gemini),
    "gemini live": Provider(GOOGLE, "GEMINI_API_KEY", running(GeminiLiveServer)),
    "openai": Provider("api.openai.com", "OPENAI_API_KEY", scripted_openai),
    "openai realtime": Provider("api.openai.com", "OPENAI_API_KEY", running(OpenAIRealtimeServer)),
    "sarvam": Provider("api.sarvam.ai", "SARVAM_API_KEY", lambda _: SaarasServer(*HEARD).running()),
    "xai": Provider("api.x.ai", "XAI_API_KEY", lambda _: XAIVoiceServer()),
    "xai realtime": Provider("api.x.ai", "XAI_API_KEY", running(XAIRealtimeServer)),
}

LISBON = "It lies on seven hills, and yellow trams climb them."
EXAMPLES = {
    "gemini_deepgram_cartesia": Example(["gemini", "deepgram", "cartesia"]),
    "gemini_deepgram_elevenlabs": Example(["gemini", "deepgram", "elevenlabs"]),
    "gemini_deepgram_xai": Example(
        ["gemini", "deepgram", "xai"],
        "ROUTES",
        (CallTool("look_up", {"subject": "Lisbon"}), SECOND),
        [("look_up", LISBON)],
    ),
    "gemini_live": Example(["gemini live"]),
    "gemini_live_server_turns": Example(["gemini live"]),
    "gemini_live_silero": Example(["gemini live"]),
    "gemini_live_thinking": Example(["gemini live"]),
    "gemini_live_webrtc": Example(["gemini live"]),
    "openai_deepgram": Example(["openai", "deepgram"]),
    "openai_deepgram_elevenlabs": Example(["openai", "deepgram", "elevenlabs"]),
    "openai_deepgram_xai": Example(["openai", "deepgram", "xai"]),
    "openai_realtime": Example(["openai realtime"]),
    "openai_sarvam_elevenlabs": Example(["openai", "sarvam", "elevenlabs"]),
    "openai_two_models": Example(
        ["openai", "deepgram", "elevenlabs"],
        "Sales",
        (
            CallTool("delegate_task", {"task": "Who is ann@example.com?"}),
            CallTool("find_lead", {"email": "ann@example.com"}),
            "She has a bakery.",
            SECOND,
        ),
        [("delegate_task", "She has a bakery."), ("find_lead", "Ann Lee, Mill Lane Bakery")],
        ["gpt-4.1-mini"] * 2 + ["gpt-4.1"] * 2 + ["gpt-4.1-mini"] * 3,
    ),
    "xai_realtime": Example(["xai realtime"]),
}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    for provider in PROVIDERS.values():
        monkeypatch.delenv(provider.variable, raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(event_client, "_TLS", client_tls())
    monkeypatch.setattr(openai_client, "_TLS", client_tls())


def agent(name: str) -> Any:
    """Return the class of an agent; of several that routes have, the first."""
    found = load_name(f"examples.services.{name}:{EXAMPLES[name].name}")
    return found.routes[0].handler if isinstance(found, Routes) else found


@asynccontextmanager
async def providers(
    example: Example, greeting: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Any]]:
    """Run the local servers of providers, at the providers' addresses."""
    loop: Any = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        servers = []
        script = [greeting, FIRST, *example.second, LONG, LAST]
        for provider in map(PROVIDERS.__getitem__, example.providers):
            server = await stack.enter_async_context(provider.serve(script))
            servers.append(server)
            port = urlsplit(server.base_url).port
            assert port is not None
            await loop.stand_in(provider.host, port)
            monkeypatch.setenv(provider.variable, getattr(server, "api_key", "a test key"))
        yield servers


@asynccontextmanager
async def calling(kind: Any) -> AsyncIterator[tuple[Any, asyncio.Queue[Turn]]]:
    """Call an agent: the phone, and the turns."""
    turns: asyncio.Queue[Turn] = asyncio.Queue()

    class Watched(kind):  # type: ignore[misc]
        async def on_turn(self, turn: Turn) -> None:
            await super().on_turn(turn)
            turns.put_nowait(turn)

    async with asyncio.timeout(300), joined(Watched, caller="+14155550111") as line:
        yield line.phone, turns


def spoken(text: str) -> Samples:
    clip = speak(text, "en-us+f2")
    return resample(clip.mono(), clip.rate, 8000)


def refusals(server: Any) -> list[Any]:
    found: list[Any] = server.refusals if hasattr(server, "refusals") else server.refused
    return found


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_greets_answers_uses_a_tool_and_is_interrupted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, example = agent(name), EXAMPLES[name]
    async with providers(example, kind.greeting, monkeypatch) as servers:
        async with calling(kind) as (phone, come):
            turns = [await come.get()]
            for text in HEARD[:2]:
                phone.say(spoken(text))
                turns.append(await come.get())
            phone.say(spoken(HEARD[2]))
            begun = await phone.wait_for_audio(after=phone.time + 1.5)
            await phone.wait_until(begun + 1.0)
            phone.say(spoken(HEARD[3]))
            turns.extend([await come.get(), await come.get()])
            report = phone.report()
        assert [refusal for server in servers for refusal in refusals(server)] == []
        if example.models:
            asked = [request.params["model"] for request in servers[0].chat.received]
            assert asked == list(example.models)
    greeting, first, second, cut, last = turns
    assert (greeting.number, greeting.agent) == (0, kind.greeting)
    assert (first.caller, first.agent) == (HEARD[0], FIRST)
    assert (second.caller, second.agent) == (HEARD[1], SECOND)
    tools = [(step.name, step.result) for step in second.steps if step.kind == "tool"]
    assert tools == list(example.tools)
    assert cut.interrupted
    assert 0 < len(cut.agent) < len(LONG)
    assert LONG.startswith(cut.agent)
    assert (last.caller, last.agent) == (HEARD[3], LAST)
    assert [turn.error for turn in turns] == [None] * 5
    assert not report.errors


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_without_keys_says_at_start_which_variables_to_set(name: str) -> None:
    with pytest.raises(HandlerError) as caught:
        async with agent(name).serving({}):
            pass
    named = set(re.findall(r"set (\w+)", str(caught.value)))
    assert named == {PROVIDERS[provider].variable for provider in EXAMPLES[name].providers}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_docstring_of_an_example_says_how_to_start_it(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    (extras,) = re.findall(r'pip install "\.\[(.+)\]"', text)
    (keys,) = re.findall(r"^    export (.+)", text, re.M)
    (command,) = re.findall(r"^    mediaserver serve (\S+)", text, re.M)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {provider.partition(" ")[0] for provider in EXAMPLES[name].providers}
    assert set(extras.split(",")) == wanted
    assert wanted <= known.keys()
    variables = {PROVIDERS[provider].variable for provider in EXAMPLES[name].providers}
    assert {key.removesuffix("=…") for key in keys.split()} == variables
    assert command == f"examples.services.{name}:{EXAMPLES[name].name}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_with_all_that_it_imports_from_the_examples_fits_on_a_screen(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    shared = re.findall(r"^from examples\.services\.(\w+) import", text, re.M)
    files = [text, *((FOLDER / f"{module}.py").read_text() for module in shared)]
    assert sum(len(each.splitlines()) for each in files) <= LONGEST


def test_every_example_is_called_here_and_is_on_the_page_beside_plivos() -> None:
    files = {path.stem for path in FOLDER.glob("[!_]*.py")} - {"own_voice", "support_desk"}
    assert files == EXAMPLES.keys()
    page = (ROOT / "docs" / "services.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| \[`(\w+)\.py`\]", page, re.M))
    assert sorted(rows.values()) == sorted(files)
    assert len(rows) == 15
    for theirs, ours in rows.items():
        assert (
            f" is {theirs}: docs/services.md says what differs."
            in (FOLDER / f"{ours}.py").read_text()
        )
