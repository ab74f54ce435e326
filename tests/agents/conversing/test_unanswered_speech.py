import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.unanswered_speech import UnansweredSpeech
from mediaserver.call import Frame


class Session:
    """Keeps what it hears."""

    takes_turns = False

    def __init__(self) -> None:
        self.heard: list[Frame] = []

    async def hear(self, frame: Frame) -> None:
        self.heard.append(frame)

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} is not asked for")


def frames(count: int, seconds: float = 1.0) -> list[Frame]:
    return [Frame(bytes([number]) * round(seconds * 8000), MULAW_8K) for number in range(count)]


async def test_a_session_hears_each_frame_once() -> None:
    speech, session = UnansweredSpeech(), Session()
    said = frames(3)
    speech.add(said[:2])
    await speech.tell(session)  # type: ignore[arg-type]
    speech.add(said[2:])
    await speech.tell(session)  # type: ignore[arg-type]
    await speech.tell(session)  # type: ignore[arg-type]
    assert session.heard == said


async def test_a_session_that_replaces_another_hears_all_of_it() -> None:
    speech, lost, next_session = UnansweredSpeech(), Session(), Session()
    speech.add(said := frames(3))
    await speech.tell(lost)  # type: ignore[arg-type]
    await speech.tell(next_session)  # type: ignore[arg-type]
    assert next_session.heard == said


@pytest.mark.parametrize("told", [0, 50, 90])
async def test_only_the_last_minute_is_kept_and_a_session_misses_no_more_than_that(
    told: int,
) -> None:
    speech, session = UnansweredSpeech(), Session()
    said = frames(100)
    speech.add(said[:told])
    await speech.tell(session)  # type: ignore[arg-type]
    speech.add(said[told:])
    await speech.tell(session)  # type: ignore[arg-type]
    assert list(speech.frames) == said[40:]
    assert session.heard == said[max(told - 60, 0) : told] + said[max(told, 40) :]
