"""Batches: many calls in one exchange, each with its own result or error, on every backend.

Private limits are lowered and private functions replaced where no test could reach them otherwise.
"""

import asyncio
import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy
import pytest
import redis
import state_subjects
from conftest import SERVERS, marked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_subjects import Subject

from telstate import (
    BatchError,
    BatchStateError,
    ConnectionError,
    DecodeError,
    EncodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    KeyType,
    Pipeline,
    ReadOnlyError,
    TelescopeState,
    TelstateError,
    _batch,
    aio,
)
from telstate_backends import (
    AsyncMemoryBackend,
    MemoryBackend,
    Operation,
    RefusedError,
    SetImmutable,
)
from telstate_backends.deadline import Deadline
from telstate_codec import encode_value


@asynccontextmanager
async def batch(subject: Subject, **options: Any) -> AsyncIterator[Any]:
    """Open a batch of a synchronous or asyncio subject."""
    if isinstance(subject, state_subjects.SyncSubject):
        with subject.state.pipeline(**options) as p:
            yield p
    else:
        async with subject.state.pipeline(**options) as p:
            yield p


async def test_everything_at_once(subject: Subject) -> None:
    """Every method can be queued, in order, and has the result that it has outside a batch."""
    async with batch(subject) as p:
        p["n_chans"] = 4096
        done = [
            p.set("n_pols", 2),
            p.add("gain", 1.5, ts=100.0),
            p.add("gain", 2.0, ts=110.0),
            p.add("mode", "c856M4k", immutable=True),
            p.add_many("phase", numpy.arange(3.0), [1, 3, 2]),
            p.set_indexed("peak", ("a", 1), 2.5),
        ]
        results = {
            "item": p["n_chans"],
            "get": p.get("gain"),
            "default": p.get("nope", 7),
            "encoded": p.get("n_pols", return_encoded=True),
            "indexed": p.get_indexed("peak", ("a", 1)),
            "range": p.get_range("gain", st=0),
            "arrays": p.get_range_arrays("phase", st=0),
            "exists": p.exists("n_chans"),
            "missing": p.exists("nope"),
            "kind": p.key_type("peak"),
            "keys": p.keys("g*"),
            "kinds": p.key_types("[mp]*"),
        }
        later = [p.delete("gain"), p.exists("gain"), p.clear(), p.keys()]
        assert not any(one.done for one in [*done, *results.values(), *later])
        assert await subject.keys() == []
    values = {name: handle.value for name, handle in results.items()}
    timestamps, phases = values.pop("arrays")
    assert timestamps.tolist() == [1.0, 2.0, 3.0]
    assert phases.tolist() == [0.0, 2.0, 1.0]
    assert values == {
        "item": 4096,
        "get": 2.0,
        "default": 7,
        "encoded": encode_value(2),
        "indexed": 2.5,
        "range": [(1.5, 100.0), (2.0, 110.0)],
        "exists": True,
        "missing": False,
        "kind": KeyType.INDEXED,
        "keys": ["gain"],
        "kinds": {"mode": KeyType.IMMUTABLE, "peak": KeyType.INDEXED, "phase": KeyType.MUTABLE},
    }
    assert all(one.done and one.error is None for one in results.values())
    assert [one.value for one in done] == [None] * 6
    assert [one.value for one in later] == [None, False, None, []]


def test_same_signatures() -> None:
    """Every method of a batch has the parameters of the telescope state's method of that name."""
    methods = inspect.getmembers(Pipeline, inspect.isfunction)
    public = [name for name, _ in methods if not name.startswith("_")]
    assert {"get", "get_range_arrays", "add_many", "view", "root", "clear"} < set(public)
    for name in public:
        twin = getattr(
            TelescopeState, {"exists": "__contains__", "set": "__setitem__"}.get(name, name)
        )
        ours = inspect.signature(getattr(Pipeline, name)).parameters.values()
        theirs = inspect.signature(twin).parameters.values()
        assert [(one.name, one.kind, one.default) for one in ours] == [
            (one.name, one.kind, one.default) for one in theirs
        ], name


async def test_views(subject: Subject) -> None:
    """A batch of a view, and views of a batch, read and write under their prefixes."""
    await subject.set("n_chans", 4096)
    async with batch(subject.view("beam")) as p:
        p["n_pols"] = 2
        inner = p.view("x", exclusive=True)
        inner["n_pols"] = 3
        inner.root()["n_pols"] = 4
        found = [
            p["n_chans"],
            p["n_pols"],
            inner["n_pols"],
            inner.get("n_chans"),
            p.root()["n_pols"],
        ]
        assert (p.prefixes, inner.prefixes) == (("beam_", ""), ("x_",))
    assert [one.value for one in found] == [4096, 2, 3, None, 4]
    assert await subject.keys() == ["beam_n_pols", "n_chans", "n_pols", "x_n_pols"]


async def test_read_only(subject: Subject) -> None:
    """A batch of a read-only view reads; queueing a write raises an error."""
    await subject.set("a", 1)
    async with batch(subject.view("", read_only=True)) as p:
        a = p["a"]
        writes: list[Callable[[], object]] = [
            lambda: p.set("b", 1),
            lambda: p.add("b", 1),
            lambda: p.add_many("b", [1], [1]),
            lambda: p.set_indexed("b", 1, 1),
            lambda: p.delete("a"),
            lambda: p.clear(),
        ]
        for write in writes:
            with pytest.raises(ReadOnlyError):
                write()
    assert a.value == 1
    assert await subject.keys() == ["a"]


async def write_failing_keys(subject: Subject) -> None:
    """Write keys that later calls fail on."""
    await subject.set("i", 1)
    await subject.add("m", 1, ts=1.0)
    await subject.execute(SetImmutable(b"bad", b"\x90"))


async def test_errors(subject: Subject) -> None:
    """The error of each failed item is raised and kept in its handle; the other items are done."""
    await write_failing_keys(subject)
    with pytest.raises(BatchError) as caught:
        async with batch(subject) as p:
            handles = [
                p.set("i", 2),
                p.set("j", 3),
                p["nope"],
                p.get("bad"),
                p.get_range("i"),
                p.add("i", 1),
                p.set_indexed("m", 1, 1),
                p.get("j"),
            ]
    error = caught.value
    assert isinstance(error, TelstateError)
    kinds = [ImmutableKeyError, KeyError, DecodeError, *[ImmutableKeyError] * 3]
    assert [isinstance(one, kind) for one, kind in zip(error.exceptions, kinds, strict=True)] == [
        True
    ] * 6
    assert error.message == (
        "6 of the 8 items of the batch failed: set 'i', get 'nope', get 'bad', get_range 'i', add 'i', "
        "set_indexed 'm'"
    )
    for one, key in zip(error.exceptions, ["'i'", "'nope'", "'bad'", "'i'", "'i'", "'m'"]):
        assert key in str(one)
    assert [handle.error for handle in handles if handle.error] == list(error.exceptions)
    assert (handles[1].value, handles[-1].value, handles[-1].error) == (None, 3, None)
    with pytest.raises(KeyError, match="'nope'"):
        handles[2].value  # noqa: B018  # reading it is the test
    assert repr(handles[2]) == "<Queued get 'nope': MissingKeyError>"
    assert repr(handles[-1]) == "<Queued get 'j': 3>"


async def test_errors_left_to_the_handles(subject: Subject) -> None:
    """With `raise_errors=False` the errors of items are only in their handles."""
    await write_failing_keys(subject)
    async with batch(subject, raise_errors=False) as p:
        bad, nope, good = p.get("bad"), p["nope"], p.get("i")
    assert isinstance(bad.error, DecodeError)
    assert isinstance(nope.error, KeyError)
    assert good.value == 1


async def test_except_star() -> None:
    """A `BatchError` can be split by ``except*`` and pickled with its message."""
    ts = TelescopeState()
    ts["i"] = 1
    seen: list[BaseException] = []
    try:
        with ts.pipeline() as p:
            p["i"] = 2
            p["nope"]
    except* KeyError as group:
        seen.append(group)
    except* ImmutableKeyError as group:
        seen.append(group)
    assert [type(group) for group in seen] == [BatchError, BatchError]
    again = pickle.loads(pickle.dumps(seen[0]))
    assert (type(again), str(again)) == (BatchError, str(seen[0]))


async def test_similar_key() -> None:
    """The error for a missing key suggests a similar one, as outside a batch."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    with ts.pipeline(raise_errors=False) as p:
        handle = p["n_chan"]
    assert str(handle.error).endswith("did you mean 'n_chans'?")


async def test_invalid_calls(subject: Subject) -> None:
    """Queueing an invalid call raises at once, and the rest of the batch is sent."""
    async with batch(subject) as p:
        p["a"] = 1
        with pytest.raises(EncodeError, match="'b'"):
            p["b"] = {1}
        with pytest.raises(InvalidTimestampError, match="'c'"):
            p.add("c", 1, ts=-1.0)
        with pytest.raises(InvalidTimestampError):
            p.get_range("c", st=float("nan"))
        with pytest.raises(TypeError, match="not hashable"):
            p.set_indexed("d", [], 1)
        with pytest.raises(TypeError):
            "a" in p  # noqa: B015  # that it is refused is the test
        with pytest.raises(TypeError):
            iter(p)
        with pytest.raises(AttributeError, match=r"p\['n_chans'\]"):
            p.n_chans = 4096
    assert await subject.keys() == ["a"]


async def test_values_are_taken_when_queued(subject: Subject) -> None:
    """Changing a value after it was queued does not change what is stored."""
    value = [1]
    async with batch(subject) as p:
        p["a"] = value
        value.append(2)
    assert await subject.get("a") == [1]


async def test_error_in_block(subject: Subject) -> None:
    """If the block raises an exception, nothing is sent, and the handles say so."""
    with pytest.raises(ZeroDivisionError):
        async with batch(subject) as p:
            handle = p.set("a", 1)
            1 / 0  # noqa: B018  # that it fails is the test
    assert await subject.keys() == []
    looks: list[Callable[[], object]] = [lambda: handle.value, lambda: handle.error]
    for look in looks:
        with pytest.raises(BatchStateError, match="result of set 'a': .* was not sent"):
            look()
    with pytest.raises(BatchStateError, match="get 'a': the batch is not open"):
        p.get("a")


async def test_once(subject: Subject) -> None:
    """A batch is used once, in a with block; any other use raises an error."""
    for early in (subject.state.pipeline(), subject.state.pipeline().view("a")):
        with pytest.raises(BatchStateError, match="Cannot queue get 'a': .* with block"):
            early.get("a")
    async with batch(subject) as p:
        handle = p.exists("a")
        with pytest.raises(BatchStateError, match="'a'.* was not sent"):
            handle.value  # noqa: B018  # reading it is the test
        assert repr(handle) == "<Queued exists 'a': pending>"
        with pytest.raises(BatchStateError, match="already been opened"):
            await enter(p.view("b"))
    with pytest.raises(BatchStateError, match="not open"):
        p.get("a")
    with pytest.raises(BatchStateError, match="already been opened"):
        await enter(p)
    assert handle.value is False


async def test_handles_have_no_truth_value(subject: Subject) -> None:
    """A handle has no truth value, before or after the batch is sent."""
    async with batch(subject) as p:
        handle: Any = p.exists("nope")
        with pytest.raises(TypeError, match="neither true nor false. Use .value"):
            bool(handle)
    with pytest.raises(TypeError, match="neither true nor false"):
        "yes" if handle else "no"
    assert handle.value is False


async def enter(p: Any) -> None:
    """Enter a batch without a with block."""
    if isinstance(p, Pipeline):
        p.__enter__()
    else:
        await p.__aenter__()


async def test_nothing_to_do(subject: Subject) -> None:
    """A batch without items does nothing."""
    async with batch(subject) as p:
        pass
    assert "prefixes ('',)" in repr(p)


async def test_reprs(asynchronous: bool) -> None:
    """The representation of a pipeline names its backend, what is queued, and the prefixes."""
    p: Any = (aio.TelescopeState() if asynchronous else TelescopeState()).pipeline()
    place = "AsyncMemoryBackend" if asynchronous else "MemoryBackend"
    assert repr(p) == f"<Pipeline on {place}, not open, prefixes ('',)>"
    await enter(p)
    assert repr(p) == f"<Pipeline on {place}, 0 calls queued, prefixes ('',)>"
    view = p.view("beam")
    view.get("n_chans")
    assert repr(view) == f"<Pipeline on {place}, 1 call queued, prefixes ('beam_', '')>"
    if asynchronous:
        await p.__aexit__(None, None, None)
    else:
        p.__exit__(None, None, None)
    assert repr(p) == f"<Pipeline on {place}, ended, prefixes ('',)>"


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([0, 1, 1.5, "text"])
MOMENTS = st.sampled_from([0.0, 1.0, 2.5])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["get", "exists", "key_type", "delete", "get_range"]), KEYS),
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("add"), KEYS, VALUES, MOMENTS),
    st.tuples(st.just("add_many"), KEYS, st.just([1, 2]), st.just([1.0, 2.0])),
    st.tuples(st.just("set_indexed"), KEYS, VALUES, VALUES),
    st.tuples(st.just("get_indexed"), KEYS, VALUES),
    st.tuples(st.just("get_range"), KEYS, MOMENTS, MOMENTS, st.booleans(), st.booleans()),
    st.tuples(st.sampled_from(["keys", "key_types", "clear"])),
)


@settings(
    max_examples=30,
    deadline=None,
    # The subject is emptied at the beginning of each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(STEPS, max_size=12))
async def test_as_one_by_one(subject: Subject, steps: list[tuple[Any, ...]]) -> None:
    """For any calls, a batch has the same results, errors and keys as single calls."""
    expected: list[object] = []
    model = TelescopeState()
    alone: dict[str, Callable[..., object]] = {
        "set": model.__setitem__,
        "exists": model.__contains__,
    }
    for name, *arguments in steps:
        method = alone.get(name) or getattr(model, name)
        try:
            expected.append(method(*arguments))
        except (TelstateError, KeyError) as error:
            expected.append((type(error), error.args))
    await subject.clear()
    async with batch(subject, raise_errors=False) as p:
        handles = [getattr(p, name)(*arguments) for name, *arguments in steps]
    results = [
        handle.value if handle.error is None else (type(handle.error), handle.error.args)
        for handle in handles
    ]
    assert results == expected
    assert await subject.key_types() == model.key_types()


# Exchanges, counted by the backend


class Counting(MemoryBackend):
    """A backend in memory that records how many operations each exchange has, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.fail_at = -1
        self.failure: BaseException = ConnectionError("the store is gone")

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        if len(self.counts) == self.fail_at:
            raise self.failure
        self.counts.append(len(operations))
        return super().execute_many(operations)


class AsyncCounting(AsyncMemoryBackend):
    """The asyncio version of `Counting`."""

    def __init__(self, counting: Counting) -> None:
        super().__init__(counting.store)
        self.counting = counting

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        await asyncio.sleep(0)
        return self.counting.execute_many(operations)


@pytest.fixture
def counting() -> Counting:
    """A backend that counts."""
    return Counting()


@pytest.fixture
def counted(counting: Counting, asynchronous: bool) -> Subject:
    """A telescope state, synchronous or asyncio, on that backend."""
    if asynchronous:
        return Subject(aio.TelescopeState(AsyncCounting(counting)))
    return state_subjects.SyncSubject(TelescopeState(counting))


async def test_exchanges(
    counted: Subject, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is one exchange; a large one is split in order by its number of items and bytes."""
    monkeypatch.setattr(_batch, "MAX_ITEMS", 4)
    async with batch(counted) as p:
        handles = [p.set(f"key{n}", n) for n in range(4)]
    async with batch(counted) as p:
        handles += [p.get("key3") for n in range(9)]
    assert counting.counts == [4, 4, 4, 1]
    assert [one.value for one in handles] == [None] * 4 + [3] * 9
    counting.counts.clear()
    monkeypatch.setattr(_batch, "MAX_BYTES", 100)
    async with batch(counted) as p:
        p.set("a", bytes(200))
        p.set_indexed("b", 1, bytes(40))
        p.add("c", bytes(40))
        p.add_many("d", [bytes(40)], [1])
        p.get("a")
    assert counting.counts == [1, 2, 2]


async def test_samples_that_follow_each_other(counted: Subject, counting: Counting) -> None:
    """Consecutive samples for one key are sent as one operation, and each has its own result."""
    await counted.set("i", 1)
    async with batch(counted, raise_errors=False) as p:
        good = [p.add("gain", n, ts=n) for n in range(5)]
        other = p.add("phase", 1, ts=1)
        late = [p.add("gain", n, ts=n) for n in (9, 8)]
        bad = [p.add("i", n) for n in range(3)]
        last = p.get("gain")
    assert counting.counts == [5]
    assert [one.value for one in (*good, other, *late)] == [None] * 8
    assert [type(one.error) for one in bad] == [ImmutableKeyError] * 3
    assert last.value == 9
    expected = [(n, float(n)) for n in (0, 1, 2, 3, 4, 8, 9)]
    assert await counted.get_range("gain", st=0) == expected


@pytest.mark.slow
async def test_ten_thousand_items_per_exchange(counted: Subject, counting: Counting) -> None:
    """A batch sends ten thousand items per exchange, and each has its result."""
    async with batch(counted) as p:
        handles = [p.set(f"key{n}", n) for n in range(11_000)]
        handles += [p.get(f"key{n}") for n in range(11_000)]
    assert counting.counts == [10_000, 10_000, 2_000]
    assert [one.value for one in handles[11_000:]] == list(range(11_000))


async def test_many_failures(counted: Subject) -> None:
    """All errors of a batch are raised, and the message names the first hundred."""
    with pytest.raises(BatchError) as caught:
        async with batch(counted) as p:
            for n in range(150):
                p[f"nope{n}"]
    assert len(caught.value.exceptions) == 150
    assert caught.value.message.startswith(
        "150 of the 150 items of the batch failed: get 'nope0', "
    )
    assert caught.value.message.endswith(", get 'nope99' and 50 more")


@pytest.mark.parametrize("raise_errors", [True, False])
async def test_connection_lost(
    counted: Subject, counting: Counting, monkeypatch: pytest.MonkeyPatch, raise_errors: bool
) -> None:
    """A lost connection raises its own error; items that were done before keep their results."""
    monkeypatch.setattr(_batch, "MAX_ITEMS", 2)
    counting.fail_at = 1
    with pytest.raises(ConnectionError, match="gone"):
        async with batch(counted, raise_errors=raise_errors) as p:
            handles = [p.set(f"key{n}", n) for n in range(5)]
    assert [handle.error for handle in handles] == [None] * 2 + [counting.failure] * 3
    with pytest.raises(ConnectionError, match="gone"):
        handles[-1].value  # noqa: B018  # reading it is the test
    assert await counted.keys() == ["key0", "key1"]


async def test_interrupted(counted: Subject, counting: Counting) -> None:
    """An interrupted batch raises the interruption, and its handles say that the results are unknown."""
    counting.fail_at, counting.failure = 0, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        async with batch(counted) as p:
            handle = p.set("a", 1)
    assert not handle.done
    with pytest.raises(BatchStateError, match="was interrupted"):
        handle.value  # noqa: B018  # reading it is the test


async def test_cancelled() -> None:
    """Cancelling a task while its batch is sent leaves the results unknown."""
    ts = aio.TelescopeState(AsyncCounting(Counting()))
    handles = []

    async def send() -> None:
        async with ts.pipeline() as p:
            handles.append(p.set("a", 1))

    task = asyncio.create_task(send())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(BatchStateError, match="was interrupted"):
        handles[0].value  # noqa: B018  # reading it is the test


async def test_queueing_while_it_is_sent() -> None:
    """While a batch is sent, another task can neither queue nor read results."""
    p = aio.TelescopeState(AsyncCounting(Counting())).pipeline()
    refused: list[str] = []

    async def late() -> None:
        uses: list[Callable[[], object]] = [lambda: p.exists("b"), lambda: handle.value]
        for use in uses:
            with pytest.raises(BatchStateError) as caught:
                use()
            refused.append(str(caught.value))

    async with p:
        handle = p.exists("a")
        other = asyncio.create_task(late())  # It begins when the batch is awaited.
    await other
    assert handle.value is False
    assert ["queue exists 'b'" in refused[0], "result of exists 'a'" in refused[1]] == [True, True]


async def test_errors_name_the_item(counted: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error from the server names its item and keeps the original as its cause."""
    refusal = RefusedError("Redis at localhost is out of memory")
    monkeypatch.setattr(SetImmutable, "apply", lambda self, store: raise_(refusal))
    with pytest.raises(BatchError) as caught:
        async with batch(counted) as p:
            p["a"] = 1
    (error,) = caught.value.exceptions
    assert (type(error), str(error)) == (RefusedError, f"set 'a': {refusal}")
    assert error.__cause__ is refusal


def raise_(error: Exception) -> None:
    raise error


async def test_unexpected_errors(counted: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error while decoding an item belongs to that item only."""
    monkeypatch.setattr("telstate._calls.read.decode_samples", lambda *_: raise_(LookupError("!")))
    await counted.add("m", 1)
    async with batch(counted, raise_errors=False) as p:
        before, bad, after = p.get("m"), p.get_range("m"), p.exists("m")
    assert (before.value, str(bad.error), after.value) == (1, "!", True)


def test_threads() -> None:
    """Several threads can queue in one batch."""
    ts = TelescopeState()
    with ts.pipeline() as p:

        def work(number: int) -> None:
            for n in range(100):
                p.add("gain", 100 * number + n, ts=1.0)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(value for value, _ in ts.get_range("gain", st=0)) == list(range(400))


# Several keys


async def test_get_many(subject: Subject) -> None:
    """`get_many` returns several keys in the given order and leaves out missing ones."""
    await subject.set("i", None)
    await subject.add("m", 1.5)
    await subject.set_indexed("x", 1, 2)
    assert await subject.get_many(["x", "nope", b"m", "i"]) == {"x": {1: 2}, b"m": 1.5, "i": None}
    assert list(await subject.get_many(["x", "nope", b"m", "i"])) == ["x", b"m", "i"]
    assert await subject.get_many(iter(["i"]), return_encoded=True) == {"i": encode_value(None)}
    assert await subject.get_many([]) == {}
    assert await subject.view("beam").get_many(["i"]) == {"i": None}
    assert await subject.get_many("i") == {"i": None}


async def test_get_many_that_cannot_be_decoded(subject: Subject) -> None:
    """The error of `get_many` names every key that cannot be decoded."""
    await write_failing_keys(subject)
    await subject.execute(SetImmutable(b"worse", b"\x91"))
    with pytest.raises(BatchError, match="get 'bad', get 'worse'") as caught:
        await subject.get_many(["i", "bad", "worse"])
    assert [type(error) for error in caught.value.exceptions] == [DecodeError] * 2


async def test_key_types(subject: Subject) -> None:
    """`key_types` returns the kinds of all keys, or of those that match a glob, sorted."""
    await subject.set("i", 1)
    await subject.add("m", 1)
    await subject.set_indexed("x", 1, 1)
    await subject.set("süd", 1)
    expected = {
        "i": KeyType.IMMUTABLE,
        "m": KeyType.MUTABLE,
        "süd": KeyType.IMMUTABLE,
        "x": KeyType.INDEXED,
    }
    assert list((await subject.key_types()).items()) == list(expected.items())
    assert await subject.view("beam").key_types() == expected
    assert await subject.key_types("[mx]") == {"m": KeyType.MUTABLE, "x": KeyType.INDEXED}
    assert await subject.key_types("nope") == {}


async def test_add_many(subject: Subject) -> None:
    """`add_many` stores samples as `add` does: sorted by time, equal ones once."""
    await subject.view("beam").add_many("gain", [3, 1, 2, 1], [30.0, 10, 20, 10])
    assert await subject.get_range("beam_gain", st=0) == [(1, 10.0), (2, 20.0), (3, 30.0)]
    await subject.add_many("beam_gain", numpy.array([1.5, 2.5]), numpy.array([15, 10]))
    assert [v for v, _ in await subject.get_range("beam_gain", st=0)] == [1, 2.5, 1.5, 2, 3]
    await subject.add_many("empty", [], [])
    assert not await subject.exists("empty")


async def test_add_many_writes_what_add_writes(subject: Subject) -> None:
    """`add_many` stores the same bytes as `add`, for arrays and for lists."""
    samples: dict[str, Any] = {
        "f8": numpy.arange(5) / 7,
        "f4": numpy.arange(5, dtype=">f4"),
        "i2": numpy.arange(5, dtype="i2")[::-1],
        "bool": numpy.arange(5) > 2,
        "time": numpy.arange(5).astype("M8[ns]"),
        "text": numpy.array(["on", "off", "on", "off", "x"]),
        "rows": numpy.arange(30.0).reshape(5, 3, 2),
        "columns": numpy.arange(10.0).reshape(2, 5).T,
        "structures": numpy.zeros(5, [("a", "f8"), ("b", "i4")]),
        "floats": [0.5, 1.5, float("nan"), -0.0, 1e300],
        "mixture": [1, "two", (3,), None, {"five": 5}],
    }
    for name, values in samples.items():
        times = [5.0, 1.0, 3.0, 2.0, 4.0]
        await subject.add_many(f"many_{name}", values, times)
        for value, time in zip(values, times):
            await subject.add(f"each_{name}", value, ts=time)
        many, each = [
            await subject.get_range(f"{how}_{name}", st=0, return_encoded=True)
            for how in ("many", "each")
        ]
        assert many == each


async def test_add_many_refused(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invalid samples are refused as a whole, with an error that names the key."""
    await subject.set("i", 1)
    for values in ([], [1, 2]):
        with pytest.raises(ImmutableKeyError, match="'i'"):
            await subject.add_many("i", values, range(len(values)))
    with pytest.raises(ValueError, match="'m': There are 2 values and 3 timestamps"):
        await subject.add_many("m", [1, 2], [1, 2, 3])
    with pytest.raises(EncodeError, match="'m': Value 1 of 2"):
        await subject.add_many("m", [1, {1}], [1, 2])
    with pytest.raises(InvalidTimestampError, match="'m': Sample 1 of 2"):
        await subject.add_many("m", [1, 2], numpy.array([1.0, numpy.nan]))
    with pytest.raises(TypeError, match="'m': The values must be a sequence"):
        await subject.add_many("m", "on", [1, 2])
    monkeypatch.setattr("telstate._calls.write.MAX_SAMPLES", 2)
    with pytest.raises(ValueError, match="'m': cannot add 3 samples at once"):
        await subject.add_many("m", [1, 2, 3], [1, 2, 3])
    assert await subject.keys() == ["i"]


# Round trips, counted by the server


@pytest.fixture(params=marked(*SERVERS))
def url(request: pytest.FixtureRequest, server_port: Callable[[str], int]) -> str:
    """The URL of an empty server of each version in turn."""
    return f"redis://127.0.0.1:{server_port(request.param)}"


async def reads(url: str, subject: Subject, action: Callable[[], Any]) -> int:
    """Return how many reads from clients an action costs the server, the least of five tries."""
    counts: list[int] = []
    with redis.Redis.from_url(url) as client:
        for _ in range(5):  # A client that disconnects meanwhile is a read too.
            before = client.info("stats")["total_reads_processed"]
            await action()
            counts.append(client.info("stats")["total_reads_processed"] - before - 1)
    return min(counts)


async def test_one_round_trip(url: str, asynchronous: bool) -> None:
    """A batch of reads and writes, or reading many keys, is one read by the server."""
    subject = await state_subjects.real(asynchronous, url)
    view = subject.view("a").view("b").view("c")

    async def mixture() -> None:
        async with batch(view, raise_errors=False) as p:
            p["n_chans"] = 4096
            for n in range(6):  # redis-py sends more than 6,000 bytes in several parts
                p.add("gain", n, ts=n)
                p.get("nope")
            p.get_range("gain", st=0)
            p.get_range("nope")
            p.exists("gain")
            p.set_indexed("peak", n, n)
            p.delete("n_chans")

    async def many() -> None:
        assert len(await view.get_many(["gain"] * 30 + ["nope"])) == 1

    assert await reads(url, subject, mixture) == 1
    assert await reads(url, subject, many) == 1
    await subject.close()


async def test_a_thousand_samples_are_one_command(url: str, asynchronous: bool) -> None:
    """A thousand samples are one command, so they become visible together."""
    subject = await state_subjects.real(asynchronous, url)
    with redis.Redis.from_url(url) as client:
        await subject.add_many("gain", numpy.arange(1000.0), numpy.arange(1000))
        client.config_resetstat()
        await subject.add_many("gain", numpy.arange(1000.0), numpy.arange(1000) + 5000)
        calls = {
            name: entry["calls"]
            for name, entry in client.info("commandstats").items()
            if name in ("cmdstat_eval", "cmdstat_evalsha")
        }
        assert sum(calls.values()) == 1
        assert client.zcard("gain") == 2000
    await subject.close()


async def test_kinds_of_1500_keys(url: str, asynchronous: bool) -> None:
    """Listing the kinds of 1,500 keys takes the server at most three reads."""
    subject = await state_subjects.real(asynchronous, url)
    async with batch(subject) as p:
        for n in range(500):
            p[f"i{n}"] = n
            p.add(f"m{n}", n)
            p.set_indexed(f"x{n}", n, n)

    async def look() -> None:
        assert len(await subject.key_types()) == 1500

    assert await reads(url, subject, look) <= 3
    await subject.close()


async def test_half_refused(url: str, asynchronous: bool) -> None:
    """If the server refuses some items, the error names them, and the others are done."""
    subject = await state_subjects.real(asynchronous, url)
    await subject.set("a", 1)
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BatchError, match="2 of the 4 items .*: set 'b', add 'c'") as caught:
                async with batch(subject) as p:
                    first = p["a"]
                    p["b"] = 2
                    p.add("c", 3)
                    last = p.exists("b")
        finally:
            client.config_set("maxmemory", 0)
    for error, name in zip(caught.value.exceptions, ["set 'b'", "add 'c'"], strict=True):
        assert isinstance(error, RefusedError)
        assert str(error).startswith(f"{name}: Redis at ")
        assert "maxmemory" in str(error)
    assert (first.value, last.value) == (1, False)
    await subject.close()


async def test_foreign_keys(url: str) -> None:
    """Keys of other Redis types are not listed."""
    subject = await state_subjects.real(False, url)
    with redis.Redis.from_url(url) as client:
        client.rpush("list", "a")
        await subject.set("a", 1)
        assert await subject.key_types() == {"a": KeyType.IMMUTABLE}
    await subject.close()


@pytest.mark.slow
async def test_a_hundred_thousand_on_a_server(url: str, asynchronous: bool) -> None:
    """A batch of a hundred thousand items works on a real server."""
    subject = await state_subjects.real(asynchronous, url)
    async with batch(subject) as p:
        handles = [p.add("gain", n, ts=n) for n in range(99_999)]
        last = p.get("gain")
    assert last.value == 99_998
    assert all(handle.value is None for handle in handles)
    await subject.close()
