"""An imitation of an object store on the loopback interface: enough of S3 to read objects.

It answers HEAD, GET (with a range) and ListObjectsV2 for the objects of one bucket, checks that requests are
signed with an access key that it knows, but not the signature.
"""

import re
from collections.abc import Iterable
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from archive_server import ArchiveServer, Fault, Handler

KEY = "AKIAIOSFODNN7EXAMPLE"
_LIST = '<?xml version="1.0"?><ListBucketResult><Name>{}</Name>{}</ListBucketResult>'
_OBJECT = "<Contents><Key>{}</Key><Size>{}</Size></Contents>"
_ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'


class ObjectStore(ArchiveServer):
    """Serves the objects of buckets, by "/bucket/name": a context manager."""

    def __init__(
        self, files: dict[str, bytes], faults: Iterable[Fault] = (), *, is_public: bool = False
    ) -> None:
        super().__init__(files, faults, handler=ObjectHandler)
        self.is_public = is_public


class ObjectHandler(Handler):
    """Answers one request."""

    def answer(self) -> None:
        """Answer a request for an object, or for a list of objects."""
        store = self.server.archive
        assert isinstance(store, ObjectStore)
        if not store.is_public and f"Credential={KEY}/" not in self.headers["Authorization"]:
            self.send(403, _ERROR.format("AccessDenied", "Access Denied"))
        elif "list-type=2" in self.path:
            path, _, query = self.path.partition("?")
            bucket = path.strip("/")
            start = f"/{bucket}/{parse_qs(query).get('prefix', [''])[0]}"
            objects = [
                _OBJECT.format(escape(name.removeprefix(f"/{bucket}/")), len(content))
                for name, content in store.files.items()
                if name.startswith(start)
            ]
            self.send(200, _LIST.format(bucket, "".join(objects)))
        elif self.content is None:
            self.send(404, _ERROR.format("NoSuchKey", "The specified key does not exist."))
        else:
            self.wfile.write(self.send_head())

    def send_head(self) -> bytes:
        """Send the status and headers for an object, or for a range of it; return the body."""
        content = self.content or b""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        start, stop = 0, len(content)
        if match is not None:
            start, stop = int(match[1]), min(int(match[2] or stop) + 1, stop)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        return b"" if self.command == "HEAD" else content[start:stop]

    def send(self, status: int, text: str) -> None:
        """Send a document."""
        body = b"" if self.command == "HEAD" else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(body)
