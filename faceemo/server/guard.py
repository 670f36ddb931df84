"""Who may talk to the local server: pages that it gave out itself or that were named, and programs of this machine."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceemo.errors import FaceemoError

NAMES = ("127.0.0.1", "localhost", "[::1]")  # of this machine; the port may be that of a tunnel
DOCS = "/docs"  # Swagger UI, which writes scripts and styles into its page
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def parse_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Origins as browsers send them. Raises FaceemoError for a text that is none."""
    origins = tuple(text.lower().rstrip("/") for text in texts)
    for text in origins:
        if not ORIGIN.fullmatch(text):
            raise FaceemoError(f"--allow-origin {text}: not like https://example.org or http://localhost:3000")
    return origins


class Guard:
    """ASGI middleware that refuses with 403 what a page from elsewhere could send, and sets the headers of security.

    Without it a foreign page could reach a server on 127.0.0.1: through a name of its own that it lets point here (DNS
    rebinding; its Host is that name), or straight (its Origin and Sec-Fetch-Site say so).
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = ()) -> None:
        """origins: of other pages that may ask all the same, and of a proxy under whose name the own page is shown."""
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        error = why_refused(scope, self._origins)
        if error and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": error})
            return
        policy = DOCS_POLICY if scope["path"] == DOCS else POLICY.format(host="" if error else _host(scope))
        headers = {**HEADERS, "Content-Security-Policy": policy}
        origin = Headers(scope=scope).get("origin", "")
        is_named = not error and origin in self._origins
        if is_named:
            headers |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        app: ASGIApp = JSONResponse({"status": "refused", "error": error}, 403) if error else self._app
        if is_named and scope["type"] == "http" and scope["method"] == "OPTIONS":  # a browser asks before the page may
            allowed = {"Methods": "GET, POST", "Headers": "Content-Type", "Private-Network": "true"}
            app = Response(headers={f"Access-Control-Allow-{name}": value for name, value in allowed.items()})
        await app(scope, receive, send_with_headers)


def why_refused(scope: Scope, origins: tuple[str, ...]) -> str | None:
    """Why a request or WebSocket handshake comes from elsewhere; None if it does not. origins: see Guard."""
    headers = Headers(scope=scope)
    host, origin = _host(scope), headers.get("origin")
    if not _is_ours(host) and host not in [one.partition("//")[2] for one in origins]:
        address = f"http://{host}"
        said = f"{address} (https where the browser shows that)" if ORIGIN.fullmatch(address) else "and its address"
        return (
            f"not served under this name; open http://{NAMES[0]}:{scope['server'][1]}/ on the machine that serves, or "
            f"http://{NAMES[1]} with the port of your tunnel; for a proxy start it with --allow-origin {said}"
        )
    if origin in origins:
        return None
    if origin is None and scope["type"] == "websocket":
        return "a WebSocket needs an Origin"
    if origin is not None and origin != f"http://{host}":
        option = f"--allow-origin {origin}" if ORIGIN.fullmatch(origin) else "--allow-origin and its address"
        return f"asked for by a page that is not this server's; where it may ask, start it with {option}"
    navigation = scope["type"] == "http" and scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigation:
        return "asked for by a page from elsewhere"
    return None


def _is_ours(host: str) -> bool:
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return host in NAMES or (name in NAMES and port.isdigit())


def _host(scope: Scope) -> str:
    return Headers(scope=scope).get("host", "").lower()
