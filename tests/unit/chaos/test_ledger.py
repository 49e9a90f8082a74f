"""The ledger takes frames as they are on the wire, and notes those that the protocol forbids."""

import json
from math import inf
from typing import Any

import pytest

from tests.chaos.evidence import Acked, Seen, Span, Told
from tests.chaos.ledger import Ledger, Trace


class Wire:
    """One client's frames, each one second after the one before; the hello comes at 100 s."""

    def __init__(self) -> None:
        self.at = 99.0
        self.ledger = Ledger(clock=lambda: self.at)
        self.trace: Trace = self.ledger.trace("c1")
        self.came("hello")

    def came(self, kind: str, **payload: object) -> None:
        """Let a frame come."""
        self.at += 1
        self.trace("in", json.dumps({"type": kind, "payload": payload}))

    def went(self, kind: str, **payload: object) -> None:
        """Let a frame go."""
        self.at += 1
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

    def broken(self, *words: str) -> bool:
        """Return whether so many forbidden frames are noted, each with its word."""
        noted = [one.text for one in self.ledger.protocol]
        return len(noted) == len(words) and all(word in text for word, text in zip(words, noted, strict=True))

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
    assert wire.ledger.acked == [Acked("k1", "r", 3, 7, "9-1", 103.0)]
    assert wire.broken()
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
    assert view.joined_at == 102.0
    assert view.shown == [Seen(1, 4, "1-4", "k4", 102.0), Seen(1, 5, "1-5", "k5", 102.0)]
    assert view.seen == [Seen(1, 6, "1-6", "k6", 103.0), Seen(1, 7, "1-7", "k7", 103.0)]
    assert (in_room.ledger.joins, in_room.ledger.delivered) == (1, 2)


def test_repeats_and_gaps_are_kept_as_they_came(in_room: Wire) -> None:
    """The checker judges them."""
    in_room.messages(6)
    in_room.messages(6)
    in_room.messages(9, 8)
    assert in_room.seen() == [6, 6, 9, 8]
    assert in_room.broken("not consecutive")


def test_a_view_goes_on_over_reconnects(in_room: Wire) -> None:
    """Joined with `since`."""
    in_room.messages(6)
    in_room.came("hello")
    in_room.join(since=6)
    in_room.joined(8, 7, 8)
    in_room.messages(9)
    assert in_room.seen() == [6, 7, 8, 9]
    assert (len(in_room.ledger.views), in_room.ledger.reconnects, in_room.ledger.joins) == (1, 1, 2)
    assert in_room.broken()


@pytest.mark.parametrize("asked", [False, True])
def test_nothing_of_a_room_may_come_on_a_connection_before_it_is_joined(in_room: Wire, *, asked: bool) -> None:
    """Neither before the client asks for it nor before the answer; and it is not seen."""
    in_room.came("hello")
    if asked:
        in_room.join(since=5)
    in_room.messages(6)
    assert in_room.broken("not joined on this connection")
    assert in_room.seen() == []


def test_what_was_on_its_way_to_who_joins_anew_may_come_until_the_answer(in_room: Wire) -> None:
    """On the same connection; it is not seen, as the answer brings it again."""
    in_room.join(since=5, ref="j2")
    in_room.messages(6)
    in_room.joined(6, 6)
    in_room.messages(7)
    assert in_room.seen() == [6, 7]
    assert in_room.broken()


@pytest.mark.parametrize(
    ("seq", "seqs", "words"),
    [
        (7, (6, 7), []),
        (5, (), []),
        (7, (7,), ["not 6 to 7"]),
        (7, (5, 6, 7), ["not 6 to 7"]),
        (7, (), ["not 6 to 7"]),
        (8, (6, 7), ["do not end", "not 6 to 8"]),
        (8, (6, 8), ["not consecutive", "not 6 to 8"]),
        (4, (), ["backwards"]),
    ],
)
def test_a_recovery_is_exactly_what_was_missed(
    in_room: Wire, seq: int, seqs: tuple[int, ...], words: list[str]
) -> None:
    """From since + 1 to its seq."""
    in_room.came("hello")
    in_room.join(since=5, ref="j2")
    in_room.joined(seq, *seqs)
    assert in_room.broken(*words)


@pytest.mark.parametrize(
    ("seq", "seqs", "words"),
    [(5, (4, 5), []), (0, (), []), (6, (4, 5), ["do not end"]), (5, (5, 4, 5), ["consecutive"])],
)
def test_what_a_join_shows_of_before_ends_at_its_seq(
    wire: Wire, seq: int, seqs: tuple[int, ...], words: list[str]
) -> None:
    """Without holes and repeats."""
    wire.join()
    wire.joined(seq, *seqs)
    assert wire.broken(*words)


def test_who_has_no_position_misses_nothing(wire: Wire) -> None:
    """So nobody tells it of a hole."""
    wire.join()
    wire.joined(5, 5, recovered=False)
    assert wire.broken("told of a hole")


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"epoch": 4}, "differs"), ({"roomId": "s"}, "differs"), ({"messages": []}, "differs"), ({"ref": "b"}, "nobody")],
)
def test_all_acks_of_a_ref_are_the_same(wire: Wire, changed: dict[str, Any], word: str) -> None:
    """And what was not sent is not acked."""
    ack: dict[str, Any] = {"ref": "a", "roomId": "r", "epoch": 3, "messages": [{"id": "9-1", "seq": 7, "timestamp": 9}]}
    wire.went("clientMessages", roomId="r", content="k1", ref="a")
    wire.came("ack", **ack)
    wire.came("ack", **ack | changed)
    assert wire.broken(word)
    assert len(wire.ledger.acked) == 1


def test_an_ack_names_the_room_that_was_sent_to(wire: Wire) -> None:
    """The first one too."""
    wire.went("clientMessages", roomId="r", content="k1", ref="a")
    wire.came("ack", ref="a", roomId="s", epoch=3, messages=[{"id": "9-1", "seq": 7, "timestamp": 9}])
    assert wire.broken("another room")


def test_a_broadcast_is_shown_once_a_connection(wire: Wire) -> None:
    """Another node may show it again."""
    wire.trace("in", "broadcast-1")
    wire.trace("in", "broadcast-2")
    wire.came("hello")
    wire.trace("in", "broadcast-1")
    assert wire.broken()
    wire.trace("in", "broadcast-1")
    assert wire.broken("shown again")


def test_a_view_knows_when_its_client_was_apart(in_room: Wire) -> None:
    """From the loss of the connection until the room is joined again, however many tries that takes."""
    in_room.ledger.lost("c1")  # at 102
    assert in_room.ledger.views[0].apart == [Span(102.0, inf)]
    in_room.came("hello")
    in_room.join(since=5)
    in_room.ledger.lost("c1")
    in_room.came("hello")
    in_room.join(since=5)
    in_room.joined(5)
    in_room.came("hello")
    assert in_room.ledger.views[0].apart == [Span(102.0, 107.0), Span(108.0, inf)]


def test_joins_are_timed(wire: Wire) -> None:
    """Until their answer, be it a refusal, or the connection's end."""
    wire.join(ref="j1")
    wire.join(ref="j2", room="s")
    wire.joined(0)
    wire.came("error", code="unavailable", message="", ref="j2")
    wire.join(ref="j3", room="s")
    assert wire.ledger.joining == [Span(101.0, 103.0), Span(102.0, 104.0), Span(105.0, inf)]
    wire.ledger.lost("c1")
    assert wire.ledger.joining[-1] == Span(105.0, 105.0)


@pytest.mark.parametrize("asked", [False, True])
def test_a_told_hole_lies_before_what_came_with_it(in_room: Wire, *, asked: bool) -> None:
    """On resuming, or in a live room."""
    in_room.messages(6)
    if asked:
        in_room.came("hello")
        in_room.join(since=6)
    in_room.joined(20, 19, 20, recovered=False)
    in_room.messages(21)
    assert in_room.ledger.views[0].told == [Told(106.0 if asked else 104.0, 1)]
    assert in_room.seen() == [6, 19, 20, 21]


def test_an_unasked_join_that_tells_no_hole_suspends_the_view(in_room: Wire) -> None:
    """The server joined anew by itself, which it must not: the client does not take it, and joins where it stood."""
    in_room.joined(20, 19, 20)
    assert in_room.broken("nobody asked")
    in_room.join(since=5, ref="j2")
    in_room.joined(7, 6, 7)
    in_room.messages(8)
    assert in_room.seen() == [6, 7, 8]


def test_a_recovery_that_fails_midway_suspends_the_view(in_room: Wire) -> None:
    """Its first page counts, what comes until the next join is not seen and must not come."""
    in_room.came("hello")
    in_room.join(since=5, ref="j2")
    in_room.joined(7, 6, 7)
    in_room.came("error", code="unavailable", message="", ref="j2")
    in_room.messages(9)
    in_room.join(since=7, ref="j3")
    in_room.joined(9, 8, 9)
    assert in_room.seen() == [6, 7, 8, 9]
    assert in_room.broken("not joined")


def test_leaving_ends_a_view_and_joining_anew_begins_another(in_room: Wire) -> None:
    """What is on its way until the answer belongs to neither; behind it nothing may come."""
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
    assert in_room.broken("not joined")


def test_a_room_that_is_left_without_a_frame_has_no_view_any_more(in_room: Wire) -> None:
    """The connection may be lost while the leave waits to be written."""
    in_room.ledger.lost("c1")
    assert [view.room for view in in_room.ledger.going_on()] == ["r"]
    in_room.ledger.left("c1", "r")
    in_room.ledger.left("c1", "r")
    in_room.ledger.left("nobody", "r")
    assert in_room.ledger.going_on() == []
    assert not in_room.ledger.views[0].whole


def test_who_leaves_before_the_answer_is_told_of_the_join_too(wire: Wire) -> None:
    """Answers come in the order of the requests; there is no view of what was left by then."""
    wire.join()
    wire.went("leaveRoom", roomId="r")
    wire.joined(5, 5)
    wire.messages(6)
    wire.came("left", roomId="r")
    assert wire.broken()
    assert wire.ledger.views == []
    wire.came("left", roomId="r")
    assert wire.broken("left that nobody")


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
