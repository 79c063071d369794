"""The walk through the API that the specification gives, to the letter."""

from pathlib import Path

import pytest

from telstate import ImmutableKeyError, RDBWriter, TelescopeState


def test_walkthrough(ts: TelescopeState, tmp_path: Path) -> None:
    """Each line of the walk-through gives what stands beside it."""
    with RDBWriter(tmp_path / "observation.rdb") as writer:
        source = TelescopeState()
        source["sub_band"] = "l"
        writer.save(source)

    assert ts.load_from_file(str(tmp_path / "observation.rdb")) == 1

    ts.add("gain", 1.5, ts=100.0)
    ts.add("gain", 2.0, ts=110.0)
    ts.add("gain", 1.75, ts=105.0)
    assert ts.gain == 2.0
    assert ts["gain"] == 2.0
    assert ts.get_range("gain", st=100, et=110) == [(1.5, 100.0), (1.75, 105.0)]
    assert ts.get_range("gain") == [(2.0, 110.0)]

    ts["n_chans"] = 4096
    ts.add("n_chans", 4096, immutable=True)
    with pytest.raises(ImmutableKeyError):
        ts["n_chans"] = 1024

    ts.set_indexed("peak", ("J1939-6342", 17), 14.9)
    assert ts.get_indexed("peak", ("J1939-6342", 17)) == 14.9

    beam = ts.view("beam")
    assert beam.prefixes == ("beam_", "")
    beam["n_pols"] = 2
    assert ts["beam_n_pols"] == 2
    assert beam["n_chans"] == 4096
    assert ts.keys() == ["beam_n_pols", "gain", "n_chans", "peak", "sub_band"]
    ts.wait_key("gain", lambda value, t: value > 1.9, timeout=5)

    with RDBWriter(tmp_path / "out.rdb") as writer:
        writer.save(ts)
    assert (writer.keys_written, writer.keys_failed) == (5, 0)
    again = TelescopeState()
    assert again.load_from_file(tmp_path / "out.rdb") == 5
    assert again.get_range("gain", st=0) == [(1.5, 100.0), (1.75, 105.0), (2.0, 110.0)]
    assert again["peak"] == {("J1939-6342", 17): 14.9}
    with RDBWriter(tmp_path / "some.rdb") as writer:
        writer.save(ts, keys=["n_chans", "gain"])
    assert TelescopeState().load_from_file(tmp_path / "some.rdb") == 2
