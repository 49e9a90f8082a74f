"""Hub, room and join against a simple model: whatever Redis and both paths do, in whatever order. By Hypothesis.

Redis's answers come when the machine lets them: a call waits before it is asked and again before it is answered, so
that everything else can happen in between. The model knows which message stood before which in the log when it was
sent, and so whether a client was spared one.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from comet import hub as hubs
from comet import room as rooms
from comet.join import Join
from comet.room import HELD
from common.backoff import Backoff
from common.envelope import Burst
from common.errors import Unavailable
from common.positions import Position
from tests.support.comet_settings import comet_settings
from tests.support.fake_log import FakeStore, Node
from tests.support.room_view import FrameOf, RoomView
from tests.support.rooms import Recorder, burst, texts_of

CONFIG = comet_settings(join_messages=4, recovery_limit=3)
CLIENTS = 4
CHOICE = st.integers(0, 1000)
PATHS = st.sampled_from(["pubsub", "push"])
NOTHING = Position(0, 0)
MOST_RESTARTS = 14  # so that meta never forgets an epoch


class GatedStore(FakeStore):
    """A log whose answers wait for the machine, and which remembers what stood before each message."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[asyncio.Future[None]] = []
        self.open = False
        self.before: dict[Position, Position] = {}  # each message, and the one before it
        self.ends = {NOTHING: NOTHING}  # each position that was ever the log's end, and the last message there

    async def _asked(self) -> None:
        if not self.open:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            await gate

    async def _answer(self) -> None:
        self.note_end()
        await self._asked()

    def append(self, count: int = 1, *, size: int = 0) -> Burst:
        """Append, message by message for the model."""
        for _ in range(count):
            last = self.last
            appended = super().append(size=size)
            self.before[Position(appended.epoch, appended.last_seq)] = last
            self.note_end()
        return burst(appended.last_seq - count + 1, count, epoch=appended.epoch, size=size)

    @property
    def last(self) -> Position:
        """The log's last message."""
        return Position(self.entries[-1].epoch, self.tail) if self.entries else NOTHING

    def note_end(self) -> None:
        """Remember what the log ends with."""
        self.ends[Position(self.epoch, self.tail)] = self.last

    def gives_all_behind(self, last: Position) -> bool:
        """Whether a client that saw the log up to this message can still get all that follows. The model's own rule."""
        if last.seq and (last.seq > self.tail or self.entries[last.seq - 1].epoch != last.epoch):
            return False
        return self.first <= last.seq + 1


class Client(RoomView, Recorder):
    """A session that checks whatever it is sent."""

    def __init__(self, store: GatedStore) -> None:
        RoomView.__init__(self)
        Recorder.__init__(self)
        self.store = store
        self.last = NOTHING  # the message after which it goes on
        self.joining: asyncio.Task[None] | None = None

    def write(self, data: bytes, /) -> None:
        """Check each frame at once."""
        if not self.ended:
            for text in texts_of(data):
                self._take(json.loads(text))

    def send(self, text: bytes) -> None:
        """Likewise."""
        if not self.ended:
            self._take(json.loads(text))

    def _take(self, frame: FrameOf) -> None:
        payload = frame["payload"]
        if frame["type"] == "joined" and self.position is None and payload["messages"]:
            first = Position(payload["epoch"], payload["messages"][0]["seq"])
            self.last = self.store.before[first]
        self.take(frame)
        if frame["type"] == "joined" and not payload["messages"]:
            assert self.position is not None
            self.last = self.store.ends[self.position]

    def lost(self, payload: FrameOf) -> None:
        """Only what is gone may be told as gone."""
        super().lost(payload)
        assert not self.store.gives_all_behind(self.last), f"nothing behind {self.last} is lost: {payload}"
        if payload["messages"]:
            self.last = self.store.before[Position(payload["epoch"], payload["messages"][0]["seq"])]

    def saw(self, position: Position, message: FrameOf) -> None:
        """Each message is the one that the log had behind the last one."""
        assert message["content"] == f"{position.epoch}:{position.seq} ", (position, message)
        assert self.store.before[position] == self.last, f"after {self.last} came {position}"
        self.last = position


class HubMachine(RuleBasedStateMachine):
    """One room on one node."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = GatedStore()
        self.node = Node(history=3, store=self.store)
        self.bursts: list[Burst] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.clients = [Client(self.store) for _ in range(CLIENTS)]
        self.restarts = 0
        self.patches = ExitStack()
        for patch in (
            mock.patch.object(hubs, "SETTLE_S", 0),
            mock.patch.object(rooms, "RING_MESSAGES", 3),  # so that most joins need the stream
            mock.patch.object(Backoff, "next_s", return_value=0.0),
        ):
            self.patches.enter_context(patch)
        self.faults: list[Any] = []  # what was raised where nobody waits for it
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self.running = self.loop.create_task(self.node.hub.run())
        self.spin(2)

    def spin(self, times: int, action: Callable[[], object] = lambda: None) -> None:
        """Do something and let the loop go round so often."""

        async def act() -> None:
            action()
            for _ in range(times):
                await asyncio.sleep(0)

        self.loop.run_until_complete(act())
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            task.result()
        assert not self.faults, self.faults
        assert not self.running.done(), self.running

    @initialize(length=st.integers(0, 8), joined=st.integers(0, 2))
    def begin(self, length: int, joined: int) -> None:
        """There is a log, and some are in the room."""
        if length:
            self.store.append(length)
        self.store.open = True
        for client in self.clients[:joined]:
            self.start_join(client, None)
            self.spin(10)
        self.store.open = False

    # -- what happens to the log -------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        """Somebody sends."""
        self.bursts.append(self.store.append(count))

    @rule(count=st.integers(1, 3), path=PATHS)
    def append_and_bring(self, count: int, path: str) -> None:
        """Somebody sends, and it arrives at once: the usual case."""
        self.append(count)
        self.deliver(self.bursts[-1], path)

    @rule(lost=st.sampled_from([0, 0, 1, 2, 5]), then=st.sampled_from([0, 0, 1, 6]))
    def restart(self, lost: int, then: int) -> None:
        """Redis restarts, perhaps without its last messages; perhaps somebody sends at once."""
        if self.store.entries and self.restarts < MOST_RESTARTS:
            self.restarts += 1
            self.store.restart(min(lost, self.store.tail - 1))
            if then:
                self.append(then)

    @rule(keep=st.integers(0, 6))
    def trim(self, keep: int) -> None:
        """The stream keeps only its newest messages."""
        self.store.trim(self.store.tail - keep + 1)

    # -- what the paths bring ----------------------------------------------------------------------------------------

    def deliver(self, one: Burst, path: str) -> None:
        """A push above the log's end is refused, as push_service.py does."""
        if path == "pubsub" or Position(one.epoch, one.last_seq) <= Position(self.store.epoch, self.store.tail):
            self.spin(0, lambda: self.bring_now(one, path))

    def bring_now(self, one: Burst, path: str) -> None:
        """And wait for the hole to be read where a push comes above it, as push_service.py does."""
        if self.node.bring(one, path) == HELD and path == "push" and self.room is not None and self.room.live:
            self.tasks.append(self.loop.create_task(self.tried(self.node.hub.repair(self.room))))

    @property
    def room(self) -> Any:
        """The room, if the node serves it."""
        return self.node.hub.rooms.get("room_1")

    async def tried(self, work: Any) -> None:
        """Redis may be away."""
        with suppress(Unavailable, ConnectionError):
            await work

    @rule(choice=CHOICE, path=PATHS)
    def bring(self, choice: int, path: str) -> None:
        """A path brings a recent burst: early, late, or for the second time."""
        if self.bursts:
            recent = self.bursts[-6:]
            self.deliver(recent[choice % len(recent)], path)

    @rule(back=st.integers(0, 5), count=st.integers(1, 4))
    def bring_slice(self, back: int, count: int) -> None:
        """A merged push brings some other cut of the log, within an epoch."""
        entries = self.store.entries[max(0, self.store.tail - 1 - back) :][:count]
        if entries:
            fitting = sum(entry.epoch == entries[0].epoch for entry in entries)
            self.deliver(burst(entries[0].seq, fitting, epoch=entries[0].epoch), "push")

    # -- what clients do ---------------------------------------------------------------------------------------------

    def start_join(self, client: Client, since: Position | None) -> None:
        """As Session does it."""
        client.asks(since)
        client.joining = self.loop.create_task(self.join(client, since))
        self.tasks.append(client.joining)

    async def join(self, client: Client, since: Position | None) -> None:
        """Join, and be outside where that fails."""
        room = client.rooms.pop("room_1", None)
        if room is not None:
            room.remove(client)
        try:
            await Join(self.node.hub, self.node.presences, client, "room_1", CONFIG).resume(since)
        except (Unavailable, ConnectionError):
            assert client.asked or client.ended, "who was told that he is in the room is not"
            client.refused()
        finally:
            if room is not None and "room_1" not in client.rooms:
                self.node.hub.leave(room, client)
            client.joining = None

    @rule(choice=CHOICE, anew=st.sampled_from([False, False, True]))
    def join_room(self, choice: int, *, anew: bool) -> None:
        """Somebody joins, or joins again from where he stands."""
        client = self.clients[choice % CLIENTS]
        if client.joining is None:
            self.start_join(client, None if anew else client.position)

    @rule(choice=CHOICE)
    def leave(self, choice: int) -> None:
        """Somebody leaves."""
        client = self.clients[choice % CLIENTS]
        if client.joining is None and "room_1" in client.rooms:
            self.node.hub.leave(client.rooms.pop("room_1"), client)
            client.refused()

    @rule(choice=CHOICE)
    def lose_connection(self, choice: int) -> None:
        """Somebody's connection breaks, perhaps while he joins; he remembers where he stands."""
        old = self.clients[choice % CLIENTS]
        old.ended = True
        for room in old.rooms.values():
            self.node.hub.leave(room, old)
        old.rooms.clear()
        new = self.clients[choice % CLIENTS] = Client(self.store)
        new.position, new.last = old.position, old.last

    # -- when --------------------------------------------------------------------------------------------------------

    @rule(choice=CHOICE, times=st.sampled_from([1, 2, 6]))
    def answer(self, choice: int, times: int) -> None:
        """One call to Redis gets one step further."""
        gates = self.store.gates
        if gates:
            gates.pop(choice % len(gates)).set_result(None)
        self.spin(times)

    @rule(choice=CHOICE)
    def fail(self, choice: int) -> None:
        """One call to Redis fails, carried out or not."""
        gates = self.store.gates
        if gates:
            gates.pop(choice % len(gates)).set_exception(ConnectionError("Redis is away"))
        self.spin(1)

    @rule()
    def go_round(self) -> None:
        """The loop goes round once: sockets are written to."""
        self.spin(1)

    @rule()
    def check(self) -> None:
        """The check of the tails begins."""
        if len(self.tasks) < 8:
            self.tasks.append(self.loop.create_task(self.tried(self.node.hub.check())))

    def teardown(self) -> None:
        """In the end all see the log's last message, and nothing is left over."""
        try:
            self.settle()
        finally:
            self.running.cancel()
            self.loop.run_until_complete(asyncio.gather(self.running, return_exceptions=True))
            self.loop.close()
            self.patches.close()

    def settle(self) -> None:
        """Redis answers. The check suffices for who is inside, joining for who is not, and for all in the room."""
        self.store.open = True
        for gate in self.store.gates:
            gate.set_result(None)
        self.spin(60)
        self.check()
        self.spin(60)
        self.all_see([client for client in self.clients if client.inside])
        self.come_back([client for client in self.clients if not client.inside])
        self.leave(0)
        for _ in range(4):
            self.append_and_bring(1, "pubsub")
        self.append(2)
        self.come_back(self.clients[:1])
        assert not self.tasks, self.tasks

    def come_back(self, clients: list[Client]) -> None:
        """They join, and nothing else happens."""
        for client in clients:
            self.start_join(client, client.position)
        self.spin(100)
        self.all_see(self.clients)

    def all_see(self, clients: list[Client]) -> None:
        """They are in the room, and saw all."""
        for client in clients:
            assert (client.inside, client.last) == (True, self.store.last), (client.position, self.store.log)


TestHub = HubMachine.TestCase
TestHub.settings = settings(max_examples=100, stateful_step_count=40)
