"""The server that many write today: FastAPI for webhooks and stream, Plivo's SDK for the rest.

`/answer` checks the request's signature and replies with XML, both with the package plivo. The
stream is checked in the same way, and echoed message by message. `benchmarks.setups` compares the
beginning of a call with it. It prepares no call, counts none, and has no limits.
"""

import argparse
import json
from typing import Any

import plivo
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from plivo import plivoxml

from benchmarks.setup_load import PUBLIC_URL, TOKEN


app = FastAPI()
STREAM_URL = f"ws://{PUBLIC_URL.partition('://')[2]}/stream"


def is_signed(method: str, url: str, headers: Any, form: dict[str, Any] | None = None) -> bool:
    """Tell whether Plivo has signed a request."""
    signature = headers.get("X-Plivo-Signature-V3", "")
    nonce = headers.get("X-Plivo-Signature-V3-Nonce", "")
    return bool(plivo.utils.validate_v3_signature(method, url, nonce, TOKEN, signature, form))


@app.get("/healthz")
async def health() -> str:
    return "ok"


@app.post("/answer")
async def answer(request: Request) -> Response:
    """Reply with XML that streams the call to `/stream`."""
    form = dict(await request.form())
    if not is_signed("POST", f"{PUBLIC_URL}/answer", request.headers, form):
        raise HTTPException(403)
    document = plivoxml.ResponseElement()
    document.add(
        plivoxml.StreamElement(
            STREAM_URL,
            bidirectional=True,
            keepCallAlive=True,
            contentType="audio/x-mulaw;rate=8000",
        )
    )
    return Response(document.to_string(False), media_type="application/xml")


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Send every frame back."""
    if not is_signed("GET", f"{PUBLIC_URL}/stream", websocket.headers):
        await websocket.close(1008)
        return
    await websocket.accept()
    while True:
        message = json.loads(await websocket.receive_text())
        if message["event"] == "media":
            media = {
                "contentType": "audio/x-mulaw",
                "sampleRate": 8000,
                "payload": message["media"]["payload"],
            }
            await websocket.send_text(json.dumps({"event": "playAudio", "media": media}))
        elif message["event"] == "stop":
            await websocket.close()
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
