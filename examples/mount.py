"""An agent inside a FastAPI application of your own.

    uvicorn examples.mount:app --port 8000
    mediaserver call ws://127.0.0.1:8000/plivo/stream --audio in.wav --after-greeting --silence 6

The application answers Plivo's webhook itself: `asgi` serves only the WebSocket.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from examples.offline import TownHall
from mediaserver.plivo.xml import Hangup
from mediaserver.plivo.xml import Response as Answer
from mediaserver.plivo.xml import Stream as StreamElement
from mediaserver.server.asgi import asgi


streams = asgi(TownHall)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close live calls at the end: FastAPI does not run the lifespans of mounted applications."""
    yield
    await streams.shutdown()


app = FastAPI(lifespan=lifespan)
app.mount("/plivo", streams)


@app.api_route("/answer", methods=["GET", "POST"])
async def answer(request: Request) -> Response:
    """Tell Plivo to stream the call to this server."""
    scheme = "wss" if request.url.scheme == "https" else "ws"
    stream = StreamElement(
        f"{scheme}://{request.url.netloc}/plivo/stream",
        bidirectional=True,
        keep_call_alive=True,
        content_type="audio/x-mulaw;rate=8000",
    )
    return Response(Answer(stream, Hangup()).to_xml(), media_type="application/xml")
