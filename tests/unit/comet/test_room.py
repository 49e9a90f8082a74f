"""A room keeps order whatever the paths bring: each seq once, in order, to whoever is in it at that moment."""

import json

import pytest

from comet import room as rooms
from comet.room import (
    DELIVERED,
    DROPPED,
    DUPLICATE,
    HELD,
    HELD_BURSTS,
    HELD_BYTES,
    MERGED_BYTES,
    RING_BYTES,
    RING_MESSAGES,
    Room,
)
from common.positions import Position
from tests.support.rooms import Recorder, burst, write_out


def live(epoch: int = 1, seq: int = 0) -> Room:
    """Return a room that stands at a position."""
    room = Room("room_1")
    room.start(Position(epoch, seq), [])
    return room


def with_member(room: Room) -> Recorder:
    """Let somebody in."""
    member = Recorder()
    room.add(member)
    return member


# -- order ---------------------------------------------------------------------------------------------------------


def test_the_next_burst_is_delivered() -> None:
    """A burst at last + 1 moves the room to its last message."""
    room = live(seq=4)
    assert room.offer(burst(5, 3), "pubsub") == DELIVERED
    assert room.position == Position(1, 7)


@pytest.mark.parametrize(("first_seq", "count", "epoch"), [(1, 1, 1), (5, 1, 1), (3, 3, 1), (6, 1, 0), (9, 2, 0)])
def test_what_was_there_before_is_a_duplicate(first_seq: int, count: int, epoch: int) -> None:
    """A burst that ends at or below the last message, or is of an earlier epoch, changes nothing."""
    room = live(seq=5)
    member = with_member(room)
    assert room.offer(burst(first_seq, count, epoch=epoch), "push") == DUPLICATE
    assert (room.position, room.waiting, room.held) == (Position(1, 5), False, {})
    assert member.seqs == []


def test_of_an_overlapping_burst_only_what_is_new_is_sent() -> None:
    """A burst that begins below the last message and ends above it is cut."""
    room = live()
    member = with_member(room)
    room.offer(burst(1, 3), "pubsub")
    assert room.offer(burst(2, 4), "push") == DELIVERED
    write_out(room)
    assert member.seqs == [1, 2, 3, 4, 5]


def test_above_a_hole_bursts_are_held_and_released_in_order_once_it_is_filled() -> None:
    """Nothing above a hole is sent; what fills it releases all that follows, and whoever counts learns the path."""
    room = live()
    member = with_member(room)
    assert room.offer(burst(4, 2), "push") == HELD
    assert room.offer(burst(2), "pubsub") == HELD
    assert not room.waiting
    assert room.offer(burst(1), "pubsub") == DELIVERED
    assert (room.position, list(room.held), room.released) == (Position(1, 2), [4], [("pubsub", 1)])
    assert room.offer(burst(3), "pubsub") == DELIVERED
    write_out(room)
    assert (member.seqs, room.held) == ([1, 2, 3, 4, 5], {})
    assert room.released == [("pubsub", 1), ("push", 2)]


def test_what_came_another_way_meanwhile_is_forgotten() -> None:
    """A held burst whose messages another burst brought is neither sent again nor kept."""
    room = live()
    member = with_member(room)
    room.offer(burst(2), "push")
    room.offer(burst(3), "push")
    room.offer(burst(1, 4), "pubsub")
    write_out(room)
    assert (member.seqs, room.held, room.released) == ([1, 2, 3, 4], {}, [])


def test_of_a_held_burst_only_what_is_still_missing_is_sent() -> None:
    """A held burst that another one overlapped is cut when it is released."""
    room = live()
    member = with_member(room)
    room.offer(burst(3, 3), "push")
    room.offer(burst(1, 3), "pubsub")
    write_out(room)
    assert member.seqs == [1, 2, 3, 4, 5]


def test_before_a_room_is_live_everything_is_held() -> None:
    """Subscribed but not positioned: `start` then takes what lies behind the position and forgets the rest."""
    room = Room("room_1")
    member = with_member(room)
    for seq in (3, 4, 5, 6):
        assert room.offer(burst(seq), "pubsub") == HELD
    room.start(Position(1, 4), [burst(3, 2)])
    write_out(room)
    assert (member.seqs, room.position, room.held) == ([5, 6], Position(1, 6), {})


def test_start_keeps_what_still_lies_above_a_hole() -> None:
    """What was held above a hole stays held after `start`, for the repair to release."""
    room = Room("room_1")
    room.offer(burst(9), "pubsub")
    room.start(Position(1, 4), [])
    assert (room.position, list(room.held)) == (Position(1, 4), [9])


def test_the_first_message_ever_needs_no_repair() -> None:
    """A room without a log takes seq 1 of whichever epoch comes: nothing can lie before it."""
    room = live(epoch=0, seq=0)
    assert room.offer(burst(1, epoch=1700), "pubsub") == DELIVERED
    assert room.position == Position(1700, 1)


@pytest.mark.parametrize(("epoch", "seq", "first_seq"), [(1, 5, 6), (1, 5, 1), (0, 0, 2)])
def test_a_later_epoch_waits_for_the_stream(epoch: int, seq: int, first_seq: int) -> None:
    """Only the stream can tell where a new epoch begins, so its bursts are held."""
    room = live(epoch, seq)
    assert room.offer(burst(first_seq, epoch=2), "pubsub") == HELD
    assert room.position == Position(epoch, seq)


def test_entering_an_epoch_goes_on_right_behind_the_last_message() -> None:
    """Seqs run on over an epoch's beginning; the earlier epoch's late bursts are duplicates from then on."""
    room = live(seq=5)
    room.offer(burst(6, 2, epoch=2), "pubsub")
    room.enter_epoch(2)
    assert room.offer(burst(6, epoch=2), "pubsub") == DELIVERED
    assert room.position == Position(2, 7)
    assert room.offer(burst(8, epoch=1), "push") == DUPLICATE


def test_held_bursts_of_an_earlier_epoch_are_forgotten() -> None:
    """What was held when its epoch ended is never sent, though its seq fits."""
    room = live(seq=5)
    member = with_member(room)
    room.offer(burst(7, epoch=1), "push")
    room.enter_epoch(2)
    room.offer(burst(6, epoch=2), "pubsub")
    assert (room.position, room.held) == (Position(2, 6), {})
    room.offer(burst(7, epoch=2), "pubsub")
    write_out(room)
    assert member.seqs == [6, 7]


def test_only_so_much_is_held() -> None:
    """Past HELD_BURSTS a burst is dropped: the stream has it."""
    room = live()
    for i in range(HELD_BURSTS):
        assert room.offer(burst(10 + i), "pubsub") == HELD
    assert room.offer(burst(5000), "pubsub") == DROPPED
    assert len(room.held) == HELD_BURSTS
    assert room.offer(burst(1, 9), "pubsub") == DELIVERED
    assert room.position == Position(1, 9 + HELD_BURSTS)


def test_only_so_many_bytes_are_held() -> None:
    """Past HELD_BYTES a burst is dropped: the stream has it. What was released makes room again."""
    room = live()
    size = HELD_BYTES // 4
    assert [room.offer(burst(seq, size=size), "pubsub") for seq in range(3, 7)] == [HELD, HELD, HELD, DROPPED]
    room.offer(burst(1, 2), "pubsub")
    assert (room.position, room.held) == (Position(1, 5), {})
    assert [room.offer(burst(seq, size=size), "pubsub") for seq in range(7, 11)] == [HELD, HELD, HELD, DROPPED]


def test_the_bytes_of_a_held_burst_that_is_replaced_are_given_back() -> None:
    """Only what is held counts: each burst holds all of the one before it."""
    room = live()
    size = HELD_BYTES // 4
    assert [room.offer(burst(3, count, size=size), "push") for count in (1, 2, 3, 4)] == [HELD, HELD, HELD, DROPPED]
    room.offer(burst(1, 2), "pubsub")
    assert (room.position, room.held) == (Position(1, 5), {})
    assert [room.offer(burst(seq, size=size), "pubsub") for seq in range(7, 11)] == [HELD, HELD, HELD, DROPPED]


def test_of_two_held_at_the_same_seq_the_one_that_tells_more_is_kept() -> None:
    """A longer cut, and one of a later epoch: the earlier one's may have been lost."""
    room = live(seq=5)
    for one in (burst(8, 2), burst(8), burst(9, epoch=1), burst(9, epoch=2)):
        assert room.offer(one, "push") == HELD
    assert [(one.epoch, one.count) for one, _ in room.held.values()] == [(1, 2), (2, 1)]


# -- the ring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seq", "covered"), [(1, False), (2, False), (3, True), (5, True), (6, True), (7, True), (8, False)]
)
def test_the_ring_covers_what_it_holds_and_the_next_message(seq: int, covered: bool) -> None:
    """It covers from its oldest message up to the one behind the last."""
    room = live()
    room.start(Position(1, 6), [burst(3, 2), burst(5, 2)])
    assert room.covers(seq) is covered


@pytest.mark.parametrize("seq", [3, 4, 5, 6, 7])
def test_a_cut_begins_anywhere_in_the_ring(seq: int) -> None:
    """Also in the middle of a burst, and behind the last message, where it is empty."""
    room = live()
    room.start(Position(1, 6), [burst(3, 2), burst(5, 2)])
    found = json.loads(b"[%b]" % room.cut(seq))
    assert [message["seq"] for message in found] == list(range(seq, 7))


def test_what_is_accepted_goes_into_the_ring() -> None:
    """Also what was held, and what was cut."""
    room = live()
    room.offer(burst(3, 2), "pubsub")
    room.offer(burst(1, 2), "pubsub")
    room.offer(burst(4, 2), "push")
    assert room.covers(1)
    assert [message["seq"] for message in json.loads(b"[%b]" % room.cut(1))] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("size", "kept"), [(0, RING_MESSAGES), (RING_BYTES // 8, 7)])
def test_the_ring_is_bounded_in_messages_and_bytes(size: int, kept: int) -> None:
    """The oldest go first."""
    room = live()
    for seq in range(1, 201):
        room.offer(burst(seq, size=size), "pubsub")
    assert (room.covers(200 - kept + 1), room.covers(200 - kept)) == (True, False)


def test_the_ring_keeps_the_newest_burst_however_large() -> None:
    """So that whoever joins now needs no read."""
    room = live()
    room.offer(burst(1, size=RING_BYTES * 2), "pubsub")
    assert room.covers(1)


def test_the_ring_holds_one_epoch_only() -> None:
    """A position tells which epoch a seq is of, so a cut never mixes two."""
    room = live()
    room.offer(burst(1, 2), "pubsub")
    room.enter_epoch(2)
    assert (room.covers(2), room.covers(3)) == (False, True)
    room.start(Position(3, 9), [burst(5, 2, epoch=2), burst(7, 3, epoch=3)])
    assert (room.covers(6), room.covers(7)) == (False, True)


# -- members -------------------------------------------------------------------------------------------------------


def test_who_joins_never_gets_what_waited_already() -> None:
    """What was accepted before goes to those who were there before; what comes later goes to both, in order."""
    room = live()
    first = with_member(room)
    room.offer(burst(1), "pubsub")
    second = with_member(room)
    room.offer(burst(2), "pubsub")
    write_out(room)
    assert (first.seqs, second.seqs) == ([1, 2], [2])


def test_who_joins_anew_gets_nothing_twice() -> None:
    """A session that left and came back, or came back without leaving, is owed only what is accepted since."""
    room = live()
    member = with_member(room)
    room.offer(burst(1), "pubsub")
    room.remove(member)
    room.add(member)
    room.offer(burst(2), "pubsub")
    room.add(member)
    room.offer(burst(3), "pubsub")
    write_out(room)
    assert member.seqs == [3]


def test_members_are_counted_by_user() -> None:
    """Two sessions of one user are one user, until both left; what they watched is forgotten with them."""
    room = live()
    one, two, other = Recorder("alice"), Recorder("alice"), Recorder("bob")
    for member in (one, two, other):
        room.add(member)
    room.watchers.add(one)
    assert {user: len(found) for user, found in room.users.items()} == {"alice": 2, "bob": 1}
    room.remove(one)
    room.remove(one)
    assert ({user: len(found) for user, found in room.users.items()}, room.watchers) == ({"alice": 1, "bob": 1}, set())
    room.remove(two)
    assert list(room.users) == ["bob"]


# -- what waits to be sent -----------------------------------------------------------------------------------------


def test_all_that_waits_goes_out_as_one_write_of_one_frame() -> None:
    """Bursts are joined within one serverMessages frame, counted by message."""
    room = live()
    member = with_member(room)
    for seq in (1, 2, 4):
        room.offer(burst(seq, 2), "pubsub")
    [flush] = write_out(room)
    assert (flush.messages, len(member.writes), len(member.frames)) == (5, 1, 1)
    assert member.frames[0]["type"] == "serverMessages"
    assert (member.frames[0]["payload"]["roomId"], member.frames[0]["payload"]["epoch"]) == ("room_1", 1)


def test_a_frame_holds_one_epoch() -> None:
    """Messages of two epochs that wait together go out as two frames, in order."""
    room = live()
    member = with_member(room)
    room.offer(burst(1), "pubsub")
    room.offer(burst(2), "pubsub")
    room.enter_epoch(2)
    room.offer(burst(3, epoch=2), "pubsub")
    write_out(room)
    assert [frame["payload"]["epoch"] for frame in member.frames] == [1, 2]
    assert member.seqs == [1, 2, 3]


def test_a_raw_text_stands_alone_and_in_turn() -> None:
    """What is no part of the log keeps its place between messages."""
    room = live()
    member = with_member(room)
    room.offer(burst(1), "pubsub")
    room.push_raw(b"test message")
    room.offer(burst(2), "pubsub")
    write_out(room)
    assert [text[:12] for text in member.texts] == ['{"type":"ser', "test message", '{"type":"ser']
    assert len(member.writes) == 1


def test_frames_are_merged_only_up_to_a_size() -> None:
    """None grows so large that it stalls a slow client; nothing is lost where it is cut."""
    room = live()
    member = with_member(room)
    for seq in range(1, 41):
        room.offer(burst(seq, size=10_000), "pubsub")
    write_out(room)
    assert all(len(text) < MERGED_BYTES + 12_000 for text in member.texts)
    assert len(member.texts) < 10
    assert member.seqs == list(range(1, 41))


def test_what_is_sealed_goes_before_what_came_later() -> None:
    """Each seal is a flush of its own, oldest first."""
    room = live()
    member = with_member(room)
    room.offer(burst(1), "pubsub")
    room.seal()
    room.seal()
    room.offer(burst(2), "pubsub")
    assert [flush.messages for flush in write_out(room)] == [1, 1]
    assert (member.seqs, room.waiting) == ([1, 2], False)


def test_the_words_for_what_became_of_a_burst_are_the_metrics_labels() -> None:
    """`comet_deliveries_total` has a series for each but the dropped, which are counted apart."""
    assert (rooms.DELIVERED, rooms.DUPLICATE, rooms.HELD) == ("delivered", "duplicate", "held")
