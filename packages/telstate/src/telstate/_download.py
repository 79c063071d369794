"""Downloads of snapshots, over HTTP and from object stores.

Rules: a download goes to a temporary file, so that memory holds no copy of it. One that is interrupted is
resumed where the server supports that, else started again. What is secret in an address (a token, a
password, a signature) is in no message and no name: these show the address up to its path. A token is sent
only to the host that the address names.
"""

from __future__ import annotations

import http.client
import io
import logging
import re
import ssl
import tempfile
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO, Any, NoReturn, TypeAlias, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit

import attrs

from telstate_backends.retry import RetryPolicy
from telstate_rdb.extras import require_extra
from telstate_rdb.printable import escape_path

#: A function that is called with the number of bytes that were downloaded, and with all of them if known.
Downloaded: TypeAlias = Callable[[int, int | None], object]

logger = logging.getLogger("telstate")

#: How long a download is tried again without getting a byte further.
RETRY = RetryPolicy(seconds=20.0, first_delay=0.25, longest_delay=4.0)
#: Seconds without a byte after which a server counts as lost.
TIMEOUT = 30.0

_CHUNK = 1 << 18
#: Bytes in one request to an object store.
_BLOCK = 1 << 23
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
#: What may stand in a path as it is; % because most addresses are quoted already.
_SAFE = "/%:@!$&'()*+,;=~"
#: What is no character of a token.
_NO_TOKEN = re.compile(r"[^\x21-\x7e]")
_AUTHORIZATION = "Authorization"


@attrs.frozen
class Address:
    """The address of a file to download, without what is secret in it, which is kept beside it."""

    url: str
    #: What messages call it: without user, password, query and fragment.
    shown: str
    #: The header that carries the token, or user and password.
    authorization: str | None = attrs.field(default=None, repr=False)


def parse_address(text: str) -> Address:
    """Take an address apart; the errors show nothing of it.

    The archive of MeerKAT gives its users addresses with ``?token=...``, but its gateway expects the token
    in a header, as katdal sends it.
    """
    try:
        parts = urlsplit(text.strip())
        host = parts.netloc.rpartition("@")[2]
        port = parts.port
    except ValueError:
        # Without the cause, whose text may show a part of the address.
        raise ValueError("This address is not valid. Write https://host/path.") from None
    if not parts.hostname or port == 0:
        raise ValueError("This address names no host. Write https://host/path.")
    place = f"{parts.scheme}://{host}{quote(parts.path, safe=_SAFE)}"
    options = parts.query.split("&") if parts.query else []
    kept = "&".join(option for option in options if not option.startswith("token="))
    tokens = [unquote(option[6:]) for option in options if option.startswith("token=")]
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(login.encode()).decode()}"
    if tokens and tokens[-1]:
        if _NO_TOKEN.search(tokens[-1]):
            raise ValueError(
                f"The token of {escape_path(place)} has characters that no token has. Copy it again."
            )
        authorization = f"Bearer {tokens[-1]}"
    url = f"{place}?{quote(kept, safe=_SAFE + '?')}" if kept else place
    return Address(url, escape_path(place), authorization)


def check_address(text: str) -> None:
    """Raise a `ValueError` if an address is not valid; it shows nothing of it."""
    address = text.strip()
    if not _is_object(address):
        parse_address(address)
    elif not re.match(r"s3://[^/]+/[^/]", address, re.IGNORECASE):
        raise ValueError("This s3:// address names no object. Write s3://bucket/name.")
    elif re.match(r"s3://[^/]*[:@]", address, re.IGNORECASE):
        raise ValueError(
            "An s3:// address holds no access key. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )


def _is_object(address: str) -> bool:
    return address[:2].lower() == "s3"


# ------------------------------------------------------------------------------------- downloads


class _Transient(Exception):
    """A download failed in a way that may pass; the cause has the reason."""


def download(text: str, progress: Downloaded | None, stop: threading.Event) -> IO[bytes]:
    """Download a file; return a temporary file, at its start, whose name is the address."""
    check_address(text)
    report: Downloaded = progress or (lambda received, size: None)
    raw = tempfile.TemporaryFile(buffering=0)
    try:
        if _is_object(text.lstrip()):
            _download_object(text.strip(), raw, report, stop)
        else:
            address = parse_address(text)
            _Download(address, raw, report, stop).run()
            raw.name = address.shown
        raw.seek(0)
    except BaseException:
        raw.close()
        raise
    return io.BufferedReader(raw)


def _write(file: io.FileIO, data: bytes) -> None:
    """Write to the temporary file; an error names its folder."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        error.filename = tempfile.gettempdir()
        raise


@attrs.define
class _Download:
    """A file that is being downloaded over HTTP."""

    address: Address
    file: io.FileIO
    progress: Downloaded
    stop: threading.Event
    #: How many bytes are in the file.
    received: int = 0
    #: How many bytes it will have, None if the server does not say.
    size: int | None = None
    #: What identifies this version of the file, so that the rest can be requested.
    validator: str | None = None

    def run(self) -> None:
        """Download the file, with retries while that gets further."""
        best = 0
        attempts = RETRY.begin()
        is_logged = False
        while True:
            try:
                return self._try()
            except _Transient as failure:
                if self.received > best:
                    best, attempts = self.received, RETRY.begin()
                delay = attempts.next_delay()
                if delay is None:
                    raise self._final(failure) from failure.__cause__
                if not is_logged:
                    is_logged = True
                    logger.warning(
                        "The download of %s was interrupted after %d bytes, and is tried again: %s.",
                        self.address.shown,
                        self.received,
                        failure,
                    )
                if self.stop.wait(delay):
                    raise InterruptedError("The download was cancelled.") from None

    def _final(self, failure: _Transient) -> OSError:
        """Return the error for the last of the attempts."""
        shown, reason = self.address.shown, str(failure)
        if self.size is not None or self.received:
            return _incomplete(shown, self.received, self.size, reason)
        kind = TimeoutError if isinstance(failure.__cause__, TimeoutError) else ConnectionError
        return kind(f"{shown} cannot be downloaded: {reason}.")

    def _try(self) -> None:
        """Download the rest of the file, or all of it if the server does not resume."""
        with self._open() as response:
            self._start(response)
            while True:
                if self.stop.is_set():
                    raise InterruptedError("The download was cancelled.")
                try:
                    part = response.read1(_CHUNK)
                except http.client.IncompleteRead as error:
                    raise _Transient("the connection was closed") from error
                except OSError as error:
                    raise _Transient(_reason(error)) from error
                if not part:
                    break
                _write(self.file, part)
                self.received += len(part)
                self.progress(self.received, self.size)
        if self.size is not None and self.received != self.size:
            raise _Transient("the connection was closed")

    def _start(self, response: http.client.HTTPResponse) -> None:
        """Prepare the temporary file for the body of a response."""
        position = 0
        if response.status == http.client.PARTIAL_CONTENT:
            match = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "")
            )
            if match is None or int(match[1]) != self.received:
                self.validator = None  # and so the next request is for all
                self._rewind(0)
                raise _Transient("the server sent another part of the file than was requested")
            position = self.received
        length = response.length
        self.size = None if length is None else position + length
        entity = response.headers.get("ETag", "")
        strong = entity if entity and not entity.startswith("W/") else None
        self.validator = strong or response.headers.get("Last-Modified")
        self._rewind(position)

    def _rewind(self, position: int) -> None:
        self.file.seek(position)
        self.file.truncate()
        self.received = position

    def _open(self) -> http.client.HTTPResponse:
        """Send the request, and return a response whose body is the file or the rest of it."""
        shown = self.address.shown
        headers = {"User-Agent": "telstate", "Accept-Encoding": "identity"}
        if self.received and self.validator is not None:
            headers["Range"] = f"bytes={self.received}-"
            headers["If-Range"] = self.validator
        try:
            request = urllib.request.Request(self.address.url, headers=headers)
            if self.address.authorization is not None:
                request.add_unredirected_header(_AUTHORIZATION, self.address.authorization)
            opened = _opener().open(request, timeout=TIMEOUT)
            return cast(http.client.HTTPResponse, opened)
        except HTTPError as error:
            with error:
                self._refuse(error)
        except URLError as error:
            reason = error.reason
            # A wrong address is an error at once; a server that was there may come back.
            if isinstance(reason, ConnectionResetError | ssl.SSLEOFError) or self.received:
                raise _Transient(_reason(reason)) from error
            kind = TimeoutError if isinstance(reason, TimeoutError) else ConnectionError
            raise kind(f"{shown} cannot be reached: {_reason(reason)}.") from error
        except (ConnectionResetError, ConnectionAbortedError, TimeoutError, ssl.SSLError) as error:
            raise _Transient(_reason(error)) from error
        except (http.client.HTTPException, ValueError) as error:
            raise ConnectionError(
                f"{shown} cannot be downloaded: its address is not valid, or the server does not speak "
                "HTTP."
            ) from error

    def _refuse(self, error: HTTPError) -> NoReturn:
        """Raise the error for a response without the file."""
        shown, status = self.address.shown, f"HTTP status {error.code}"
        if error.code in _TRANSIENT_STATUS:
            raise _Transient(f"the server answers {status}") from error
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and self.received:
            self._rewind(0)
            raise _Transient("the file has changed") from error
        if error.code in (401, 403):
            known = self.address.authorization is not None
            token = "The token may have expired" if known else "It may need ?token=..."
            # An object store without a list of its objects answers so for those that do not exist.
            missing = ", or there is no such file" if error.code == http.client.FORBIDDEN else ""
            raise PermissionError(
                f"The server refuses access to {shown} ({status}). {token}{missing}."
            ) from error
        if error.code in (404, 410):
            raise FileNotFoundError(f"There is no file at {shown} ({status}).") from error
        # Without the cause, which may show where a redirect leads to.
        raise ConnectionError(f"{shown} cannot be downloaded: {status}.") from None


def _reason(error: object) -> str:
    """Return what the system says of a failure, as a clause."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not to another place with a token."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get(_AUTHORIZATION)
        if request is not None and authorization is not None:
            if _origin(newurl) != _origin(req.full_url):
                fp.close()
                scheme, host, port = _origin(newurl)
                raise ConnectionError(
                    f"{escape_path(req.full_url.partition('?')[0])} redirects to "
                    f"{escape_path(f'{scheme}://{host}:{port}')}, where its token is not sent. Use the "
                    "address of the file there, with the token for that host."
                )
            request.add_unredirected_header(_AUTHORIZATION, authorization)
        return request


def _origin(url: str) -> tuple[str, str | None, int]:
    """Return the scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _opener() -> urllib.request.OpenerDirector:
    """Return what sends requests: with the proxies of the environment, and HTTP only."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


# ---------------------------------------------------------------------------------- object stores


def _download_object(
    address: str, file: io.FileIO, progress: Downloaded, stop: threading.Event
) -> None:
    """Download an object through s3fs, which reads credentials and endpoint from the environment."""
    require_extra("telstate", "remote", "s3:// addresses need", "s3fs")
    shown = file.name = escape_path(address.partition("?")[0])
    with _translated_object_errors(shown):
        # fsspec takes settings from the environment, and the version of an object from its address.
        filesystem, path = import_module("fsspec.core").url_to_fs(address)
        remote = filesystem.open(path, "rb", block_size=_BLOCK)
    size: int = remote.size
    received = 0
    with remote:
        while received < size:
            if stop.is_set():
                raise InterruptedError("The download was cancelled.")
            with _translated_object_errors(shown, received, size):
                part = remote.read(_BLOCK)
            if not part:
                raise _incomplete(shown, received, size, "the server sent no more")
            _write(file, part)
            received += len(part)
            progress(received, size)


@contextmanager
def _translated_object_errors(
    shown: str, received: int = 0, size: int | None = None
) -> Iterator[None]:
    """Raise the errors of s3fs and of what it uses as those of a file."""
    aiohttp, botocore = import_module("aiohttp"), import_module("botocore.exceptions")
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file at {shown}.") from error
    except PermissionError as error:
        raise PermissionError(f"The server refuses access to {shown}: {_reason(error)}.") from error
    except botocore.NoCredentialsError as error:
        raise PermissionError(
            f"There are no credentials to read {shown}. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for a public bucket."
        ) from error
    except aiohttp.ClientPayloadError as error:
        raise _incomplete(shown, received, size, "the connection was closed") from error
    except (OSError, aiohttp.ClientError, botocore.BotoCoreError) as error:
        if size is not None:
            raise _incomplete(shown, received, size, _reason(error)) from error
        raise ConnectionError(f"{shown} cannot be downloaded: {_reason(error)}.") from error


def _incomplete(shown: str, received: int, size: int | None, reason: str) -> ConnectionError:
    """Return the error for a file that has not arrived as a whole."""
    missing = "" if size is None else f" of {size}"
    rest = "" if size is None else f", so {size - received} are missing"
    return ConnectionError(
        f"Only {received}{missing} bytes of {shown} were received{rest}: {reason}."
    )
