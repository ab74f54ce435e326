"""The sandbox as a process, and the official Python SDK talking to it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import plivo
import requests
from plivo.exceptions import ResourceNotFoundError
from requests.adapters import HTTPAdapter

from audiocodecs import Wav, decode_wav
from interop.application import Application
from interop.process import Process


AUTH_ID: Final = "MAINTEROPINTEROPINTE"
AUTH_TOKEN: Final = "interop-auth-token"

CALLER: Final = "+14155550100"
CALLED: Final = "+14155550123"
RINGING: Final = "+14155550480"
"""Rings and is never answered."""


class PlivoSandbox(Process):
    """`mediaserver sandbox` with a person on the phone.

    Args:
        application: Gets the callbacks of the calls.
        folder: Its working directory, where it keeps its recordings.
        phone: Who is on the phone, in the form of `--phone`.
        database: SQLite file.
        port: Port; 0 means a free one.

    Attributes:
        sdk: The official SDK's client.

    """

    def __init__(
        self,
        application: Application,
        folder: Path,
        *,
        phone: str | None = None,
        database: Path | None = None,
        port: int = 0,
    ) -> None:
        command = ["mediaserver", "sandbox", "--port", str(port)]
        command += ["--auth-id", AUTH_ID, "--auth-token", AUTH_TOKEN]
        if phone is not None:
            command += ["--phone", phone]
        if database is not None:
            command += ["--database", str(database)]
        super().__init__(*command, ready=r"PLIVO_BASE_URL=(\S+)", folder=folder)
        self.application = application
        self.sdk = plivo_client(self.url)

    def call(self, answer_url: str, *, to: str = CALLED, **more: Any) -> str:
        """Place a call whose end the application learns at `/hangup`; return its CallUUID."""
        response = self.sdk.calls.create(
            CALLER, to, answer_url, hangup_url=f"{self.application.url}/hangup", **more
        )
        return str(response.request_uuid)

    def call_with(self, xml: str, **more: Any) -> str:
        """Place a call that runs `xml`; see `call`."""
        path = f"/answer-{len(self.application.documents)}"
        self.application.documents[path] = f"<Response>{xml}</Response>"
        return self.call(self.application.url + path, **more)

    def answered(self, call: str) -> Any:
        """Wait until a call is answered, and return the SDK's object for it."""

        def live() -> Any:
            try:
                found = self.sdk.live_calls.get(call)
            except ResourceNotFoundError:
                return None
            return found if found.call_status == "in-progress" else None

        return eventually(live, f"call {call} to be answered")

    def ended(self, call: str, seconds: float = 40.0) -> dict[str, Any]:
        """Wait until a call has ended, and return the request to the hangup URL."""
        return self.application.wait_for("/hangup", seconds, CallUUID=call)

    def recorded(self, call: str) -> Wav:
        """Return the finished recording of a call, started by `RECORD`."""
        told = self.application.wait_for("/recorded", CallUUID=call)
        with urlopen(told["RecordUrl"], timeout=10) as response:
            return decode_wav(response.read())

    @property
    def record(self) -> str:
        """XML that records both sides of a call, for `recorded`."""
        return (
            f'<Record recordSession="true" redirect="false" maxLength="120"'
            f' callbackUrl="{self.application.url}/recorded"/>'
        )


def plivo_client(url: str, auth_token: str = AUTH_TOKEN) -> plivo.RestClient:
    """Return the official SDK's client, with another host instead of `https://api.plivo.com`."""
    client = plivo.RestClient(AUTH_ID, auth_token)
    client.session.mount("https://api.plivo.com/", _OtherHost(url))
    return client


class _OtherHost(HTTPAdapter):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        assert request.url is not None
        request.url = re.sub(r"^https://api\.plivo\.com", self._url, request.url)
        return super().send(request, **options)


def eventually(find: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Call `ask` until it returns an answer, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
    return found
