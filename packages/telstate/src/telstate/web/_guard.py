"""What every request passes first: the Host header, the method, the token; and the headers of every answer.

A page elsewhere can make a browser send requests here under a name that its owner has pointed at this
machine (DNS rebinding), and would then read the answers. Such requests have that name as their Host. An
address cannot be rebound, so the address at which a request arrived is allowed as well as the names.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The hosts that are allowed unless others are named."""

LOGIN = "/api/login"
_BODY = 4096  # bytes of a login
_BODY_SECONDS = 20.0
_WRONG_SECONDS = 0.5  # for each wrong token, one after the other
_MAX_WRONG = 20

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")

_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


class Token:
    """A token, and the cookie that a page has after its login.

    The cookie is made from the token, so that it is still good after a restart with the same token, and it is
    named after it, because cookies do not distinguish ports.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("The token is empty. Leave it out, or choose a long one.")
        self._token = token.encode()
        self._name = f"telstate-{self._derive(b'name')[:16]}"
        self._value = self._derive(b"cookie")

    def _derive(self, purpose: bytes) -> str:
        return hmac.new(self._token, b"telstate web " + purpose, hashlib.sha256).hexdigest()

    def matches(self, given: object) -> bool:
        """Return whether this is the token, in a time that does not depend on how much of it is right."""
        return isinstance(given, str) and hmac.compare_digest(
            given.encode(errors="replace"), self._token
        )

    def is_in(self, header: str) -> bool:
        """Return whether a Cookie header has the cookie."""
        # Those of other applications at this host may be of any form.
        pairs = (pair.strip().partition("=") for pair in header.split(";"))
        return any(
            name == self._name
            and hmac.compare_digest(value.encode(errors="replace"), self._value.encode())
            for name, _, value in pairs
        )

    def cookie(self, path: str, secure: bool) -> str:
        """Return the Set-Cookie header."""
        end = "; Secure" if secure else ""
        return f"{self._name}={self._value}; Path={path}; HttpOnly; SameSite=Strict{end}"


class Guard:
    """Middleware that refuses requests which may not be answered, and adds headers to answers.

    Parameters
    ----------
    app
        The application.
    hosts
        The names and addresses that the Host header may have, without ports.
    token
        The token that requests need.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: Token | None) -> None:
        self._app = app
        self._hosts = frozenset(map(_normal_host, hosts))
        self._token = token
        self._wrong = 0  # tokens that are being refused
        self._one_by_one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket, which is not needed
            await send({"type": "websocket.close", "code": 1008})
            return
        path = _path_of(scope)
        is_api = path.startswith("/api/")

        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = [*message.get("headers", ()), *_HEADERS]
                if is_api:
                    headers = [one for one in headers if one[0].lower() != b"cache-control"]
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        refusal = self._refuse(scope, path)
        if refusal is not None:
            await send_error(send_with_headers, *refusal)
        elif path == LOGIN:
            await self._log_in(scope, receive, send_with_headers)
        else:
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:
                if not has_begun:  # otherwise the answer would lack the headers
                    await send_error(send_with_headers, 500, "The request failed; see the log.")
                raise

    def _refuse(self, scope: Scope, path: str) -> tuple[int, str] | None:
        """Return status and message if a request is not answered."""
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._allows(hosts[0], scope):
            return (
                403,
                "This host name is not allowed here. Use the address that telstate serve printed.",
            )
        method = scope["method"]
        if path == LOGIN:
            return None if method == "POST" else (405, "Log in with POST.")
        if method not in ("GET", "HEAD"):
            return 405, "Nothing can be written here: use GET."
        # Browsers say from where a request comes. Another site could not read the answer, but cause its cost.
        sites = _header(scope, b"sec-fetch-site")
        if path.startswith("/api/") and not set(sites) <= {"same-origin", "none"}:
            return 403, "This request comes from another site."
        if self._token is not None and not (path == "/" or path.startswith("/static/")):
            cookies = _header(scope, b"cookie")
            if not any(map(self._token.is_in, cookies)):
                return 401, "A token is needed."
        return None

    def _allows(self, host: str, scope: Scope) -> bool:
        """Return whether a Host header has a name that is allowed, or the address of this connection."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _normal_host(match["name"])
        if name in self._hosts:
            return True
        server = scope.get("server")
        return server is not None and _is_address(name) and name == _normal_host(str(server[0]))

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _read_body(receive)
        except TimeoutError:
            await send_error(send, 408, "The login takes too long.")
            return
        if body is None:
            return
        if len(body) > _BODY:
            await send_error(send, 413, "The login is too long.")
            return
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        given = content.get("token") if isinstance(content, dict) else None
        if self._token is not None and not self._token.matches(given):
            await self._refuse_token(send)
            return
        headers: list[tuple[bytes, bytes]] = []
        if self._token is not None:
            root = scope.get("root_path", "").rstrip("/")
            cookie = self._token.cookie(f"{root}/", scope.get("scheme") == "https")
            headers.append((b"set-cookie", cookie.encode("latin-1", "replace")))
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse_token(self, send: Send) -> None:
        """Refuse a wrong token, so slowly that guessing takes for ever."""
        if self._wrong >= _MAX_WRONG:
            await send_error(send, 503, "Too many wrong tokens have been given. Try again later.")
            return
        self._wrong += 1
        try:
            async with self._one_by_one:
                await asyncio.sleep(_WRONG_SECONDS)
        finally:
            self._wrong -= 1
        await send_error(send, 401, "The token is not right.")


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body of a login, of which too much is not read; None if the client has gone."""
    body = b""
    while len(body) <= _BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _header(scope: Scope, name: bytes) -> list[str]:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def _path_of(scope: Scope) -> str:
    """Return the path within the application, which may be mounted below another path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(root) else path


def _normal_host(host: str) -> str:
    """Return a host in lower case, an address in its normal form."""
    name = host.strip("[]").lower().rstrip(".")
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def error_body(message: str) -> bytes:
    """Return the body of an answer that is an error."""
    return json.dumps({"error": message}).encode()


async def send_error(send: Send, status: int, message: str) -> None:
    """Send an answer that is an error."""
    body = error_body(message)
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
