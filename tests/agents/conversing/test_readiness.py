"""What a worker does for its agents before the first call, and after the last."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import structlog

from mediaserver.agents import RealtimeAgent, VoiceAgent, recorded
from mediaserver.agents.conversing import readiness as readiness_module
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.turns import DetectorUnavailableError, LevelDetector
from mediaserver.handler import HandlerError
from mediaserver.routes import Route, Routes
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.realtime import ScriptedRealtime
from mediaserver.testing.services import TimedModel, TimedSpeech, TimedTranscription


class Kept:
    """A service that notes what is done to it."""

    def __init__(
        self,
        *,
        prewarm: ImportError | OSError | ServiceError | None = None,
        close: OSError | None = None,
    ) -> None:
        self.notes: list[Any] = []
        self.fails: dict[str, Exception | None] = {"prewarm": prewarm, "close": close}

    async def prewarm(self) -> None:
        self._note("prewarm")

    async def close(self) -> None:
        self._note("close")

    async def respond(self, conversation: Any, tools: Any) -> AsyncIterator[str]:
        yield ""

    def _note(self, what: str) -> None:
        self.notes.append(what)
        if error := self.fails[what]:
            raise error


def agent_of(service: Kept | TimedModel, **attributes: Any) -> type[Any]:
    services = {
        "speech_to_text": TimedTranscription(),
        "language_model": service,
        "text_to_speech": TimedSpeech(),
        "voice_detector": LevelDetector,
    }
    return type("Ann", (VoiceAgent,), {**services, **attributes})


def serve(*routes: Any) -> Any:
    """Run a worker without calls; return what it logged."""

    async def main() -> None:
        async with Routes(*routes).lifespan():
            pass

    with structlog.testing.capture_logs() as logs:
        run_virtual(main())
    return logs


def test_a_service_of_the_class_is_prewarmed_and_closed() -> None:
    service = Kept()
    serve(Route(agent_of(service)))
    assert service.notes == ["prewarm", "close"]


def test_a_service_of_the_routes_settings_takes_its_place() -> None:
    ours, theirs = Kept(), Kept()
    serve(Route(agent_of(theirs), settings={"language_model": ours}))
    assert ours.notes == ["prewarm", "close"]
    assert theirs.notes == []


def test_a_service_of_several_agents_is_closed_once() -> None:
    service = Kept()
    serve(
        Route(agent_of(service)),
        Route(agent_of(service), "/b"),
        Route(recorded(agent_of(service)), "/c"),
    )
    assert service.notes == ["prewarm", "close"]


def test_a_service_is_closed_by_the_last_worker_of_a_process_that_uses_it() -> None:
    service = Kept()
    routes = Routes(Route(agent_of(service)))

    async def main() -> None:
        async with routes.lifespan():
            async with routes.lifespan():
                pass
            assert service.notes == ["prewarm"]
        assert service.notes == ["prewarm", "close"]

    asyncio.run(main())


def test_the_model_of_a_realtime_agent_is_a_service() -> None:
    class Model(ScriptedRealtime):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    class Ann(RealtimeAgent):
        model = Model()
        voice_detector = LevelDetector

    serve(Route(Ann))
    assert Ann.model.closed == 1


def test_a_service_that_cannot_be_closed_is_left_alone() -> None:
    class Plain(TimedModel):
        def close(self) -> None:
            raise AssertionError("it is not asynchronous")

    assert serve(Route(agent_of(Plain()))) == []


@pytest.mark.parametrize("error", [ServiceError("model", "no key"), OSError("away")])
def test_a_service_that_is_away_is_logged_and_the_worker_starts(
    error: Any,
) -> None:
    service = Kept(prewarm=error)
    (line,) = serve(Route(agent_of(service)))
    assert line["event"] == "not prewarmed"
    assert str(error) in line["error"]
    assert service.notes == ["prewarm", "close"]


def test_a_service_that_never_gets_ready_is_not_waited_for() -> None:
    class Slow(Kept):
        async def prewarm(self) -> None:
            await asyncio.Event().wait()

    (line,) = serve(Route(agent_of(Slow())))
    assert line["event"] == "not prewarmed"


class Asked(Kept):
    """A service that is checked, and answers by a list, the last of it again and again."""

    def __init__(self, *answers: Exception | None) -> None:
        super().__init__()
        self.answers = list(answers)

    async def check(self) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


def test_services_that_are_set_up_wrongly_keep_the_worker_from_starting() -> None:
    reason = "no key: set OPENAI_API_KEY"
    model = Asked(MisconfiguredServiceError("chat", reason, status=401))
    agent = agent_of(
        cast(Any, model),
        speech_to_text=Hearing(MisconfiguredServiceError("hearing", "no such model", status=404)),
        text_to_speech=Speaking(MisconfiguredServiceError("speech", reason)),
    )
    with pytest.raises(HandlerError) as refused:
        serve(Route(agent))
    assert sorted(str(refused.value).splitlines()) == [
        "chat, speech: no key: set OPENAI_API_KEY",
        "hearing: no such model",
    ]
    assert model.notes == ["close"]


class Hearing(Asked):
    async def transcribe(self, utterance: Any) -> AsyncIterator[Any]:
        yield ""


class Speaking(Asked):
    async def speak(self, text: str, format: Any) -> AsyncIterator[Any]:
        yield b""


def test_a_test_needs_no_key() -> None:
    agent = agent_of(cast(Any, Asked(MisconfiguredServiceError("chat", "no key"))))

    async def main() -> None:
        async with joined(agent):
            pass

    run_virtual(main())


def test_a_service_that_is_away_keeps_the_worker_from_being_ready_until_it_is_back() -> None:
    away = ServiceError("chat", "cannot reach it")
    service = Asked(away, away, None)
    routes = Routes(Route(agent_of(cast(Any, service))))

    async def main() -> list[dict[str, str]]:
        seen = []
        async with routes.lifespan():
            for _ in range(4):
                seen.append(routes.unready)
                await asyncio.sleep(readiness_module.CHECK_EVERY)
        return [*seen, routes.unready]

    with structlog.testing.capture_logs() as logs:
        reason = {"chat": "cannot reach it"}
        seen = run_virtual(main())
    assert seen[0] == seen[1] == reason
    assert seen[3] == seen[4] == {}
    assert [log["event"] for log in logs] == ["service is not ready", "service is ready"]


def test_a_service_that_fails_to_close_leaves_the_others_closed() -> None:
    failing, other = Kept(close=OSError("lost")), Kept()
    (line,) = serve(Route(agent_of(failing)), Route(agent_of(other), "/b"))
    assert line["event"] == "not closed"
    assert other.notes == ["prewarm", "close"]


def test_a_service_whose_package_is_missing_keeps_the_worker_from_starting() -> None:
    with pytest.raises(ImportError, match="pip install"):
        serve(Route(agent_of(Kept(prewarm=ImportError("pip install them")))))


def unavailable() -> None:
    raise DetectorUnavailableError("The detector", "onnxruntime")


@pytest.mark.parametrize("where", ["class", "route"])
def test_a_detector_whose_package_is_missing_keeps_the_worker_from_starting(where: str) -> None:
    detector = {"voice_detector": unavailable}
    service = Kept()
    if where == "class":
        routes = [Route(agent_of(service, voice_detector=unavailable))]
    else:
        routes = [Route(agent_of(service), settings=detector)]
    with pytest.raises(DetectorUnavailableError, match=r"pip install '\.\[agents\]'"):
        serve(*routes)


def test_what_was_ready_is_closed_where_the_worker_does_not_start() -> None:
    service = Kept()
    with pytest.raises(DetectorUnavailableError):
        serve(Route(agent_of(service)), Route(agent_of(Kept(), voice_detector=unavailable), "/b"))
    assert service.notes == ["prewarm", "close"]


def test_no_service_is_remembered() -> None:
    async def main() -> None:
        async with Routes(Route(agent_of(Kept()))).lifespan():
            pass
        assert readiness_module._users[asyncio.get_running_loop()] == {}

    asyncio.run(main())
