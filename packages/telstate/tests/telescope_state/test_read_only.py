"""Read-only views refuse every write before it leaves the process."""

import asyncio
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from telstate import MemoryBackend, ReadOnlyError, TelescopeState, TelstateError, aio
from telstate.aio.memory import MemoryBackend as AsyncMemoryBackend
from telstate_backends import Operation
from telstate_backends.deadline import Deadline


class Counting(MemoryBackend):
    """A backend that counts its operations."""

    asked = 0

    def execute(self, operation: Operation[Any], /, *, deadline: Deadline | None = None) -> Any:
        self.asked += 1
        return super().execute(operation)

    def execute_many(self, operations: Any, /, *, deadline: Deadline | None = None) -> list[Any]:
        self.asked += 1
        return super().execute_many(operations)


def assign_attribute(ts: TelescopeState) -> None:
    """Return a function that sets a key as an attribute."""
    ts.k = 1


def in_batch(write: Callable[[Any], object]) -> Callable[[TelescopeState], object]:
    """Return a function that queues a call in a batch."""

    def run(ts: TelescopeState) -> None:
        with ts.pipeline() as p:
            p.get("k")
            write(p)

    return run


WRITES: dict[str, Callable[[TelescopeState], object]] = {
    "set": lambda ts: ts.__setitem__("k", 1),
    "attribute": assign_attribute,
    "add": lambda ts: ts.add("k", 1),
    "add immutable": lambda ts: ts.add("k", 1, immutable=True),
    "set_indexed": lambda ts: ts.set_indexed("k", 1, 2),
    "delete": lambda ts: ts.delete("k"),
    "clear": lambda ts: ts.clear(),
    "load": lambda ts: ts.load_from_file("observation.rdb"),
    "add_many": lambda ts: ts.add_many("k", [1.0], [2.0]),
    "batch set": in_batch(lambda p: p.set("k", 1)),
    "batch item": in_batch(lambda p: p.__setitem__("k", 1)),
    "batch add": in_batch(lambda p: p.add("k", 1)),
    "batch add_many": in_batch(lambda p: p.add_many("k", [1.0], [2.0])),
    "batch set_indexed": in_batch(lambda p: p.set_indexed("k", 1, 2)),
    "batch delete": in_batch(lambda p: p.delete("k")),
    "batch view": in_batch(lambda p: p.view("b").set("k", 1)),
}
# Methods that write. Each is in the table above, which tests that it is refused.
WRITING = {"set", "add", "add_many", "set_indexed", "delete", "clear", "load_from_file"}
# Methods that do not write.
READING = {
    *(
        "get",
        "get_indexed",
        "get_many",
        "get_range",
        "get_range_arrays",
        "to_pandas",
        "to_dataframe",
    ),
    *(
        "exists",
        "is_immutable",
        "join",
        "key_type",
        "key_types",
        "keys",
        "root",
        "view",
        "pipeline",
    ),
    *("wait_indexed", "wait_key", "wait_keys", "watch", "save", "from_snapshot"),
    *("close", "wait_closed"),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_are_refused(name: str) -> None:
    """Every write raises a ReadOnlyError with the key, and the backend is not used."""
    backend = Counting()
    view = TelescopeState(backend).view("a", read_only=True)
    with pytest.raises(ReadOnlyError, match="is read-only") as caught:
        WRITES[name](view)
    assert isinstance(caught.value, TelstateError)
    assert name in ("clear", "load") or re.match(
        "Cannot (write|delete) key 'k': ", str(caught.value)
    )
    assert backend.asked == 0


async def test_writes_are_refused_under_asyncio() -> None:
    """The asyncio class refuses the same."""
    backend = AsyncMemoryBackend()
    view = aio.TelescopeState(backend).view("a", read_only=True)
    for write in (
        view.set("k", 1),
        view.add("k", 1),
        view.set_indexed("k", 1, 2),
        view.delete("k"),
        view.clear(),
        view.load_from_file("observation.rdb"),
    ):
        with pytest.raises(ReadOnlyError):
            await write
    assert backend.store.data == {}


@pytest.mark.parametrize("kind", [TelescopeState, aio.TelescopeState])
def test_every_method_is_known(kind: type) -> None:
    """Each public method is listed here as reading or writing."""
    public = {
        name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))
    }
    assert public - WRITING - READING == set()


def test_reads_go_on(ts: TelescopeState, tmp_path: Path) -> None:
    """A read-only view reads, also what was written by others later."""
    ts["n_chans"] = 4096
    ts.add("gain", 1.5, ts=10.0)
    ts.set_indexed("peak", 1, 2)
    view = ts.view("beam", read_only=True)
    assert view["n_chans"] == view.n_chans == view.get("n_chans") == 4096
    assert view.get_range("gain") == [(1.5, 10.0)]
    assert view.get_indexed("peak", 1) == 2
    assert "gain" in view and view.keys() == ["gain", "n_chans", "peak"]
    view.wait_key("gain", timeout=5)
    ts["beam_n_chans"] = 1024
    assert view["n_chans"] == 1024


def test_read_only_stays() -> None:
    """Views, batches and instances made from a read-only view are read-only."""
    ts = TelescopeState()
    view = ts.view("a", read_only=True)
    made = [
        view,
        view.view("b"),
        view.view("b", read_only=False),
        view.root(),
        ts.root(read_only=True),
        TelescopeState(base=view),
        TelescopeState(base=view.root(), prefixes=("c_", "")),
    ]
    assert [one.read_only for one in made] == [True] * 7
    assert not ts.read_only and not ts.view("a").read_only and not ts.root().read_only
    assert not TelescopeState(view.backend).read_only
    asynchronous = aio.TelescopeState().view("a", read_only=True)
    assert aio.TelescopeState(base=asynchronous).read_only
    assert asynchronous.root().read_only


def test_parameters_of_view() -> None:
    """The first three parameters of `view` are positional; `read_only` is keyword-only."""
    parameters = inspect.signature(TelescopeState.view).parameters
    assert list(parameters) == ["self", "name", "add_separator", "exclusive", "read_only"]
    assert parameters["read_only"].kind is inspect.Parameter.KEYWORD_ONLY
    assert TelescopeState().view("x", False, True).prefixes == ("x",)


class TestClosing:
    """Which telescope state closes the backend."""

    def test_the_owner_closes(self) -> None:
        """The instance that was constructed with the backend closes it; views and instances with a base do not."""
        closed: list[str] = []

        class Backend(MemoryBackend):
            def close(self) -> None:
                closed.append("closed")

        with TelescopeState(Backend()) as ts:
            with ts.view("a") as view, TelescopeState(base=ts) as based, ts.root():
                view["k"] = 1
                assert based["a_k"] == 1
            assert closed == []
        assert closed == ["closed"]

    def test_closed_server(self, ts: TelescopeState) -> None:
        """After `close`, operations on a server raise an error, and data in memory can still be read."""
        ts["k"] = 1
        ts.close()
        ts.close()
        if isinstance(ts.backend, MemoryBackend):
            assert ts["k"] == 1
        else:
            with pytest.raises(TelstateError, match="closed"):
                ts["k"]

    async def test_asyncio(self, ats: aio.TelescopeState) -> None:
        """``async with`` closes the backend and ends its waits; that of a view does not."""
        async with ats:
            async with ats.view("a") as view:
                await view.set("k", 1)
            waiting = asyncio.create_task(ats.wait_key("never"))
            assert await ats.get("a_k") == 1
            await asyncio.sleep(0.01)
        with pytest.raises(TelstateError):
            await waiting
