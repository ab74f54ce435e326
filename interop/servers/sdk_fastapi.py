"""A voice agent of plivo-stream-sdk's FastAPI variant, with its answer URL."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response, WebSocket
from plivo import plivoxml
from plivo_stream.fastapi import PlivoFastAPIStreamingHandler

from interop.servers.asgi import serve
from interop.servers.report import report
from interop.servers.sdk_call import SdkCall


app = FastAPI()


@app.post("/answer")
async def answer(request: Request) -> Response:
    """Return XML that the official SDK wrote."""
    form = dict(await request.form())
    await report("answer", call=form["CallUUID"], called=form["To"])
    xml = plivoxml.ResponseElement()
    xml.add(
        plivoxml.StreamElement(
            f"ws://{request.url.netloc}/stream",
            bidirectional=True,
            keepCallAlive=True,
            contentType="audio/x-mulaw;rate=8000",
            extraHeaders="agent=sdk",
        )
    )
    return Response(xml.to_string(), media_type="application/xml")


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Take a call."""
    handler = PlivoFastAPIStreamingHandler(websocket)
    SdkCall(handler)
    await handler.start()


if __name__ == "__main__":
    serve(app)
