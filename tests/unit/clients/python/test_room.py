"""A room as the client follows it: whatever comes in whatever order, each message is taken once and in order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatroom_client import Hole, Message, Position
from chatroom_client.room import FollowedRoom


def payload(first: int, last: int, epoch: int = 1, **more: object) -> dict[str, Any]:
    """Return a frame's payload with the messages from first to last."""
    user = {"id": "u", "username": "U"}
    messages = [
        {"id": f"1-{seq}", "seq": seq, "content": str(seq), "timestamp": 1, "user": user}
        for seq in range(first, last + 1)
    ]
    return {"roomId": "r", "epoch": epoch, "messages": messages, **more}


def joined(first: int, last: int, epoch: int = 1, *, recovered: bool = True) -> dict[str, Any]:
    """Return the payload of a joined."""
    return payload(first, last, epoch, seq=last, recovered=recovered, onlineCount=1)


def live(seq: int) -> FollowedRoom:
    """Return a live room at a seq of epoch 1."""
    room = FollowedRoom("r")
    room.join_ref = "ref"
    room.on_joined(joined(seq + 1, seq))
    return room


def seqs(events: list[Message] | list[Message | Hole]) -> list[int]:
    """Return the seqs of messages; there must be no hole."""
    assert all(isinstance(one, Message) for one in events)
    return [one.seq for one in events if isinstance(one, Message)]


@given(st.lists(st.one_of(st.tuples(st.integers(1, 40), st.integers(0, 5)), st.just("lost")), max_size=40))
def test_no_order_of_frames_makes_a_hole_or_a_repeat(script: list[tuple[int, int] | str]) -> None:
    """Any frames with any messages, connections lost at any point, each followed by a join where it stood."""
    room, taken = live(0), []
    for step in script:
        if isinstance(step, str):
            room.on_lost()
        else:
            taken += seqs(room.on_messages(payload(step[0], step[0] + step[1])))
        if not room.live:
            assert room.position is not None
            room.join_ref = "ref"
            taken += seqs(room.on_joined(joined(room.position.seq + 1, room.position.seq + 2)))
            assert room.live
    assert taken == list(range(1, len(taken) + 1))
    assert room.position == Position(1, len(taken))


def test_a_later_epoch_goes_on_behind_the_last_message() -> None:
    """Redis was restarted without a loss."""
    room = live(5)
    assert seqs(room.on_messages(payload(6, 6, 2))) == [6]
    assert (room.live, room.position) == (True, Position(2, 6))


def test_a_later_epoch_that_gives_a_seq_again_is_no_repeat() -> None:
    """Redis lost its tail: the room falls behind, and joining it is told the hole."""
    room = live(5)
    assert room.on_messages(payload(5, 5, 2)) == []
    assert (room.live, room.position) == (False, Position(1, 5))
    room.join_ref = "ref"
    hole, *messages = room.on_joined(joined(4, 5, 2, recovered=False))
    assert hole == Hole("r", Position(1, 5), "lost")
    assert seqs(messages) == [4, 5]


def test_a_message_of_an_earlier_epoch_is_not_taken() -> None:
    """What follows in seq but not in epoch comes from a log that is no more."""
    room = live(5)
    room.on_messages(payload(6, 6, 3))
    assert room.on_messages(payload(7, 7, 2)) == []
    assert not room.live


def test_a_joined_that_claims_more_than_it_brings_leaves_the_room_behind() -> None:
    """It is asked for again rather than believed."""
    room = live(5)
    room.on_lost()
    room.join_ref = "ref"
    assert seqs(room.on_joined(payload(6, 7, seq=9, recovered=True))) == [6, 7]
    assert (room.live, room.position) == (False, Position(1, 7))


def test_an_empty_recovery_takes_the_epoch() -> None:
    """Nothing was missed."""
    room = live(5)
    room.on_lost()
    room.join_ref = "ref"
    assert room.on_joined(joined(6, 5, 2)) == []
    assert (room.live, room.position) == (True, Position(2, 5))


def test_an_unasked_joined_without_a_hole_is_not_taken() -> None:
    """Even where it seems to follow: the server joined anew by itself, and only an asked one says from where on."""
    room = live(5)
    assert room.on_joined(joined(6, 6)) == []
    assert (room.live, room.position) == (False, Position(1, 5))


def recent(events: list[Message] | list[Message | Hole]) -> dict[int, bool]:
    """Return whether each message is recent, by its seq."""
    return {one.seq: one.recent for one in events if isinstance(one, Message)}


def test_messages_up_to_the_tail_of_the_first_join_are_recent_in_whichever_frame_they_come() -> None:
    """Nothing of a later epoch is, and the tail is that of the latest join."""
    room = FollowedRoom("r")
    room.join_ref = "ref"
    assert recent(room.on_joined(joined(5, 5) | {"tail": {"epoch": 1, "seq": 7}})) == {5: True}
    assert room.joined is not None
    assert room.joined.tail == Position(1, 7)
    assert recent(room.on_messages(payload(6, 6))) == {6: True}
    room.on_lost()
    room.join_ref = "ref"
    assert recent(room.on_joined(joined(7, 8))) == {7: True, 8: False}
    assert recent(room.on_messages(payload(9, 9, 2))) == {9: False}
    assert room.joined.tail == Position(1, 8)
    room.on_lost()
    room.join_ref = "ref"
    assert recent(room.on_joined(joined(5, 5, 3, recovered=False))) == {5: False}  # the log lost its end


def test_a_room_that_starts_at_a_saved_position_has_no_history() -> None:
    """Its application has seen everything before."""
    room = FollowedRoom("r", Position(1, 4))
    room.join_ref = "ref"
    assert recent(room.on_joined(joined(5, 5))) == {5: False}
