"""Which server is the master, by what Sentinels say; without servers, since some cases are hard to cause.

These are tests of a private module, because nothing public shows what a Sentinel said.
"""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from telstate_backends.redis._sentinel import Report, Reports, Sentinel

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


def test_the_latest_configuration_counts() -> None:
    """A Sentinel that has missed the last failover is not believed, whichever answers first."""
    reports = Reports(3)
    assert reports.addresses == set()
    reports.record(0, Report(4, OLD, True))
    assert reports.addresses == {OLD}
    reports.record(1, Report(5, NEW, True))
    assert reports.addresses == {NEW}
    reports.record(0, Report(4, OLD, True))
    assert reports.addresses == {NEW}


def test_a_sentinel_that_is_gone_is_still_believed() -> None:
    """On the wrong side of a partition, the old master does not become the master again."""
    reports = Reports(3)
    reports.record(0, Report(4, OLD, True))
    reports.record(1, Report(5, NEW, True))
    reports.lose(1)
    assert reports.addresses == {NEW}


def test_sentinels_that_were_set_up_anew() -> None:
    """When most Sentinels answer and all of those have begun anew, an old report of another has no effect."""
    reports = Reports(3)
    for number in range(3):
        reports.record(number, Report(5, OLD, True))
    reports.lose(2)
    reports.record(0, Report(0, NEW, True))
    reports.record(1, Report(0, NEW, True))
    assert reports.addresses == {NEW}


def test_where_to_connect() -> None:
    """New connections go to the master of the latest configuration, if a Sentinel that answers can reach it."""
    reports = Reports(3)
    reports.record(0, Report(4, OLD, True))
    places = [reports.current]
    reports.record(1, Report(5, NEW, False))
    places.append(reports.current)
    reports.record(1, Report(5, NEW, True))
    places.append(reports.current)
    reports.lose(1)
    places.append(reports.current)
    assert places == [OLD, None, NEW, None]


def test_other_spellings_of_an_address() -> None:
    """Sentinels of which some announce host names and some addresses mean the same master."""
    reports = Reports(2)
    reports.record(0, Report(5, ("store.example", 6379), True))
    reports.record(1, Report(5, NEW, True))
    assert reports.addresses == {("store.example", 6379), NEW}


def test_a_master_that_is_not_known() -> None:
    """A Sentinel that does not know the master says nothing about it."""
    reports = Reports(1)
    reports.record(0, None)
    assert reports.addresses == set()


def state(flags: bytes = b"master") -> list[bytes]:
    """Return a Sentinel's reply about the old master, in part."""
    fields = {
        b"name": b"store",
        b"ip": b"10.0.0.1",
        b"port": b"6379",
        b"flags": flags,
        b"num-other-sentinels": b"2",
        b"config-epoch": b"5",
    }
    return [part for field in fields.items() for part in field]


OLD_PLACE, NEW_PLACE = [b"10.0.0.1", b"6379"], [b"10.0.0.2", b"6379"]
NO_MASTER = ResponseError("No such master with that name")


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([state(), OLD_PLACE], Report(5, OLD, True)),
        ([state(b"s_down,master"), OLD_PLACE], Report(5, OLD, False)),
        ([state(b"s_down,o_down,master"), OLD_PLACE], Report(5, OLD, False)),
        # The Sentinel that leads a failover still describes the old master when the new one is chosen.
        ([state(b"s_down,o_down,master,failover_in_progress"), NEW_PLACE], Report(5, NEW, True)),
        ([NO_MASTER, None], None),
    ],
)
def test_replies_of_a_sentinel(replies: list[object], expected: Report | None) -> None:
    """Replies become a report."""
    assert Sentinel(0, object, "store").parse(replies) == expected


def test_limits_on_what_is_believed() -> None:
    """A Sentinel that knows too few others is not believed, and a host that the client forces is used."""
    assert Sentinel(0, object, "store", others=3).parse([state(), OLD_PLACE]) is None
    forced = Sentinel(0, object, "store", host="gate").parse([state(), OLD_PLACE])
    assert forced == Report(5, ("gate", 6379), True)


def test_a_server_that_is_not_a_sentinel() -> None:
    """The error of another kind of server is raised."""
    with pytest.raises(ResponseError, match="unknown command"):
        error = ResponseError("unknown command 'SENTINEL'")
        Sentinel(0, object, "store").parse([error, error])
