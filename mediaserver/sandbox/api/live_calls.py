"""What can be done to a call that has been answered: speech, audio, keys and recordings."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mediaserver.plivo import models
from mediaserver.plivo.parameter_kinds import FlagKind, WholeKind
from mediaserver.sandbox.api.body import Lenient
from mediaserver.sandbox.api.description import errors
from mediaserver.sandbox.api.routing import ACCOUNT, Ex, PlivoRouter, answered_call
from mediaserver.sandbox.webhooks import Target


live_call_routes = PlivoRouter(ACCOUNT + "/Call/{call_uuid}", "Live call")
recording_routes = APIRouter(tags=["Recording"])


class SpeakRequest(BaseModel):
    """Something to say to a live call."""

    text: Annotated[str, Field(min_length=1)]
    language: str = "en-US"


class PlayRequest(BaseModel):
    """Files to play to a live call: URLs of WAV files, separated by commas."""

    urls: Annotated[str, Field(min_length=1)]
    loop: Annotated[bool, FlagKind()] = False


class RecordRequest(BaseModel):
    """A recording of a live call; `time_limit` is in seconds."""

    time_limit: Annotated[int, WholeKind(1)] = 60
    callback_url: models.WebUrl | None = None
    callback_method: models.HttpMethod | None = None


class RecordingStarted(models.Accepted):
    """Response to a recording's start; the file is at `url` when the recording has ended."""

    recording_id: str
    url: str


@live_call_routes.post("/Speak/", name="speak", status_code=202, responses=errors(400, 404))
async def speak_to_a_call(
    exchange: Ex, call_uuid: str, asked: Lenient[SpeakRequest]
) -> models.Accepted:
    """Say a text to the person on the phone."""
    call = answered_call(exchange, call_uuid)
    wav = await exchange.services.speak(asked.text, asked.language)
    if call.line is not None:
        call.line.play(wav.mono(), wav.rate)
    return models.Accepted(message="speech started")


@live_call_routes.post("/Play/", status_code=202, responses=errors(400, 404))
async def play(exchange: Ex, call_uuid: str, asked: Lenient[PlayRequest]) -> models.Accepted:
    """Play audio files to the person on the phone."""
    call = answered_call(exchange, call_uuid)
    call.play_urls([each.strip() for each in asked.urls.split(",")], loop=asked.loop)
    return models.Accepted(message="play started")


@live_call_routes.delete("/Speak/", name="stop_speak", status_code=204, responses=errors(404))
@live_call_routes.delete("/Play/", name="stop_play", status_code=204, responses=errors(404))
async def stop_playing(exchange: Ex, call_uuid: str) -> None:
    """Stop what is played or said."""
    answered_call(exchange, call_uuid).stop_playing()


@live_call_routes.post("/DTMF/", status_code=202, responses=errors(400, 404))
async def send_digits(
    exchange: Ex, call_uuid: str, asked: Lenient[models.DigitsRequest]
) -> models.Accepted:
    """Press keys."""
    call = answered_call(exchange, call_uuid)
    leg = call.b_leg if asked.leg == "bleg" else call
    if leg is None:
        raise HTTPException(404, f"call {call_uuid} has no b leg")
    leg.press(asked.digits)
    return models.Accepted(message="digits sent")


@live_call_routes.post("/Record/", status_code=202, responses=errors(400, 404))
async def record(exchange: Ex, call_uuid: str, asked: Lenient[RecordRequest]) -> RecordingStarted:
    """Start a recording."""
    call = answered_call(exchange, call_uuid)
    callback = Target.optional(asked.callback_url, asked.callback_method)
    recording = call.start_recording(asked.time_limit, callback)
    return RecordingStarted(
        message="call recording started", recording_id=recording.id, url=recording.url
    )


@live_call_routes.delete("/Record/", status_code=204, responses=errors(404))
async def stop_recording(exchange: Ex, call_uuid: str) -> None:
    """Stop all recordings of the call."""
    for recording in answered_call(exchange, call_uuid).recordings:
        await recording.stop()


@recording_routes.get(
    "/recordings/{recording_id}.wav",
    response_class=FileResponse,
    responses={200: {"content": {"audio/wav": {}}, "description": "A WAV file"}, **errors(404)},
)
async def get_a_recording(exchange: Ex, recording_id: str) -> FileResponse:
    """Fetch the file of a recording that has ended."""
    path = exchange.services.recording_path(recording_id)
    # Recordings are named by UUIDs; nothing else may become a path.
    if not _is_uuid(recording_id) or not path.exists():
        raise HTTPException(404, f"recording not found: {recording_id:.60}")
    return FileResponse(path, media_type="audio/wav")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
