"""The command `faceemo serve`: a page on this machine that judges the camera's picture."""

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import silence_native_log
from faceemo.prediction.model import EmotionModel, engine_note

try:
    import uvicorn
    import websockets  # noqa: F401 - uvicorn answers WebSockets with it

    from faceemo.server.app import create_app
    from faceemo.server.guard import parse_origins
except ModuleNotFoundError as missing:
    if missing.name not in ("fastapi", "fastapi_offline", "uvicorn", "websockets"):
        raise
    raise FaceemoError('serve needs FastAPI: python -m pip install -c constraints.txt -e ".[serve]"') from None

HOST = "127.0.0.1"
MAX_MESSAGE_BYTES = 1 << 20  # of a frame; a JPEG of 640 x 480 has 50 kB
MAX_CONNECTIONS = 256
MAX_WAITING = 32  # connections without a request; beyond that, who waits longest goes first
HEADER_SECONDS = 10.0  # that a connection may take for a request
GOODBYE_SECONDS = 0.5  # that clients get on Ctrl-C


def serve(model_path: Path, port: int, origins: Iterable[str] = (), balanced: bool = False) -> None:
    """Serve the page until Ctrl-C, which raises KeyboardInterrupt. Prints the address.

    port: 0 takes any that is free. origins: of pages from elsewhere that may ask the server too. balanced: see
    EmotionModel.load.
    Raises FaceemoError for a model that cannot be read and a port that cannot be used.
    """
    allowed = parse_origins(origins)
    silence_native_log()
    torch.set_num_threads(1)  # a face is too little to share between threads, and each core has a frame of its own
    model = EmotionModel.load(model_path, balanced)
    if note := engine_note(model):
        print(note, file=sys.stderr, flush=True)
    app = create_app(model, allowed)
    with listen(port) as listener:
        port = listener.getsockname()[1]
        print(f"http://{HOST}:{port}/  (open it in a browser; Ctrl-C ends it)", flush=True)
        Server(app).run(sockets=[listener])
    raise KeyboardInterrupt  # only Ctrl-C ends it; uvicorn does not raise this where Ctrl-C was ignored


def listen(port: int) -> socket.socket:
    """A listening socket on this machine alone. Raises FaceemoError if the port cannot be used."""
    try:
        return socket.create_server((HOST, port))
    except OverflowError:
        raise FaceemoError(f"there is no port {port}; take one from 1 to 65535, or 0 for any free port") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise FaceemoError(f"port {port} cannot be used ({reason}); --port 0 takes any free port") from None


class Server(uvicorn.Server):
    """uvicorn with bounds on what it buffers, and an end that waits for nobody."""

    def __init__(self, app: Callable[..., Any]) -> None:
        config = uvicorn.Config(
            app,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_max_queue=2,
            ws_per_message_deflate=False,  # a JPEG does not shrink
            limit_concurrency=MAX_CONNECTIONS,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="error",
        )
        super().__init__(config)
        self._waits_since: dict[Any, float] = {}

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: drop connections without a request that are too old or too many."""
        now = time.monotonic()
        waiting = [one for one in self.server_state.connections if _waits(one)]
        self._waits_since = {one: self._waits_since.get(one, now) for one in waiting}
        for place, connection in enumerate(sorted(waiting, key=lambda one: self._waits_since[one], reverse=True)):
            if place >= MAX_WAITING or now - self._waits_since[connection] > HEADER_SECONDS:
                connection.transport.abort()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._cut)
        await super().shutdown(sockets)

    def _cut(self) -> None:
        """Drop the connections that are still open: a client that neither sends nor reads would never let them end."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _waits(connection: Any) -> bool:
    """Whether a connection of uvicorn has no request under way; a WebSocket has one as long as it lives."""
    if not hasattr(connection, "cycle"):
        return False
    return connection.cycle is None or connection.cycle.response_complete
