"""How a backend stays with the master that Sentinels name, and notices a switch to another one at once.

Each Sentinel has a listener: a daemon thread, or a task on asyncio. It subscribes to the Sentinel's messages
about switches, and asks it for the master after every message, on every new connection, and every
`INTERVAL` seconds. Then each connection of the backend to another server is cut.

Rules:

- After a message the Sentinel is only asked, so a message about another master has no effect. The answers with
  the highest configuration epoch count, since a Sentinel on the wrong side of a partition has an old one.
- If no Sentinel answers, connections stay in use, and no new ones are made.
- A connection is shut down and not closed. Its user, perhaps another thread, finds it lost and closes it.
- A connection that is made while the master changes is refused by `connected`.
- There are no locks, which a fork could copy while they are held; a child starts listeners of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import redis.asyncio.retry
import redis.exceptions as theirs
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from telstate_backends.deadline import Deadline
from telstate_backends.redis import _client
from telstate_backends.redis._connection import limited
from telstate_backends.redis._errors import FAILURES, MALFORMED
from telstate_backends.retry import FOREVER

logger = logging.getLogger(__name__)

#: Seconds without a message after which a Sentinel is asked for the master.
INTERVAL = 2.0

#: The messages about switches. The second precedes the first on the Sentinel that leads a failover.
_CHANNELS = (b"+switch-master", b"+promoted-slave")

_LOST = (*FAILURES, *MALFORMED)

Address: TypeAlias = tuple[str, int]


@attrs.frozen
class Report:
    """The report of one Sentinel about the master."""

    #: The number of the failover that made it the master.
    epoch: int
    address: Address
    #: Whether the Sentinel can reach it.
    is_up: bool


@attrs.frozen
class Sentinel:
    """How to connect to one Sentinel, and what to ask it."""

    number: int
    #: Returns a new connection of redis-py's, which connects when it is first used.
    connect: Callable[[], Any]
    service: str
    #: How many other Sentinels it must know for its reports to count.
    others: int = 0
    #: The host of the master whatever Sentinels say, None to believe them.
    host: str | None = None

    @property
    def questions(self) -> list[tuple[str, ...]]:
        """The commands that ask for the master."""
        return [
            ("SENTINEL", "MASTER", self.service),
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service),
        ]

    def parse(self, replies: Sequence[Any]) -> Report | None:
        """Return the report in the replies, or None if it does not count; an error among them is raised."""
        for reply in replies:
            if isinstance(reply, theirs.ResponseError):
                if "No such master" in str(reply):
                    return None
                raise reply
        fields, place = replies
        state = dict(zip(fields[::2], fields[1::2]))
        if place is None or int(state[b"num-other-sentinels"]) < self.others:
            return None
        # During a failover the state is that of the old master, and the place the new one.
        is_same = place == [state[b"ip"], state[b"port"]]
        is_down = is_same and not {b"s_down", b"o_down"}.isdisjoint(state[b"flags"].split(b","))
        address = (self.host or place[0].decode(), int(place[1]))
        return Report(int(state[b"config-epoch"]), address, is_up=not is_down)


class Reports:
    """The last reports of some Sentinels, by number."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._reports: dict[int, Report | None] = {}
        #: The Sentinels that answered when they were last asked.
        self.heard: set[int] = set()

    def record(self, number: int, report: Report | None) -> None:
        """Record what a Sentinel reports now."""
        self._reports[number] = report
        self.heard.add(number)

    def lose(self, number: int) -> None:
        """Record that a Sentinel does not answer; its last report still counts."""
        self.heard.discard(number)

    @property
    def addresses(self) -> set[Address]:
        """The addresses of the master: none if it is unknown, several if Sentinels spell the address differently."""
        reports = {number: each for number, each in list(self._reports.items()) if each is not None}
        heard = {number: each for number, each in reports.items() if number in self.heard}
        # If all were set up anew, their epochs begin again; one that is gone cannot say so.
        counted = (heard if 2 * len(heard) > self._count else reports).values()
        latest = max((each.epoch for each in counted), default=0)
        return {each.address for each in counted if each.epoch == latest}

    @property
    def current(self) -> Address | None:
        """The address of the master, if a Sentinel that answers can reach it."""
        addresses = self.addresses
        for number, report in list(self._reports.items()):
            if number in self.heard and report is not None and report.is_up:
                if report.address in addresses:
                    return report.address
        return None


class MasterState:
    """The master as it is known in one process, or in one event loop, and the connections to it."""

    def __init__(self, name: str, sentinels: Sequence[Sentinel]) -> None:
        self.name = name
        self.reports = Reports(len(sentinels))
        self.stopped = threading.Event()
        #: The connections of the threads that listen.
        self.listening: set[Any] = set()
        #: The tasks that listen.
        self.tasks: list[asyncio.Task[None]] = []
        self._process = os.getpid()
        self._sentinels = sentinels
        self._connections: set[weakref.ref[Any]] = set()
        self._master: set[Address] = set()
        #: Whether a Sentinel answers, according to the last message in the log.
        self._is_heard = True

    def add(self, connection: Any) -> None:
        """Add a connection to a server, as soon as it has a socket."""
        self._connections.add(weakref.ref(connection, self._connections.discard))

    def check(self, connection: Any) -> None:
        """Raise if a connection is not to the master."""
        if self._is_elsewhere(connection, self.reports.addresses) and not self.stopped.is_set():
            place = _client.join_address(connection.host, connection.port)
            raise theirs.ConnectionError(f"{place} is not the master any more")

    def order(self) -> list[Sentinel]:
        """Return all Sentinels, first those that answered last time."""
        return sorted(self._sentinels, key=lambda each: each.number not in self.reports.heard)

    def receive(self, sentinel: Sentinel, replies: Sequence[Any]) -> None:
        """Process replies, and cut connections to others than the master."""
        self.reports.record(sentinel.number, sentinel.parse(replies))
        if not self._is_heard:
            self._is_heard = True
            logger.warning("A Sentinel answers again for %s.", self.name)
        addresses = self.reports.addresses
        before, self._master = self._master, addresses or self._master
        if before and before.isdisjoint(self._master):
            places = " or ".join(_client.join_address(*each) for each in sorted(addresses))
            logger.warning("The %s is at %s now.", self.name, places)
        for reference in list(self._connections):
            connection = reference()
            if connection is not None and self._is_elsewhere(connection, addresses):
                _client.cut(connection)

    def lose(self, sentinel: Sentinel, error: BaseException) -> None:
        """Record that a Sentinel does not answer."""
        self.reports.lose(sentinel.number)
        if self._master and self._is_heard and not (self.reports.heard or self.stopped.is_set()):
            self._is_heard = False
            logger.warning(
                "No Sentinel answers for %s (%s). Connections stay in use, but a switch to another "
                "master will not be noticed.",
                self.name,
                error,
            )

    def stop(self) -> None:
        """Stop the listeners."""
        if self._process != os.getpid():
            return  # the sockets are the parent's too, and to shut them down here would do so there
        self.stopped.set()
        for connection in list(self.listening):
            _client.cut(connection)
        for task in self.tasks:
            loop = task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    def _is_elsewhere(self, connection: Any, addresses: set[Address]) -> bool:
        return bool(addresses) and (connection.host, connection.port) not in addresses


class _Follower:
    """The common part of both followers, which replace the object by which a pool of redis-py finds the master."""

    def __init__(self, pool: Any, no_retry: Any, kind: Callable[[type], type]) -> None:
        manager = pool.sentinel_manager
        #: The clients of the Sentinels, as that object has them.
        self.sentinels: list[Any] = manager.sentinels
        self._name = _client.address_of(pool)
        self._sentinels = [
            Sentinel(
                number,
                _client.connection_factory(client, no_retry, kind),
                pool.service_name,
                manager.min_other_sentinels,
                getattr(manager, "_force_master_ip", None),
            )
            for number, client in enumerate(self.sentinels)
        ]
        #: By process or event loop.
        self._states: dict[object, MasterState] = {}
        self._hooks = _client.MasterHooks(pool, self, self.connected)

    def connected(self, connection: Any) -> Any:
        """Set up a connection that has just been made."""
        raise NotImplementedError

    def release(self) -> None:
        """Stop the listeners, and let the pool find the master as it did before."""
        self._hooks.restore()
        for state in list(self._states.values()):
            state.stop()

    def _begin(self, owner: object) -> MasterState:
        """Return the state; start the listeners if this process or event loop has none yet."""
        state = self._states.get(owner)
        if state is None:
            made = MasterState(self._name, self._sentinels)
            state = self._states.setdefault(owner, made)  # unless another thread was faster
            if state is made:
                # Also for a backend that is dropped without being closed.
                weakref.finalize(self, state.stop)
                for sentinel in self._sentinels:
                    self._listen(state, sentinel)
        return state

    def _listen(self, state: MasterState, sentinel: Sentinel) -> None:
        """Start a listener."""
        raise NotImplementedError

    def _not_found(self, cause: BaseException | None) -> BaseException:
        """Return the error for Sentinels none of which can reach a master."""
        if isinstance(cause, theirs.ResponseError):
            return cause
        error = MasterNotFoundError(f"No master found for {self._sentinels[0].service!r}")
        error.__cause__ = cause
        return error


class MasterFollower(_Follower):
    """Finds the master for a synchronous pool, and follows it with a thread for each Sentinel."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool, Retry(NoBackoff(), 0), limited)

    def connected(self, connection: Any) -> None:
        """Set up a connection that has just been made."""
        state = self._begin(os.getpid())
        state.add(connection)
        self._hooks.greet(connection)
        state.check(connection)

    def discover_master(self, service: str) -> Address:
        """Return the address of the master, for the pool; raises as redis-py does."""
        return self._begin(os.getpid()).reports.current or self.ask()

    def ask(self, deadline: Deadline | None = None) -> Address:
        """Ask the Sentinels for the address of the master; raises as redis-py does."""
        state = self._begin(os.getpid())
        cause: BaseException | None = None
        for sentinel in state.order():
            connection = sentinel.connect()
            try:
                connection.deadline = deadline
                state.receive(sentinel, _ask(connection, sentinel))
            except FAILURES as error:
                state.lose(sentinel, error)
                cause = error
            finally:
                connection.disconnect()
            if (address := state.reports.current) is not None:
                return address
        raise self._not_found(cause)

    def _listen(self, state: MasterState, sentinel: Sentinel) -> None:
        arguments = (state, sentinel)
        threading.Thread(
            target=_listen, args=arguments, name="telstate Sentinel", daemon=True
        ).start()


def _ask(connection: Any, sentinel: Sentinel) -> list[Any]:
    """Return a Sentinel's replies to the questions, an error for one that failed."""
    connection.send_packed_command(connection.pack_commands(sentinel.questions))
    replies: list[Any] = []
    for _ in sentinel.questions:
        try:
            replies.append(connection.read_response())
        except theirs.ResponseError as error:
            replies.append(error)
    return replies


def _subscribe(connection: Any) -> bool:
    """Subscribe to the messages about switches; return False if the user may not."""
    connection.send_command("SUBSCRIBE", *_CHANNELS)
    try:
        for _ in _CHANNELS:
            connection.read_response()
    except theirs.ResponseError:
        return False
    return True


def _listen(state: MasterState, sentinel: Sentinel) -> None:
    """Listen to one Sentinel until the end."""
    attempts = FOREVER.begin()
    while not state.stopped.is_set():
        connections = subscribed, asking = sentinel.connect(), sentinel.connect()
        state.listening.update(connections)
        try:
            is_subscribed = _subscribe(subscribed)
            while not state.stopped.is_set():
                state.receive(sentinel, _ask(asking, sentinel))
                attempts = FOREVER.begin()
                if not is_subscribed:
                    state.stopped.wait(INTERVAL)
                elif subscribed.can_read(timeout=INTERVAL):
                    subscribed.read_response()
        except _LOST as error:
            state.lose(sentinel, error)
        finally:
            for each in connections:
                each.disconnect()
            state.listening.difference_update(connections)
        state.stopped.wait(attempts.next_delay())


class AsyncMasterFollower(_Follower):
    """Finds the master for an asyncio pool, and follows it with a task for each Sentinel."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool, redis.asyncio.retry.Retry(NoBackoff(), 0), lambda kind: kind)

    async def connected(self, connection: Any) -> None:
        """Set up a connection that has just been made."""
        state = self._begin(asyncio.get_running_loop())
        state.add(connection)
        await self._hooks.greet(connection)
        state.check(connection)

    async def discover_master(self, service: str) -> Address:
        """Return the address of the master, for the pool; raises as redis-py does."""
        return self._begin(asyncio.get_running_loop()).reports.current or await self.ask()

    async def ask(self) -> Address:
        """Ask the Sentinels for the address of the master; raises as redis-py does."""
        state = self._begin(asyncio.get_running_loop())
        cause: BaseException | None = None
        for sentinel in state.order():
            connection = sentinel.connect()
            try:
                state.receive(sentinel, await _ask_async(connection, sentinel))
            except FAILURES as error:
                state.lose(sentinel, error)
                cause = error
            finally:
                await connection.disconnect(nowait=True)
            if (address := state.reports.current) is not None:
                return address
        raise self._not_found(cause)

    async def wait_released(self) -> None:
        """Stop the listeners and wait for their end."""
        self.release()
        state = self._states.get(asyncio.get_running_loop())
        if state is not None:
            await asyncio.wait(state.tasks)

    def _listen(self, state: MasterState, sentinel: Sentinel) -> None:
        task = asyncio.create_task(_listen_async(state, sentinel), name="telstate Sentinel")
        state.tasks.append(task)


async def _ask_async(connection: Any, sentinel: Sentinel) -> list[Any]:
    """Return a Sentinel's replies to the questions, an error for one that failed."""
    await connection.send_packed_command(connection.pack_commands(sentinel.questions))
    replies: list[Any] = []
    for _ in sentinel.questions:
        try:
            replies.append(await connection.read_response())
        except theirs.ResponseError as error:
            replies.append(error)
    return replies


async def _subscribe_async(connection: Any) -> bool:
    """Subscribe to the messages about switches; return False if the user may not."""
    await connection.send_command("SUBSCRIBE", *_CHANNELS)
    try:
        for _ in _CHANNELS:
            await connection.read_response()
    except theirs.ResponseError:
        return False
    return True


async def _listen_async(state: MasterState, sentinel: Sentinel) -> None:
    """Listen to one Sentinel until the end."""
    attempts = FOREVER.begin()
    while not state.stopped.is_set():
        connections = subscribed, asking = sentinel.connect(), sentinel.connect()
        try:
            is_subscribed = await _subscribe_async(subscribed)
            # Before Python 3.12, a cancellation may be lost in redis-py.
            while not state.stopped.is_set():
                state.receive(sentinel, await _ask_async(asking, sentinel))
                attempts = FOREVER.begin()
                if is_subscribed:
                    await subscribed.read_response(timeout=INTERVAL)
                else:
                    await asyncio.sleep(INTERVAL)
        except _LOST as error:
            state.lose(sentinel, error)
        finally:
            for each in connections:
                await each.disconnect(nowait=True)
        await asyncio.sleep(attempts.next_delay() or 0.0)
