"""A handler inside an application of your own: Starlette here, FastAPI mounts it the same way.

    uvicorn examples.mount:app --port 8000
    mediaserver call ws://127.0.0.1:8000/plivo/stream --audio in.wav --record out.wav

The application answers Plivo's webhook itself: `asgi` serves the WebSocket and nothing else.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from mediaserver.agents import Echo
from mediaserver.server.asgi import asgi


streams = asgi(Echo)

XML = """\
<Response>
  <Stream bidirectional="true" keepCallAlive="true"
          contentType="audio/x-mulaw;rate=8000">{}</Stream>
  <Hangup/>
</Response>
"""


async def answer(request: Request) -> Response:
    """Have Plivo stream the call here. Plivo wants wss:// and an & written as &amp;."""
    scheme = "wss" if request.url.scheme == "https" else "ws"
    url = f"{scheme}://{request.url.netloc}/plivo/stream"
    return Response(XML.format(escape(url)), media_type="application/xml")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Close live calls at the end: Starlette passes no lifespan on to what is mounted."""
    yield
    await streams.shutdown()


app = Starlette(
    routes=[Route("/answer", answer, methods=["GET", "POST"]), Mount("/plivo", streams)],
    lifespan=lifespan,
)
