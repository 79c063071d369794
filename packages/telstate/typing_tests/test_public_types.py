"""The public types of telstate. mypy checks this file; it is never run."""

import gzip
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas
import xarray
from matplotlib.figure import Figure
from numpy.typing import NDArray
from starlette.applications import Starlette

import telstate
from telstate import (
    BatchError,
    DatabaseCollisionError,
    DecodeError,
    Endpoint,
    ExportReport,
    ImportReport,
    KeyDifference,
    KeyType,
    KeyUpdate,
    Merged,
    PickledKey,
    PicklePolicy,
    Pipeline,
    Queued,
    RdbWriteError,
    RDBWriter,
    Reconnected,
    RedisBackend,
    RetryPolicy,
    RewriteReport,
    SampleArrays,
    SnapshotProblem,
    TelescopeState,
    ValueDifference,
    Verification,
    Watch,
    aio,
    export,
    import_file,
    to_xarray,
)
from telstate.endpoint import endpoint_list_parser, endpoint_parser, endpoints_to_str
from telstate.overview import (
    KeySummary,
    SnapshotSummary,
    StoreSummary,
    describe_snapshot,
    describe_store,
    key_tree_text,
    summarise,
)
from telstate.plot import plot_sensors, plot_sensors_as_text
from telstate.web import create_app
from telstate_backends import AsyncMemoryBackend, AsyncRedisBackend, Backend

ts = TelescopeState()
assert_type(ts, TelescopeState)
assert_type(ts.view("a"), TelescopeState)
assert_type(TelescopeState("localhost", cache_size=100), TelescopeState)
assert_type(aio.TelescopeState(cache_size=100), aio.TelescopeState)
assert_type(ts.root(), TelescopeState)
assert_type(ts.prefixes, tuple[str, ...])
assert_type(ts.backend, Backend)
assert_type(TelescopeState.SEPARATOR, str)
assert_type(ts.join("a", "b"), str)
assert_type(ts["a"], Any)
assert_type(ts.a, Any)
assert_type(ts.get("a"), Any)
assert_type(ts.get_indexed("a", ("b", 1)), Any)
assert_type(ts.get_range("a", 1.0, 2.0, True, True, False), list[tuple[Any, float]])
assert_type("a" in ts, bool)
assert_type(ts.key_type("a"), KeyType | None)
assert_type(ts.is_immutable("a"), bool)
assert_type(ts.keys(), list[str])
assert_type(ts.keys("a*", view=True), list[str])
ts.keys("a*", True)  # type: ignore[misc]  # by name only
assert_type(ts.load_from_file(Path("a.rdb")), int)
assert_type(ts.load_from_file(Path("a.rdb"), strict=False), int)
assert_type(ts.load_from_file("a.rdb", keys=["m*", b"b"], database=1), int)
assert_type(TelescopeState.from_snapshot("a.rdb", strict=False), TelescopeState)
assert_type(TelescopeState.from_snapshot("https://host/a.rdb?token=b"), TelescopeState)
assert_type(telstate.open_store("a.rdb", prefixes=("m000", "")), TelescopeState)
assert_type(telstate.open_store(gzip.open("a.rdb.gz"), database=1, keys=["m*"]), TelescopeState)
telstate.open_store("a.rdb", ("m000", ""))  # type: ignore[misc]  # options are named
assert_type(TelescopeState.from_snapshot("a.rdb", collisions="refuse"), TelescopeState)
ts.load_from_file("a.rdb", collisions="raise")  # type: ignore[arg-type]  # not one of the two
assert_type(DatabaseCollisionError("", [0, 1]).databases, tuple[int, ...])
assert_type(ts.view("a", True, False, read_only=True), TelescopeState)
assert_type(ts.read_only, bool)
assert_type(TelescopeState.from_snapshot("a.rdb"), TelescopeState)
assert_type(TelescopeState.from_snapshot(gzip.open("a.rdb.gz"), prefixes=("a_",)), TelescopeState)
assert_type(ts.save(Path("a.rdb")), int)
assert_type(ts.save("a.rdb", keys=["a", b"b"]), int)
assert_type(ts.save("a.rdb", consistent=True, keep_empty=True), int)
assert_type(telstate.__version__, str)
with TelescopeState() as opened:
    assert_type(opened, TelescopeState)
assert_type(ts.wait_keys(["a", b"b"], require="any", timeout=1.0), tuple[str, ...])

with ts.watch("a", b"b", patterns=["c*"], timeout=1.0) as watch:
    assert_type(watch, Watch)
    assert_type(watch.next(timeout=1.0), KeyUpdate | Reconnected)
    for event in watch:
        if isinstance(event, KeyUpdate):
            assert_type(event.key, str)
            assert_type(event.kind, KeyType)
            assert_type(event.value, Any)
            assert_type(event.timestamp, float | None)
            assert_type(event.sub_key, Any)
            assert_type(event.error, DecodeError | None)
        else:
            assert_type(event, Reconnected)
    for event in watch:  # as in the documentation
        match event:
            case KeyUpdate(key, kind, value, timestamp, sub_key):
                assert_type((key, kind, timestamp), tuple[str, KeyType, float | None])
                assert_type((value, sub_key), tuple[Any, Any])
            case Reconnected():
                pass
watch.close()


with ts.pipeline(raise_errors=False) as p:
    assert_type(p, Pipeline)
    assert_type(p.view("a"), Pipeline)
    assert_type(p.prefixes, tuple[str, ...])
    assert_type(p["a"], Queued[Any])
    assert_type(p.get("a", 1), Queued[Any])
    assert_type(p.get_indexed("a", ("b", 1)), Queued[Any])
    assert_type(p.get_range("a", 1.0), Queued[list[tuple[Any, float]]])
    assert_type(p.get_range_arrays("a", 1.0), Queued[SampleArrays])
    assert_type(p.exists("a"), Queued[bool])
    assert_type(p.key_type("a"), Queued[KeyType | None])
    assert_type(p.keys(view=True), Queued[list[str]])
    assert_type(p.key_types(), Queued[dict[str, KeyType]])
    assert_type(p.set("a", 1), Queued[None])
    assert_type(p.add("a", 1), Queued[None])
    assert_type(p.add_many("a", [1], [1.0]), Queued[None])
    assert_type(p.set_indexed("a", 1, 1), Queued[None])
    assert_type(p.delete("a"), Queued[None])
    assert_type(p.clear(), Queued[None])
    n_samples = p.exists("a")
assert_type(n_samples.value, bool)
assert_type(n_samples.error, Exception | None)
assert_type(n_samples.done, bool)
more_general: Queued[object] = n_samples
try:
    pass
except BatchError as batch_error:
    assert_type(batch_error.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])

assert_type(ts.get_many(["a", b"b"]), dict[str | bytes, Any])
assert_type(ts.get_many("a*"), dict[str | bytes, Any])
assert_type(ts.key_types(view=True), dict[str, KeyType])
assert_type(ts.key_types("a*"), dict[str, KeyType])
assert_type(ts.add_many("a", np.arange(2.0), [1, 2.0]), None)
assert_type(ts.get_range_arrays("a", 1.0, 2.0, True, True), SampleArrays)
assert_type(ts.get_range_arrays("a").timestamps, NDArray[np.float64])
assert_type(ts.get_range_arrays("a").values, NDArray[Any])
assert_type(ts.to_pandas("a"), pandas.Series)
assert_type(ts.to_dataframe(["a"]), pandas.DataFrame)


async def batches_on_asyncio(ts: aio.TelescopeState) -> None:
    """Batches and arrays on asyncio: queuing is not awaited."""
    async with ts.pipeline() as p:
        assert_type(p["a"], Queued[Any])
        assert_type(p.view("a").get_range("a"), Queued[list[tuple[Any, float]]])
        assert_type(p.add("a", 1), Queued[None])
    assert_type(await ts.get_many(["a"]), dict[str | bytes, Any])
    assert_type(await ts.keys(view=True), list[str])
    assert_type(await ts.key_types(), dict[str, KeyType])
    assert_type(await ts.get_range_arrays("a"), SampleArrays)
    assert_type(await ts.to_pandas("a"), pandas.Series)
    assert_type(await ts.to_dataframe(["a"]), pandas.DataFrame)


async def backends_of_asyncio() -> None:
    """The backends of asyncio are attributes of the package."""
    assert_type(await telstate.aio.redis.RedisBackend.from_url("redis://a"), AsyncRedisBackend)
    assert_type(telstate.aio.MemoryBackend(), AsyncMemoryBackend)
    async with telstate.aio.RDBWriter("a.rdb") as writer:
        assert_type(writer, telstate.aio.rdb_writer.RDBWriter)


async def watch_on_asyncio(ts: aio.TelescopeState) -> None:
    """Waiting and watching on asyncio."""
    assert_type(await ts.wait_keys(["a"]), tuple[str, ...])
    async with ts.watch("a", patterns=["c*"]) as watch:
        async for event in watch:
            assert_type(event, KeyUpdate | Reconnected)


async def snapshots_on_asyncio() -> None:
    """Snapshots on asyncio."""
    opened_one = await aio.TelescopeState.from_snapshot("a.rdb", collisions="refuse")
    assert_type(opened_one, aio.TelescopeState)
    assert_type(await opened_one.load_from_file("a.rdb", collisions="warn"), int)
    async with aio.TelescopeState() as opened:
        assert_type(opened, aio.TelescopeState)
        assert_type(opened.view("a", read_only=True), aio.TelescopeState)
        assert_type(await opened.save("a.rdb", keys=iter(["a"])), int)


with RDBWriter("a.rdb") as writer:
    assert_type(writer, RDBWriter)
assert_type(writer.keys_written, int)
write_error: type[telstate.TelstateError] = RdbWriteError
assert_type(RedisBackend.from_url("redis://a", retry=RetryPolicy(seconds=1.0)), RedisBackend)
assert_type(writer.keys_failed, int)
assert_type(writer.failures, dict[bytes, str])

assert_type(telstate.load_ipython_extension(object()), None)
assert_type(telstate.set_allow_pickle("safe"), None)
telstate.set_allow_pickle(PicklePolicy.TRUST, warn=True)
telstate.set_allow_pickle(False)
telstate.set_allow_pickle("sometimes")  # type: ignore[arg-type]  # not a policy
assert_type(telstate.decode_value(b"", allow_pickle="1"), Any)
telstate.decode_value(b"", allow_pickle="yes")  # type: ignore[arg-type]  # not a policy

assert_type(key_tree_text(summarise(ts), "all"), str)
assert_type(key_tree_text(summarise(ts), "all", depth=2, limit=100, width=80), str)
assert_type(summarise(ts, "a*"), list[KeySummary])
assert_type(describe_store(ts), StoreSummary)
assert_type(describe_snapshot("obs.rdb", database=0).snapshot, SnapshotSummary | None)
assert_type(describe_store(ts).keys, dict[KeyType, int])

differences = telstate.compare(ts, ts.view("a"), ["a*", b"b"], full=True)
assert_type(differences, list[KeyDifference])
assert_type(differences[0].values, tuple[ValueDifference, ...])
assert_type(differences[0].changes, list[str])
telstate.verify_snapshot("a.rdb", progress=lambda done, size: None)
merged = telstate.merge(
    [ts, "a.rdb", Path("b.rdb"), gzip.open("c")], "d.rdb", prefer="last", keys=["a"]
)
assert_type(merged, Merged)
assert_type(merged.conflicts, tuple[telstate.MergeConflict, ...])
telstate.merge([ts], "d.rdb", prefer="both")  # type: ignore[arg-type]  # neither first nor last
assert_type(telstate.find_pickles(ts, ["a"]), list[PickledKey])
assert_type(telstate.rewrite_pickles("a.rdb", Path("b.rdb")), RewriteReport)
assert_type(telstate.verify_snapshot(gzip.open("c")), Verification)
assert_type(telstate.verify_snapshot(Path("a.rdb")).problems, list[SnapshotProblem])

assert_type(endpoint_parser(1)("a"), Endpoint)
assert_type(endpoint_list_parser(1)("a"), list[Endpoint])
assert_type(endpoints_to_str([Endpoint("a", 1)]), str)

assert_type(
    to_xarray(ts, "gain", "-2026-11-30", include_end=True), xarray.DataArray | xarray.Dataset
)
report = export(
    ts, "out.jsonl", ["m000_*"], exclude=["*_h"], start=0.0, end="2026-11-30", progress=print
)
assert_type(report, ExportReport)
assert_type(report.encoded, tuple[str, ...])
imported = import_file(ts, Path("out.jsonl"), existing="keep")
assert_type(imported, ImportReport)
assert_type(imported.existing, int)
import_file(ts, gzip.open("out.rdb.gz"), ["m000_*"], database=2, progress=print)
import_file(aio.TelescopeState(), "out.rdb")  # type: ignore[arg-type]  # only synchronous ones

figure = plot_sensors(ts, ["a", "m*"], "2026-11-30", 1.0, stacked=True)
assert_type(figure, Figure)
assert_type(plot_sensors(ts, b"a", ax=figure.axes), Figure)
assert_type(plot_sensors_as_text(ts, "a", width=100, color=True), str)

app = create_app("a.rdb", token="t", allowed_hosts=["b"], prefixes=["c_"], database=1, live=False)
assert_type(app, Starlette)
create_app(aio.TelescopeState(), name="d")
create_app(1)  # type: ignore[arg-type]  # no store
