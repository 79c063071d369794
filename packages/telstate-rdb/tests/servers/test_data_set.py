"""The data set of every type in every encoding, as each server writes it."""

from __future__ import annotations

from pathlib import Path

from rdb_servers import assert_holds, connect

from telstate_rdb import decode_dump, read_rdb
from telstate_testing import RedisServer


def test_every_value_is_read(filled_server: RedisServer, server_file: Path) -> None:
    """The file has what the server answers."""
    assert_holds(filled_server, read_rdb(server_file))


def test_every_payload_is_decoded(filled_server: RedisServer, server_file: Path) -> None:
    """A payload of DUMP has the value that is in the file."""
    for record in read_rdb(server_file):
        client = connect(filled_server, record.database)
        assert decode_dump(client.dump(record.key)) == record.value, record.key
