"""What the caller of a call heard, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from audiocodecs import AudioFormat, Samples
from mediaserver.replay.captured_call import CapturedCall, Decision
from mediaserver.sandbox.audio.playback import PlaybackBuffer
from mediaserver.sandbox.wire.ledger import CallLedger
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.session import CarrierSession


@dataclass(frozen=True, slots=True)
class HeardCall:
    """A call as its caller heard it. Times are seconds since the start of the stream.

    Attributes:
        format: the format of the audio.
        seconds: how long the stream lasted.
        stretches: what was heard: the first sample of each unbroken stretch, counted from the
            start of the stream, and ``int16[n]``.
        spells: when the agent was heard to speak: beginnings and ends.
        gaps: breaks within the agent's audio: beginnings and lengths.
        checkpoints: checkpoints that were played: names, and when.
        clears: when audio was taken back, and how many seconds of it.
        decisions: what the server and the handler decided.
        messages: how many messages the server sent.
        errors: what the server sent that a carrier cannot obey, with counts.
        end_reason: why the stream ended.
        cpu: seconds of CPU that the whole call took, with both its sides; None if that is unknown.

    """

    format: AudioFormat
    seconds: float
    stretches: list[tuple[int, Samples]]
    spells: list[tuple[float, float]]
    gaps: list[tuple[float, float]]
    checkpoints: list[tuple[str, float]]
    clears: list[tuple[float, float]]
    decisions: list[Decision]
    messages: int
    errors: dict[str, int] = field(default_factory=dict)
    end_reason: str = ""
    cpu: float | None = None

    @classmethod
    def of(
        cls,
        buffer: PlaybackBuffer,
        ledger: CallLedger,
        *,
        seconds: float,
        decisions: list[Decision],
        end_reason: str,
        cpu: float | None = None,
    ) -> HeardCall:
        """Return what a carrier has played and written down by the end of a call."""
        return cls(
            format=buffer.format,
            seconds=seconds,
            stretches=_until(buffer.heard, round(seconds * buffer.format.rate)),
            spells=[(start, min(end, seconds)) for start, end in buffer.spells if start < seconds],
            gaps=list(buffer.gaps),
            checkpoints=[
                (each.name, each.played) for each in ledger.checkpoints if each.played is not None
            ],
            clears=list(ledger.clears),
            decisions=decisions,
            messages=ledger.messages_received,
            errors=dict(ledger.errors),
            end_reason=end_reason,
            cpu=cpu,
        )

    @property
    def audio(self) -> Samples:
        """Everything that was heard, ``int16[n]``, with silence where there was none."""
        audio = np.zeros(round(self.seconds * self.format.rate), np.int16)
        for start, samples in self.stretches:
            audio[start : start + len(samples)] = samples
        return audio

    @property
    def first_audio(self) -> float | None:
        """When the first audio was heard."""
        return self.stretches[0][0] / self.format.rate if self.stretches else None

    @property
    def heard(self) -> float:
        """Seconds of audio that were heard, silence that was sent as audio included."""
        return sum(len(samples) for _, samples in self.stretches) / self.format.rate


def captured_hearing(call: CapturedCall) -> HeardCall:
    """Return what the caller of a captured call heard.

    The carrier is told again what it was told then, at the same times. How long the network took is
    not in a capture: here it takes no time.
    """
    start = call.start
    buffer = PlaybackBuffer(call.format, origin=call.started)
    ledger = CallLedger()
    session = CarrierSession(
        StreamIdentity(start.call_id, start.stream_id, start.account_id or ""),
        call.format,
        buffer=buffer,
        ledger=ledger,
        bidirectional=True,
    )
    losses = list(call.losses)
    for command in call.commands:
        while losses and losses[0][0] <= command.at:
            session.lose(losses.pop(0)[0])
        session.receive(command.message.decode(errors="replace"), command.at)
    for lost, _ in losses:
        session.lose(lost)
    session.advance(call.ended)
    return HeardCall.of(
        buffer,
        ledger,
        seconds=call.seconds,
        decisions=[
            Decision(each.at - call.started, each.what, each.details) for each in call.decisions
        ],
        end_reason=call.end_reason,
    )


def _until(stretches: list[tuple[int, Samples]], end: int) -> list[tuple[int, Samples]]:
    """Cut what the call ended before."""
    return [(start, samples[: end - start]) for start, samples in stretches if start < end]
