"""Who may talk to the local server: pages that it gave out itself, and programs of this machine."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost", "[::1]")
DOCS = "/docs"  # Swagger UI, which writes scripts and styles into its page

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
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Guard:
    """ASGI middleware that refuses with 403 what a page from elsewhere could send, and sets the headers of security.

    Without it a foreign page could reach a server on 127.0.0.1: through a name of its own that it lets point here (DNS
    rebinding; its Host is told by that name), or straight (its Origin and Sec-Fetch-Site are).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        error = why_refused(scope)
        if error and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": error})
            return
        policy = DOCS_POLICY if scope["path"] == DOCS else POLICY.format(host="" if error else _host(scope))
        headers = {**HEADERS, "Content-Security-Policy": policy}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        app = JSONResponse({"status": "refused", "error": error}, 403) if error else self._app
        await app(scope, receive, send_with_headers)


def why_refused(scope: Scope) -> str | None:
    """Why a request or WebSocket handshake is not one of ours; None if it is."""
    headers = Headers(scope=scope)
    port = scope["server"][1]
    host = _host(scope)
    if host not in allowed_hosts(port):
        return f"not served under this name; open http://{NAMES[0]}:{port}/"
    origin = headers.get("origin")
    if origin is None and scope["type"] == "websocket":
        return "a WebSocket needs an Origin"
    if origin is not None and origin != f"http://{host}":
        return "this Origin is not the page of this server"
    navigation = scope["type"] == "http" and scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigation:
        return "asked for by a page from elsewhere"
    return None


def allowed_hosts(port: int) -> list[str]:
    """What a Host header may be: browsers leave out the port 80."""
    return [f"{name}:{port}" for name in NAMES] + (list(NAMES) if port == 80 else [])


def _host(scope: Scope) -> str:
    return Headers(scope=scope).get("host", "").lower()
