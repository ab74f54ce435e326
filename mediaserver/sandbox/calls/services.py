"""What the parts of every call use: records, webhooks, speech, rates, options and a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from audiocodecs import Wav
from mediaserver.plivo.callbacks import Scheme
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.hangup import Hangup
from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.book import RecordBook
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.webhooks import WebhookClient
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.media_stream import Connect
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


SpeakText: TypeAlias = Callable[[str, str], Awaitable[Wav]]
"""Synthesises a text in a language such as `en-US`."""

RoundedBillDuration: TypeAlias = Literal["number", "text"]
Transfers: TypeAlias = Literal["wait", "at-once"]
ExtraHeadersStyle: TypeAlias = Literal["live", "documented", "json"]


@dataclass(frozen=True, slots=True)
class ExchangeOptions:
    """How the exchange behaves where Plivo's pages leave a choice, or accounts differ.

    Attributes:
        callback_scheme: Form of status callbacks: "A" as observed live, "B" as in the
            guide.
        extra_headers_style: How `extra_headers` arrive on the socket: "live", "documented" or
            "json".
        rounded_bill_duration: Type of this field of streams: "number" as on Plivo's page, or
            "text", as its Go SDK reads it.
        transfers: When the document of a transfer runs on a call that a stream holds: "wait" until
            the stream ends, as was met on the real platform, or "at-once", which ends the stream.
        calls_per_second: Outbound calls that begin in a second; more wait in the queue.
        concurrency: Calls that the account may have at once; no limit if None.
        recordings: Directory of recordings.
        files: Directory whose files a request may name for a person to play or to follow; None
            if requests may name no files.
        misbehaviour: What streams do wrong, unless the person on the phone has a misbehaviour.

    """

    callback_scheme: Scheme = "A"
    extra_headers_style: ExtraHeadersStyle = "live"
    rounded_bill_duration: RoundedBillDuration = "number"
    transfers: Transfers = "wait"
    calls_per_second: float = 2.0
    concurrency: int | None = None
    recordings: Path = Path("recordings")
    files: Path | None = None
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)

    def __post_init__(self) -> None:
        if not self.calls_per_second > 0:
            raise ValueError(f"calls per second must be more than 0, not {self.calls_per_second:g}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more, not {self.concurrency}")


def loop_clock() -> Callable[[], float]:
    """Return a clock of Unix time that follows the event loop's from now on.

    It never goes back, and runs in virtual time too.
    """
    loop = asyncio.get_running_loop()
    epoch = time.time() - loop.time()
    return lambda: epoch + loop.time()


@dataclass(slots=True, kw_only=True)
class Services:
    """What the calls of one account share.

    Attributes:
        account: The account, whose tokens sign callbacks and streams.
        records: The records of calls and streams.
        webhooks: Fetches documents and files, and sends callbacks; the caller closes it.
        speak: Synthesises the text of `<Speak>`.
        rates: What everything costs.
        options: How the exchange behaves.
        now: Returns Unix time.
        connect: Opens the WebSockets of streams.
        public_url: URL of the sandbox itself, which serves the recordings.
        tasks: Tasks that outlast a call; `aclose` cancels them.

    """

    account: Account
    records: RecordBook
    webhooks: WebhookClient
    speak: SpeakText
    rates: Rates = field(default_factory=Rates)
    options: ExchangeOptions = field(default_factory=ExchangeOptions)
    now: Callable[[], float] = field(default_factory=loop_clock)
    connect: Connect = open_websocket
    public_url: str = "http://127.0.0.1"
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine in a task that may outlast the call."""
        task = asyncio.create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def aclose(self) -> None:
        """Cancel the tasks."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def close(self, record: CallRecord, hangup: Hangup, *, at: float | None = None) -> None:
        """Note how a call ended, when (`at`, or now), and what it costs."""
        record.ended = self.now() if at is None else at
        hangup.note(record)
        self.rates.bill_call(record)

    def recording_path(self, recording_id: str) -> Path:
        """Return the path of a recording's file."""
        return self.options.recordings / f"{recording_id}.wav"

    def recording_url(self, recording_id: str) -> str:
        """Return the URL of a recording's file."""
        return f"{self.public_url}/recordings/{recording_id}.wav"
