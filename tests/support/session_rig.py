"""A session over fakes: what its client sends and gets, and what it does to the store and the hub."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from comet.close_codes import CloseCode
from comet.context import Context
from comet.membership import Membership
from comet.presence import Presences
from comet.room import Room
from comet.session import Session
from common.envelope import User
from common.errors import Overloaded
from common.store import Appended, Store
from tests.support.comet_settings import comet_settings
from tests.support.fake_log import FakePresences, FakeStore, Node, running
from tests.support.rooms import texts_of
from tests.support.task_groups import cancelled_group


class FakeTransport:
    """A connection whose client reads everything."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed: list[int] = []
        self.reading = True
        self.on_close: Callable[[], None] = lambda: None

    @property
    def writer(self) -> Callable[[bytes], None]:
        """As Transport.writer."""
        return self.written.append

    def close(self, code: CloseCode, _reason: str = "") -> None:
        """As Transport.close."""
        self.closed.append(code)
        self.on_close()

    def fail(self, code: CloseCode, reason: str = "") -> None:
        """As Transport.fail."""
        self.close(code, reason)

    def cut_off(self) -> None:
        """As Transport.cut_off."""
        self.close(CloseCode.SLOW_CONSUMER)

    def rest(self, _seconds: float) -> None:
        """As Transport.rest."""

    async def drained(self) -> None:
        """As Transport.drained."""

    def pause_reading(self) -> None:
        """As Transport.pause_reading."""
        self.reading = False

    def resume_reading(self) -> None:
        """As Transport.resume_reading."""
        self.reading = True


class FakeMembership:
    """Takes note of sessions."""

    incarnation = "node-1"

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def came(self, session: Session) -> None:
        """As Membership.came."""
        self.sessions.append(session)

    def gone(self, session: Session) -> None:
        """As Membership.gone."""
        self.sessions.remove(session)


class AppendingStore(FakeStore):
    """A log that can be appended to by sessions; each append waits for `answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[list[str], str | None, asyncio.Future[Appended]]] = []
        self.refuses = False

    def accept(self, _room: str, _user: User, contents: list[str], ref: str | None) -> asyncio.Future[Appended]:
        """As Store.append."""
        if self.refuses:
            raise Overloaded("too many messages wait for Redis; try again later")
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self.asked.append((contents, ref, future))
        return future

    @property
    def contents(self) -> list[str]:
        """All that was appended, in order."""
        return [content for contents, _, _ in self.asked for content in contents]


class SlowPresences(FakePresences):
    """Nobody learns who is online before the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.fault: Exception | None = None

    async def online(self, room: Room, joining: User) -> int:
        """As Presences.online."""
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return await super().online(room, joining)


class Rig:
    """One session over fakes."""

    def __init__(self, tasks: asyncio.TaskGroup, node: Node, **chosen: object) -> None:
        self.node = node
        self.store = AppendingStore()
        node.store = self.store
        node.hub.store = cast("Store", self.store)
        self.store.append = self.store.accept  # type: ignore[assignment,method-assign]  # as sessions call it
        self.presences = SlowPresences()
        self.presences.gate.set()
        self.transport = FakeTransport()
        self.membership = FakeMembership()
        self.context = Context(
            comet_settings(**chosen),
            cast("Store", self.store),
            node.hub,
            cast("Presences", self.presences),
            cast("Membership", self.membership),
        )
        self.context.tasks = tasks
        self.session = Session(self.context, self.transport, User("alice", "Alice"))
        self.transport.on_close = self.session.end

    def receive(self, kind: str, **payload: Any) -> None:
        """Let a frame come."""
        self.session.receive(json.dumps({"type": kind, "payload": payload}).encode(), text=True)

    def say(self, content: str, room: str = "room_1", **more: Any) -> None:
        """Let a message come."""
        self.receive("clientMessages", roomId=room, content=content, **more)

    async def begin(self, *rooms: str) -> None:
        """Enter rooms and read the hello."""
        self.session.begin(list(rooms))
        await self.node.settle()

    async def enter(self, *rooms: str) -> None:
        """Join rooms and read the answers."""
        for room in rooms:
            self.receive("joinRoom", roomId=room)
        await self.node.settle()
        self.transport.written.clear()

    @property
    def frames(self) -> list[dict[str, Any]]:
        """All frames that the client got."""
        return [json.loads(text) for text in texts_of(b"".join(self.transport.written))]

    @property
    def kinds(self) -> list[str]:
        """Their types."""
        return [frame["type"] for frame in self.frames]

    @property
    def codes(self) -> list[tuple[str, str | None]]:
        """Codes and refs of the errors."""
        return [
            (frame["payload"]["code"], frame["payload"]["ref"]) for frame in self.frames if frame["type"] == "error"
        ]


@asynccontextmanager
async def rigged(**chosen: object) -> AsyncIterator[Rig]:
    """Run a session while inside."""
    async with running(Node()) as node, cancelled_group() as tasks:
        yield Rig(tasks, node, **chosen)
