"""What a call is to do: the plan it was placed with, and the documents it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mediaserver.sandbox.webhooks import Target


Stage: TypeAlias = Literal["answer", "action", "transfer", "redirect"]


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What a request for a call, or the application of the dialled number, asks for.

    Attributes:
        answer: Where the first document is; None for a leg of `<Dial>`, which has none.
        fallback: Document to use if the first cannot be fetched.
        ring: URL that is notified when the call rings.
        hangup: URL that is notified when the call has ended; the answer URL if left out.
        ring_timeout: Seconds the call may ring.
        time_limit: Seconds the call may last once it is answered.
        hangup_on_ring: Seconds from the first ring to the end of the call.
        send_digits: Keys pressed toward the person once the call is answered.
        machine_detection: Whether an answering machine is looked for, and whether the call ends
            when one answers.
        machine_detection_time: Seconds that the detection may take.
        machine_detection_callback: URL that is notified of what was detected. Without one the
            call waits for the detection, and the answer URL gets its result.
        headers: `X-PH-…` parameters of every callback.

    """

    answer: Target | None
    fallback: Target | None = None
    ring: Target | None = None
    hangup: Target | None = None
    ring_timeout: float = 120.0
    time_limit: float = 14_400.0
    hangup_on_ring: float | None = None
    send_digits: str = ""
    machine_detection: Literal["true", "hangup"] | None = None
    machine_detection_time: float = 5.0
    machine_detection_callback: Target | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A document to run: where it is, and why it is requested.

    Attributes:
        url: Its URL.
        method: GET or POST.
        stage: Why it is requested; decides the hangup cause if it cannot be fetched.
        fallback: Document to use in that case.
        event: `Event` of the request.
        params: Parameters of the request beyond those of every callback.

    """

    url: str
    method: str
    stage: Stage
    fallback: Target | None = None
    event: str = "StartApp"
    params: Mapping[str, str] = field(default_factory=dict)
