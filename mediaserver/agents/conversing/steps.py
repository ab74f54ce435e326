"""What is done for a turn, while it is done: requests to services, and tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mediaserver.agents.services import ServiceError, Tokens
from mediaserver.call import TurnStep, Usage
from mediaserver.call.turn import StepKind


class RunningStep:
    """One step of a turn. Times are on the call's clock.

    Args:
        kind: what is done.
        name: the tool's name; or the service, which may have the attributes ``model`` and
            ``provider``.
        began_at: when it began.

    """

    __slots__ = (
        "_model",
        "_name",
        "_provider",
        "_tokens",
        "arguments",
        "began_at",
        "characters",
        "ended_at",
        "error",
        "failure",
        "first_at",
        "kind",
        "result",
        "speech_seconds",
    )

    def __init__(self, kind: StepKind, name: object, began_at: float) -> None:
        self.kind = kind
        self._name = name if isinstance(name, str) else type(name).__name__
        self._model = _text(name, "model")
        self._provider = _text(name, "provider")
        self.began_at = began_at
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self._tokens = Tokens(0, 0)
        self.characters = 0
        self.speech_seconds = 0.0
        self.error: str | None = None
        self.failure = ""
        self.arguments = ""
        self.result = ""

    @contextmanager
    def running(self, clock: Callable[[], float]) -> Iterator[RunningStep]:
        """End the step with the block, and note how it failed."""
        try:
            yield self
        except ServiceError as error:
            self.fail(error)
            raise
        finally:
            self.end(clock())

    def fail(self, error: ServiceError) -> None:
        """Note how the service failed."""
        self.error, self.failure = error.reason, error.failure

    def end(self, at: float) -> None:
        """End the step, if it has not ended."""
        if self.ended_at is None:
            self.ended_at = at

    def answered(self, at: float) -> None:
        """Note that something came, if it is the first."""
        if self.first_at is None:
            self.first_at = at

    def spend(self, tokens: Tokens) -> None:
        """Add the cost of a response."""
        self._tokens = self._tokens + tokens

    def report(self, since: float) -> TurnStep:
        """Return the report of the step.

        Args:
            since: the time from which its times count.

        """
        return TurnStep(
            kind=self.kind,
            name=self._name,
            model=self._model,
            provider=self._provider,
            began=self.began_at - since,
            first=None if self.first_at is None else self.first_at - since,
            ended=None if self.ended_at is None else self.ended_at - since,
            usage=Usage(
                tokens_in=self._tokens.tokens_in,
                tokens_out=self._tokens.tokens_out,
                tokens_cached=self._tokens.tokens_cached,
                characters=self.characters,
                speech_seconds=self.speech_seconds,
            ),
            error=self.error,
            failure=self.failure,
            arguments=self.arguments,
            result=self.result,
        )


def _text(service: object, name: str) -> str:
    value = getattr(service, name, "")
    return value if isinstance(value, str) and not isinstance(service, str) else ""
