"""The ledger takes frames as they are on the wire; it ignores only what the protocol tells a client to ignore."""

import json
from itertools import count
from typing import Any

import pytest

from tests.chaos.evidence import Acked, Seen, Told
from tests.chaos.ledger import Ledger, Trace


class Wire:
    """One client's frames; each `at` is one second later."""

    def __init__(self) -> None:
        self.ledger = Ledger(clock=count(100.0).__next__)
        self.trace: Trace = self.ledger.trace("c1")
        self.came("hello")

    def came(self, kind: str, **payload: object) -> None:
        """Let a frame come."""
        self.trace("in", json.dumps({"type": kind, "payload": payload}))

    def went(self, kind: str, **payload: object) -> None:
        """Let a frame go."""
        self.trace("out", json.dumps({"type": kind, "payload": payload}))

    def join(self, since: int | None = None, ref: str = "j1", room: str = "r") -> None:
        """Ask for a room."""
        more: dict[str, Any] = {} if since is None else {"since": {"epoch": 1, "seq": since}}
        self.went("joinRoom", roomId=room, ref=ref, **more)

    def joined(self, seq: int, *seqs: int, recovered: bool = True, room: str = "r") -> None:
        """Be told of a room."""
        self.came("joined", roomId=room, epoch=1, seq=seq, recovered=recovered, messages=messages(*seqs))

    def messages(self, *seqs: int, room: str = "r") -> None:
        """Be sent messages."""
        self.came("serverMessages", roomId=room, epoch=1, messages=messages(*seqs))

    def seen(self, index: int = 0) -> list[int]:
        """Return the seqs of a view."""
        return [one.seq for one in self.ledger.views[index].seen]


def messages(*seqs: int) -> list[dict[str, Any]]:
    """Return messages as frames carry them."""
    return [{"id": f"1-{seq}", "seq": seq, "content": f"k{seq}", "timestamp": 1, "user": {}} for seq in seqs]


@pytest.fixture
def wire() -> Wire:
    """A client that is connected."""
    return Wire()


@pytest.fixture
def in_room(wire: Wire) -> Wire:
    """A client that joined room r at seq 5."""
    wire.join()
    wire.joined(5, 4, 5)
    return wire


def test_a_message_is_acked_where_the_first_ack_says(wire: Wire) -> None:
    """Sent twice with one ref, it is one message."""
    for _ in range(2):
        wire.went("clientMessages", roomId="r", content="k1", ref="a")
    assert (wire.ledger.sent, len(wire.ledger.on_their_way)) == (1, 1)
    for _ in range(2):
        wire.came("ack", ref="a", roomId="r", epoch=3, messages=[{"id": "9-1", "seq": 7, "timestamp": 9}])
    assert wire.ledger.acked == [Acked("k1", "r", 3, 7, "9-1", 100.0)]
    assert not wire.ledger.on_their_way


def test_errors_are_counted_by_code(wire: Wire) -> None:
    """A refused message is still on its way."""
    wire.went("clientMessages", roomId="r", content="k1", ref="a")
    wire.came("error", code="overloaded", message="", ref="a")
    assert (dict(wire.ledger.refused), len(wire.ledger.on_their_way)) == ({"overloaded": 1}, 1)


def test_a_view_begins_where_the_room_was_joined(in_room: Wire) -> None:
    """What a join shows of before is not part of it."""
    in_room.messages(6, 7)
    [view] = in_room.ledger.views
    assert (view.client, view.room, view.epoch, view.seq, view.whole) == ("c1", "r", 1, 5, False)
    assert view.joined_at == 100.0
    assert view.seen == [Seen(1, 6, "1-6", "k6", 101.0), Seen(1, 7, "1-7", "k7", 101.0)]
    assert (in_room.ledger.joins, in_room.ledger.delivered) == (1, 2)


def test_repeats_and_gaps_are_kept_as_they_came(in_room: Wire) -> None:
    """The checker judges them."""
    in_room.messages(6)
    in_room.messages(6)
    in_room.messages(9, 8)
    assert in_room.seen() == [6, 6, 9, 8]


def test_a_view_goes_on_over_reconnects(in_room: Wire) -> None:
    """Joined with `since`; what comes before the answer is not the room's."""
    in_room.messages(6)
    in_room.came("hello")
    in_room.messages(7)
    in_room.join(since=6)
    in_room.joined(8, 7, 8)
    in_room.messages(9)
    assert in_room.seen() == [6, 7, 8, 9]
    assert (len(in_room.ledger.views), in_room.ledger.reconnects, in_room.ledger.joins) == (1, 1, 2)


@pytest.mark.parametrize("asked", [False, True])
def test_a_told_hole_lies_before_what_came_with_it(in_room: Wire, *, asked: bool) -> None:
    """On resuming, or in a live room."""
    in_room.messages(6)
    if asked:
        in_room.came("hello")
        in_room.join(since=6)
    in_room.joined(20, 19, 20, recovered=False)
    in_room.messages(21)
    assert in_room.ledger.views[0].told == [Told(102.0, 1)]
    assert in_room.seen() == [6, 19, 20, 21]


def test_an_unasked_join_that_tells_no_hole_suspends_the_view(in_room: Wire) -> None:
    """The server joined anew by itself: the client does not take it, and joins where it stood."""
    in_room.joined(20, 19, 20)
    in_room.messages(21)
    assert in_room.seen() == []
    in_room.join(since=5, ref="j2")
    in_room.joined(7, 6, 7)
    in_room.messages(8)
    assert in_room.seen() == [6, 7, 8]


def test_a_recovery_that_fails_midway_suspends_the_view(in_room: Wire) -> None:
    """Its first page counts, what comes until the next join does not."""
    in_room.came("hello")
    in_room.join(since=5, ref="j2")
    in_room.joined(7, 6, 7)
    in_room.came("error", code="unavailable", message="", ref="j2")
    in_room.messages(9)
    in_room.join(since=7, ref="j3")
    in_room.joined(9, 8, 9)
    assert in_room.seen() == [6, 7, 8, 9]


def test_leaving_ends_a_view_and_joining_anew_begins_another(in_room: Wire) -> None:
    """What is on its way between belongs to neither."""
    in_room.messages(6)
    in_room.went("leaveRoom", roomId="r")
    in_room.messages(7)
    in_room.came("left", roomId="r")
    in_room.join(ref="j2")
    in_room.messages(8)
    in_room.joined(9, 8, 9)
    in_room.messages(10)
    assert [(view.seq, view.whole) for view in in_room.ledger.views] == [(5, False), (9, False)]
    assert (in_room.seen(0), in_room.seen(1)) == ([6], [10])


def test_only_views_that_go_on_are_whole(in_room: Wire) -> None:
    """Also those whose client is just not connected."""
    in_room.join(room="other", ref="j2")
    in_room.joined(0, room="other")
    in_room.went("leaveRoom", roomId="r")
    in_room.came("hello")
    in_room.ledger.finish()
    assert [(view.room, view.whole) for view in in_room.ledger.views] == [("r", False), ("other", True)]
    assert [view.room for view in in_room.ledger.going_on()] == ["other"]


def test_what_is_no_frame_of_the_protocol_is_let_pass(in_room: Wire) -> None:
    """Broadcasts come as raw text."""
    for text in ("broadcast-1", "{broken", '{"type":"news","payload":{}}', '{"a":1}'):
        in_room.trace("in", text)
    assert in_room.seen() == []
