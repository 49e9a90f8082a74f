"""The ledger: who was acked what, and what each client was sent. Made of the frames as they are on the wire.

`trace(client)` returns what a ChatClient is given as its `trace`, and `lost(client)` is told of each loss of its
connection. Frames are taken before the client drops repeats, so a repeat that the server sends is seen. What the
protocol forbids is noted in `protocol`, never ignored; wire_room.py says what that is for a room. What was on its way
to a client that had left the room, or joined it anew, is allowed and belongs to no view.

A message's content is its key: no two of a run share one. Pure; cheap enough for thousands of frames a second.
"""

import time
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from tests.chaos.evidence import Acked, Broken, Seen, Span, Told, View
from tests.chaos.wire_room import Asked, WireRoom, consecutive, faults_of_joined

MOST_BROKEN: Final = 20_000  # frames noted: a broken product may send a million
SHOWN_CHARS: Final = 400  # of such a frame

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
        self.protocol: list[Broken] = []  # what must not come, at most MOST_BROKEN
        self.joining: list[Span] = []  # each joinRoom until its answer, or the connection's end
        self.first_acks: dict[str, bytes] = {}  # by ref, the payload: small, as there is one for each message
        self._clients: dict[str, _Client] = {}

    def trace(self, client: str) -> Trace:
        """Return what takes the frames of a client."""
        return self._clients.setdefault(client, _Client(self, client)).frame

    def lost(self, client: str) -> None:
        """Take note that a client has lost its connection, or could not make one."""
        if client in self._clients:
            self._clients[client].lost()

    def left(self, client: str, room: str) -> None:
        """End the view of a room that its client has left.

        A client whose connection is lost before its `leaveRoom` is written has left the room without that frame.
        """
        if client in self._clients:
            self._clients[client].views.pop(room, None)

    def view(self, client: str, room: str) -> View | None:
        """Return the view of a room that goes on, also while its client is not connected."""
        found = self._clients.get(client)
        return found.views.get(room) if found is not None else None

    def going_on(self) -> list[View]:
        """Return all views that go on."""
        return [view for client in self._clients.values() for view in client.views.values()]

    def finish(self) -> None:
        """Mark all views that go on as whole: their clients stayed to the end. Call it before they are closed."""
        for view in self.going_on():
            view.whole = True


class _Client:
    """One client's frames."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.views: dict[str, View] = {}
        self._ledger = ledger
        self._name = name
        self._rooms: dict[str, WireRoom] = {}  # on this connection
        self._joins: dict[str, str] = {}  # by ref of a joinRoom on this connection, the room
        self._begun: dict[str, int] = {}  # by ref of a joinRoom without an answer: its place in the ledger's `joining`
        self._raw: set[str] = set()  # texts that are no frames, shown on this connection
        self._connected = False  # it was, at least once

    def frame(self, direction: Direction, text: str) -> None:
        """Take a frame; what is none of the protocol's is shown to people, each such text once a connection."""
        frame = _parsed(text)
        if frame is None:
            if direction == "in":
                self._take_raw(text)
            return
        taker = (_IN if direction == "in" else _OUT).get(frame["type"])
        if taker is not None:
            taker(self, frame["payload"])

    def lost(self) -> None:
        """Be without a connection, until each room is joined again."""
        at = self._ledger.clock()
        for view in self.views.values():
            if not view.apart or view.apart[-1].ended < inf:
                view.apart.append(Span(at, inf))
        for ref in list(self._begun):
            self._answered(ref)
        self._rooms.clear()
        self._joins.clear()
        self._raw.clear()

    def _take_raw(self, text: str) -> None:
        """A node shows a broadcast once; a client that went to another node may be shown it there too."""
        if text in self._raw:
            self._broken("a broadcast was shown again on one connection", text)
        self._raw.add(text)

    def _room(self, room: str) -> WireRoom:
        return self._rooms.setdefault(room, WireRoom())

    def _broken(self, why: str, what: object) -> None:
        if len(self._ledger.protocol) < MOST_BROKEN:
            text = f"{self._name}: {why}: {what}"[:SHOWN_CHARS]
            self._ledger.protocol.append(Broken(self._ledger.clock(), text))

    # -- from the client ---------------------------------------------------------------------------------------------

    def out_messages(self, payload: dict[str, Any]) -> None:
        ledger, ref = self._ledger, payload["ref"]
        if ref not in ledger.on_their_way and ref not in ledger.first_acks:
            ledger.sent += 1
            ledger.on_their_way[ref] = Sent(payload["content"], payload["roomId"])

    def out_join(self, payload: dict[str, Any]) -> None:
        room, since, ref = payload["roomId"], payload.get("since"), payload["ref"]
        self._room(room).asks(Asked("join", (since["epoch"], since["seq"]) if since is not None else None))
        self._joins[ref] = room
        self._begun[ref] = len(self._ledger.joining)
        self._ledger.joining.append(Span(self._ledger.clock(), inf))

    def out_leave(self, payload: dict[str, Any]) -> None:
        self._room(payload["roomId"]).asks(Asked("leave"))
        self.views.pop(payload["roomId"], None)

    # -- from the server ---------------------------------------------------------------------------------------------

    def in_hello(self, payload: dict[str, Any]) -> None:
        self._ledger.reconnects += self._connected
        self._connected = True
        self.lost()  # whatever was on the connection before, should nobody have told of its end
        if payload.get("rooms"):
            self._broken("a hello named rooms that nobody asked for", payload["rooms"])

    def in_ack(self, payload: dict[str, Any]) -> None:
        """Take an ack: the first counts, all others of its ref must be the same."""
        ledger, ref = self._ledger, payload["ref"]
        said = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
        if ref in ledger.first_acks:
            if said != ledger.first_acks[ref]:
                self._broken(f"an ack differs from the first of its ref, {ledger.first_acks[ref].decode()}", payload)
            return
        sent = ledger.on_their_way.pop(ref, None)
        if sent is None or len(payload["messages"]) != 1:
            self._broken("an ack of what nobody sent", payload)
            return
        if payload["roomId"] != sent.room:
            self._broken(f"an ack of another room than {sent.room}, which it was sent to", payload)
        [stored] = payload["messages"]
        ledger.first_acks[ref] = said
        ledger.acked.append(Acked(sent.key, sent.room, payload["epoch"], stored["seq"], stored["id"], ledger.clock()))

    def in_error(self, payload: dict[str, Any]) -> None:
        self._ledger.refused[payload["code"]] += 1
        ref = payload.get("ref") or ""
        room = self._joins.pop(ref, None)
        if room is not None:
            self._answered(ref)
            self._room(room).refused(kept=payload["code"] == "rate_limited")

    def in_left(self, payload: dict[str, Any]) -> None:
        if not self._room(payload["roomId"]).left():
            self._broken("a left that nobody asked for", payload)

    def in_joined(self, payload: dict[str, Any]) -> None:
        name, room = payload["roomId"], self._room(payload["roomId"])
        inside, asked = room.inside, room.joined()
        for why in faults_of_joined(payload, asked, inside=inside):
            self._broken(f"a joined, as {why}", payload)
        if asked is not None:
            self._ledger.joins += 1
            self._answered(next((ref for ref in self._begun if self._joins.get(ref) == name), ""))
        elif payload["recovered"] or not inside:
            room.inside = False  # the client does not take it, and joins where it stood
        if not room.settled:
            return
        if asked is not None and asked.since is None:
            self._begin(name, payload)
        elif name in self.views:
            self._go_on(self.views[name], payload)

    def in_messages(self, payload: dict[str, Any]) -> None:
        if "epoch" not in payload:  # another system's: in no log
            return
        room, seqs = self._room(payload["roomId"]), [one["seq"] for one in payload["messages"]]
        if not room.inside:
            self._broken("messages of a room that is not joined on this connection", payload)
        elif not seqs or not consecutive(seqs):
            self._broken("messages that are none, or not consecutive", payload)
        if room.settled:
            self._see(payload)

    def _answered(self, ref: str) -> None:
        nth = self._begun.pop(ref, None)
        if nth is not None:
            self._ledger.joining[nth] = self._ledger.joining[nth]._replace(ended=self._ledger.clock())

    def _begin(self, room: str, payload: dict[str, Any]) -> None:
        at = self._ledger.clock()
        view = self.views[room] = View(self._name, room, payload["epoch"], payload["seq"], joined_at=at)
        view.shown = _seen(payload, at)
        self._ledger.views.append(view)

    def _go_on(self, view: View, payload: dict[str, Any]) -> None:
        if view.apart and view.apart[-1].ended == inf:
            view.apart[-1] = view.apart[-1]._replace(ended=self._ledger.clock())
        if not payload["recovered"]:
            view.told.append(Told(self._ledger.clock(), len(view.seen)))
        self._see(payload)

    def _see(self, payload: dict[str, Any]) -> None:
        view = self.views.get(payload["roomId"])
        if view is not None:
            self._ledger.delivered += len(payload["messages"])
            view.seen += _seen(payload, self._ledger.clock())


def _seen(payload: dict[str, Any], at: float) -> list[Seen]:
    return [Seen(payload["epoch"], one["seq"], one["id"], one["content"], at) for one in payload["messages"]]


def _parsed(text: str) -> dict[str, Any] | None:
    """Return a frame of the protocol, or None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        frame: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return frame if isinstance(frame.get("type"), str) and isinstance(frame.get("payload"), dict) else None


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
    "left": _Client.in_left,
    "serverMessages": _Client.in_messages,
}
