"""Made-up observations: the same from the same arguments, and readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from telstate import TelescopeState
from telstate_codec import PicklePolicy, decode_value
from telstate_testing.observations import fill_observation, write_old_observation


def test_same_seed_same_observation(tmp_path: Path) -> None:
    """The same arguments make the same file, and another seed makes another."""
    files = [tmp_path / f"{number}.rdb" for number in range(3)]
    for file, seed in zip(files, (1, 1, 2)):
        ts = TelescopeState()
        fill_observation(ts, antennas=2, channels=8, seconds=60, seed=seed)
        ts.save(file)
    first, second, other = (file.read_bytes() for file in files)
    assert first == second != other


def test_old_observation(tmp_path: Path) -> None:
    """All values of an old observation are pickles, and only one is not for the safe policy."""
    write_old_observation(tmp_path / "old.rdb")
    ts = TelescopeState.from_snapshot(tmp_path / "old.rdb")
    encoded = {key: ts.get(key, return_encoded=True) for key in ts.keys()}
    assert len(encoded) > 200
    assert all(value.startswith(b"\x80\x02") for value in encoded.values())
    unsafe = encoded.pop("1600000000_obs_catalogue")
    values = {key: decode_value(value, PicklePolicy.SAFE) for key, value in encoded.items()}
    assert values["sub_band"] == "l"
    assert values["1600000000_cal_product_G"].shape == (2, 2)
    with pytest.raises(ValueError, match="katpoint"):
        decode_value(unsafe, PicklePolicy.SAFE)
