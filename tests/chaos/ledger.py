"""The ledger: who was acked what, and what each client was sent. Made of the frames as they are on the wire.

`trace(client)` returns what a ChatClient is given as its `trace`. Frames are taken before the client drops repeats, so
a repeat that the server sends is seen. Only what the protocol tells a client to ignore is ignored: messages of a room
that come on a connection before that room's `joined`, behind a `leaveRoom`, or after its recovery failed.

A message's content is its key: no two of a run share one. Pure; cheap enough for thousands of frames a second.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from tests.chaos.evidence import Acked, Seen, Told, View

Direction: TypeAlias = Literal["in", "out"]
Trace: TypeAlias = Callable[[Direction, str], None]


class Sent(NamedTuple):
    """A message on its way."""

    key: str
    room: str


class Ledger:
    """All of a run, as its clients saw it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.acked: list[Acked] = []
        self.views: list[View] = []  # those that are over, and those that go on
        self.broadcast_acked: list[str] = []  # bodies that POST /logic/broadcast answered 200
        self.refused: Counter[str] = Counter()  # errors that senders and joiners got, by code
        self.reconnects = 0
        self.joins = 0
        self.sent = 0  # messages that were written to a connection at least once
        self.delivered = 0  # messages that clients were sent
        self.on_their_way: dict[str, Sent] = {}  # by ref: sent, no ack yet
        self._clients: dict[str, _Client] = {}

    def trace(self, client: str) -> Trace:
        """Return what takes the frames of a client."""
        return self._clients.setdefault(client, _Client(self, client)).frame

    def view(self, client: str, room: str) -> View | None:
        """Return the view of a room that goes on, also while its client is not connected."""
        found = self._clients.get(client)
        return found.views.get(room) if found is not None else None

    def going_on(self) -> list[View]:
        """Return all views that go on."""
        return [view for client in self._clients.values() for view in client.views.values()]

    def finish(self) -> None:
        """Mark all views that go on as whole: their clients stayed to the end."""
        for view in self.going_on():
            view.whole = True


class _Client:
    """One client's frames."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.views: dict[str, View] = {}
        self._ledger = ledger
        self._name = name
        self._live: set[str] = set()  # rooms whose messages count: joined on this connection
        self._asked: dict[str, bool] = {}  # rooms whose `joined` is awaited: whether without `since`
        self._joins: dict[str, str] = {}  # by ref of a joinRoom, the room
        self._connected = False  # it was, at least once

    def frame(self, direction: Direction, text: str) -> None:
        """Take a frame; what is none of the protocol's is let pass."""
        if not text.startswith("{"):
            return
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        taker = (_IN if direction == "in" else _OUT).get(frame.get("type"))
        if taker is not None:
            taker(self, frame["payload"])

    # -- from the client ---------------------------------------------------------------------------------------------

    def out_messages(self, payload: dict[str, Any]) -> None:
        ledger, ref = self._ledger, payload["ref"]
        if ref not in ledger.on_their_way:
            ledger.sent += 1
            ledger.on_their_way[ref] = Sent(payload["content"], payload["roomId"])

    def out_join(self, payload: dict[str, Any]) -> None:
        room = payload["roomId"]
        self._live.discard(room)
        self._asked[room] = payload.get("since") is None
        if "ref" in payload:
            self._joins[payload["ref"]] = room

    def out_leave(self, payload: dict[str, Any]) -> None:
        room = payload["roomId"]
        self._live.discard(room)
        self._asked.pop(room, None)
        self.views.pop(room, None)

    # -- from the server ---------------------------------------------------------------------------------------------

    def in_hello(self, _payload: dict[str, Any]) -> None:
        self._ledger.reconnects += self._connected
        self._connected = True
        self._live.clear()
        self._asked.clear()
        self._joins.clear()

    def in_ack(self, payload: dict[str, Any]) -> None:
        """Take the first ack of a message: one stored twice shows in history."""
        ledger, ref = self._ledger, payload["ref"]
        [stored] = payload["messages"]
        sent = ledger.on_their_way.pop(ref, None)
        if sent is None:
            return
        ledger.acked.append(Acked(sent.key, sent.room, payload["epoch"], stored["seq"], stored["id"], ledger.clock()))

    def in_error(self, payload: dict[str, Any]) -> None:
        self._ledger.refused[payload["code"]] += 1
        room = self._joins.pop(payload.get("ref") or "", None)
        if room is not None:
            self._live.discard(room)
            self._asked.pop(room, None)

    def in_joined(self, payload: dict[str, Any]) -> None:
        room, recovered = payload["roomId"], payload["recovered"]
        fresh = self._asked.pop(room, None)
        asked = fresh is not None
        if not asked and recovered:
            self._live.discard(room)
            return
        self._ledger.joins += asked
        self._live.add(room)
        if fresh:
            view = self.views[room] = View(
                self._name, room, payload["epoch"], payload["seq"], joined_at=self._ledger.clock()
            )
            self._ledger.views.append(view)
        elif room in self.views:
            if not recovered:
                self.views[room].told.append(Told(self._ledger.clock(), len(self.views[room].seen)))
            self._see(payload)

    def in_messages(self, payload: dict[str, Any]) -> None:
        if payload["roomId"] in self._live and "epoch" in payload:
            self._see(payload)

    def _see(self, payload: dict[str, Any]) -> None:
        view = self.views.get(payload["roomId"])
        if view is None:
            return
        epoch, at = payload["epoch"], self._ledger.clock()
        messages = payload["messages"]
        self._ledger.delivered += len(messages)
        view.seen += [Seen(epoch, one["seq"], one["id"], one["content"], at) for one in messages]


_Taker: TypeAlias = Callable[[_Client, dict[str, Any]], None]
_OUT: Final[dict[str, _Taker]] = {
    "clientMessages": _Client.out_messages,
    "joinRoom": _Client.out_join,
    "leaveRoom": _Client.out_leave,
}
_IN: Final[dict[str, _Taker]] = {
    "hello": _Client.in_hello,
    "ack": _Client.in_ack,
    "error": _Client.in_error,
    "joined": _Client.in_joined,
    "serverMessages": _Client.in_messages,
}
