"""Globs where keys are taken, and the names of a view."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_subjects import Subject

from telstate import KeyType, TelescopeState, aio
from telstate.errors import MissingKeyError


async def fill(subject: Subject) -> None:
    """Write sensors and attributes in two namespaces, one whose name looks like a glob."""
    for key in ("m000_gain", "m001_gain", "beam_m000_gain", "a[1]"):
        await subject.add(key, len(key), ts=10.0)
    for key in ("m000_name", "a1", "beam_n_pols", "n_pols"):
        await subject.set(key, key)


async def test_many_values(subject: Subject) -> None:
    """`get_many` takes a key, several, and globs of full names; a key that exists is no glob."""
    await fill(subject)
    gains = {"m000_gain": 9, "m001_gain": 9}
    assert await subject.get_many("m*_gain") == gains
    assert await subject.get_many([b"m*_gain"]) == gains
    found = await subject.get_many(["n_pols", "m00[01]_*", "nope", "nope*"])
    assert found == {"n_pols": "n_pols", **gains, "m000_name": "m000_name"}
    assert list(found) == ["n_pols", "m000_gain", "m000_name", "m001_gain"]
    assert await subject.get_many(["a[1]"]) == {"a[1]": 4}
    assert await subject.get_many(["a[1-2]", "a?1?"]) == {"a1": "a1", "a[1]": 4}
    assert await subject.get_many("n_pols") == {"n_pols": "n_pols"}
    beam = subject.view("beam")
    assert await beam.get_many(["n_pols", "*n_pols"]) == {
        "n_pols": "beam_n_pols",
        "beam_n_pols": "beam_n_pols",
    }
    only = subject.view("beam", exclusive=True)
    assert await only.get_many("m*_gain") == gains


async def test_tables(subject: Subject) -> None:
    """`to_dataframe` takes globs among its keys, which select sensors only."""
    await fill(subject)
    table = await subject.to_dataframe(["m00?_*", "a[1]", "m000_gain"])
    assert table.iloc[0].to_dict() == {"m000_gain": 9.0, "m001_gain": 9.0, "a[1]": 4.0}
    table = await subject.view("beam").to_dataframe(["m000_gain", "m001*"])
    assert table.iloc[0].to_dict() == {"m000_gain": 14.0, "m001_gain": 9.0}
    with pytest.raises(
        KeyError, match=r"^No mutable key matches 'n_\*'; 1 keys? of other kinds do"
    ):
        await subject.to_dataframe(["m000_gain", "n_*"])


async def test_series(subject: Subject) -> None:
    """`to_pandas` reads one key; a missing one that looks like a glob is an error that names the method for globs."""
    await fill(subject)
    assert (await subject.to_pandas("a[1]")).tolist() == [4]
    with pytest.raises(
        MissingKeyError, match=r"^'m\*_gain' not found; to_dataframe takes globs"
    ) as caught:
        await subject.to_pandas("m*_gain")
    assert "to_dataframe" in str(pickle.loads(pickle.dumps(caught.value)))
    with pytest.raises(MissingKeyError, match="^'nope' not found$"):
        await subject.to_pandas("nope")


async def test_writer(subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`RDBWriter.save` takes names and globs; one that matches nothing is logged and counted."""
    await fill(subject)
    path = tmp_path / "some.rdb"
    with caplog.at_level(logging.ERROR):
        counts = await subject.save(path, ["n_pols", "m*_gain", "a[1]", "m000_*", "nope*", "nope"])
    assert counts == (6, 2)
    saved = TelescopeState.from_snapshot(path)
    assert saved.keys() == ["a1", "a[1]", "m000_gain", "m000_name", "m001_gain", "n_pols"]
    assert [record.getMessage() for record in caplog.records] == [
        "Key 'nope*' was not saved: no key matches",
        "Key 'nope' was not saved: there is no such key",
    ]


@pytest.mark.parametrize("keys", [["nope"], ["nope*", "n?pe", b"x[1]"], []])
async def test_nothing_to_save(
    subject: Subject, keys: list[str | bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Names and globs that match nothing leave the file as it was, whichever way it is written."""
    path = tmp_path / "old.rdb"
    await fill(subject)
    await subject.state_save(path)
    content = path.read_bytes()
    with pytest.raises(KeyError, match="left as it was"):
        await subject.state_save(path, keys)
    if "fakeredis" not in request.node.callspec.id:  # which sends no snapshot
        with pytest.raises(KeyError, match="left as it was"):
            await subject.state_save(path, keys, consistent=True)
    assert await subject.save(path, keys) == (0, len(keys))
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["old.rdb"]


async def test_names_in_a_view(subject: Subject) -> None:
    """With ``view=True``, `keys` and `key_types` list the names by which a view reads keys."""
    await fill(subject)
    beam = subject.view("beam")
    assert await beam.keys("*n_*") == ["beam_n_pols", "n_pols"]
    assert await beam.keys("n_*", view=True) == ["n_pols"]
    names = await beam.keys(view=True)
    assert names == ["a1", "a[1]", "m000_gain", "m000_name", "m001_gain", "n_pols"]
    assert {name: await beam.item(name) for name in names} == await beam.get_many(names)
    only = subject.view("beam", exclusive=True)
    assert await only.keys(view=True) == ["m000_gain", "n_pols"]
    assert await only.key_types(b"m*", view=True) == {"m000_gain": KeyType.MUTABLE}
    assert await subject.keys(view=True) == await subject.keys()
    assert await subject.key_types(view=True) == await subject.key_types()


def test_names_in_a_pipeline() -> None:
    """Pipelines list the names of their views too."""
    ts = TelescopeState()
    ts["beam_n_pols"] = 2
    with ts.pipeline() as p:
        names, kinds = p.view("beam").keys(view=True), p.view("beam").key_types("n*", view=True)
    assert (names.value, kinds.value) == (["n_pols"], {"n_pols": KeyType.IMMUTABLE})


NAMES = st.text("ab_*[", max_size=4)


@given(st.sets(NAMES.filter(bool)), st.lists(NAMES, max_size=3), NAMES)
def test_every_name_can_be_read(keys: set[str], prefixes: list[str], glob: str) -> None:
    """The names of a view, and no others, can be read; every key that a view can read has one of them."""
    ts = TelescopeState()
    for number, key in enumerate(sorted(keys)):
        if number % 2:
            ts.add(key, key)
        else:
            ts[key] = key
    view = TelescopeState(base=ts, prefixes=prefixes)
    names = view.keys(view=True)
    assert names == sorted(set(names))
    found: dict[str, Any] = {name: view[name] for name in names}
    visible = {
        view[name]
        for name in {key[start:] for key in keys for start in range(len(key) + 1)}
        if name in view
    }
    assert {*found.values()} == visible
    assert view.key_types(view=True) == {name: view.key_type(name) for name in names}
    some = TelescopeState()
    for name in filter(bool, names):
        some[name] = 1
    assert [name for name in view.keys(glob, view=True) if name] == some.keys(glob)


async def test_asyncio_names() -> None:
    """On asyncio `keys` takes the same parameters, the glob by position only."""
    ats = aio.TelescopeState()
    await ats.set("beam_n_pols", 2)
    assert await ats.view("beam").keys("n*", view=True) == ["n_pols"]
