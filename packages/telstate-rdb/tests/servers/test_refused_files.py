"""No server starts from a file that a summary says is not sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import rdb_refused
from rdb_data import encode_string, make_file

from telstate_rdb import read_rdb
from telstate_rdb.summary import summarise
from telstate_testing import RedisBinary, RedisServer

STRING = b"\0" + encode_string(b"key") + b"\1v"
# Not the packed ones: whether a server looks into them depends on its version and options.
TABLES = [
    refused for refused in rdb_refused.SORTED_SETS if refused.name in ("text-twice", "binary-nan")
]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(make_file(STRING, STRING, version=6), id="key twice"),
        *(
            pytest.param(make_file(refused.data, version=refused.version), id=refused.name)
            for refused in TABLES
        ),
    ],
)
def test_no_server_starts(redis_binary: RedisBinary, tmp_path: Path, content: bytes) -> None:
    """A key twice in a database, and a sorted-set member twice, keep every server from starting."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(content)
    assert not summarise(read_rdb(path, strict=False, raw=True, auxiliary=True)).sound
    with pytest.raises(RuntimeError, match="did not start"):
        with RedisServer(redis_binary, snapshot=path):
            pass
