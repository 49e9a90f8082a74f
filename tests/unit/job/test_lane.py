"""A lane: batches within bounds, and each room's records in their order whatever fails."""

import random

import pytest

from job import lane as module
from job.lane import Lane
from job.record import ABANDONED, PUSHED, REFUSED, Record
from tests.unit.job.fakes import Finished, room_record


def _lane(finished: Finished, *rooms: str, deadline_s: float = 5.0) -> Lane:
    lane = Lane(deadline_s)
    for offset, room in enumerate(rooms):
        lane.put(room_record(finished, room, offset))
    return lane


def _offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


def test_it_gives_at_most_so_many_in_the_order_in_which_they_came() -> None:
    """The rest stays."""
    lane = _lane(Finished(), "a", "b", "a")
    assert _offsets(lane.take(2)) == [0, 1]
    assert lane.waiting == 1


def test_it_gives_at_most_so_many_bytes_but_one_record_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record past the bound travels alone."""
    monkeypatch.setattr(module, "MAX_BYTES", 300)
    lane, finished = Lane(5), Finished()
    for offset, size_bytes in enumerate([50, 50, 1000, 10]):
        lane.put(room_record(finished, offset=offset, size_bytes=size_bytes))
    assert [_offsets(lane.take(10)) for _ in range(3)] == [[0, 1], [2], [3]]


def test_what_failed_comes_first_again() -> None:
    """Before what came meanwhile."""
    finished = Finished()
    lane = _lane(finished, "a", "b")
    lane.take(10)
    lane.put(room_record(finished, "a", 2))
    lane.put_back()
    assert _offsets(lane.take(10)) == [0, 1, 2]


def test_all_is_pushed_but_what_the_reply_names() -> None:
    """A refused room is done with, a room to retry is not."""
    finished = Finished()
    lane = _lane(finished, "good", "bad", "late")
    lane.take(10)
    assert lane.settle(["late"], ["bad"], 0.0) == ([], 0)
    assert finished.offsets == [0, 1]
    assert finished.results == [PUSHED, REFUSED]


def test_of_a_refused_room_with_several_records_each_gets_another_chance() -> None:
    """Which of them is to blame is not known; they come first again, in order."""
    finished = Finished()
    lane = _lane(finished, "bad", "good", "bad", "worse", "worse")
    lane.take(10)
    lane.put(room_record(finished, "bad", 5))
    assert lane.settle([], ["bad", "worse"], 0.0) == ([], 4)
    assert finished.results == [PUSHED]
    assert _offsets(lane.take(10)) == [0, 2, 3, 4, 5]


def test_a_room_to_retry_waits_with_all_that_follows_in_it() -> None:
    """Other rooms pass; when its time has come it goes first, in order."""
    finished = Finished()
    lane = _lane(finished, "late", "late")
    lane.take(10)
    lane.settle(["late"], [], now=100.0)
    for offset, room in [(2, "late"), (3, "other"), (4, "late")]:
        lane.put(room_record(finished, room, offset))
    assert _offsets(lane.take(10)) == [3]
    ready_at = lane.next_ready()
    assert ready_at is not None
    assert 100.0 < ready_at <= 100.1
    lane.settle([], [], now=100.01)
    lane.release(ready_at - 0.001)
    assert lane.waiting == 0
    lane.release(ready_at)
    assert _offsets(lane.take(10)) == [0, 1, 2, 4]
    lane.settle([], [], now=101.0)
    assert sorted(finished.offsets) == [0, 1, 2, 3, 4]
    assert lane.next_ready() is None


def test_a_room_is_tried_again_until_the_deadline() -> None:
    """Then its records are abandoned; the next record of the room starts anew."""
    finished = Finished()
    lane = _lane(finished, "late", deadline_s=5.0)
    for now in (0.0, 2.0, 4.9):
        lane.release(now)
        assert _offsets(lane.take(10)) == [0]
        assert lane.settle(["late"], [], now).late == []
    lane.release(6.0)
    lane.take(10)
    assert _offsets(lane.settle(["late"], [], 6.0).late) == [0]
    assert finished.results == [ABANDONED]
    lane.put(room_record(finished, "late", 1))
    assert _offsets(lane.take(10)) == [1]
    assert lane.settle(["late"], [], 7.0).late == []


def test_a_room_whose_records_were_given_up_starts_anew() -> None:
    """What held it up before counts no more."""
    finished = Finished()
    lane = _lane(finished, "late", deadline_s=5.0)
    lane.take(10)
    lane.settle(["late"], [], 0.0)
    lane.release(4.0)
    lane.take(10)
    assert _offsets(lane.give_up()) == [0]
    lane.put(room_record(finished, "late", 1))
    lane.take(10)
    assert lane.settle(["late"], [], 6.0).late == []


def test_it_lets_go_of_everything_however_it_waits() -> None:
    """In a call, held, or in the queue."""
    finished = Finished()
    lane = _lane(finished, "late", "a", "a")
    lane.take(1)
    lane.settle(["late"], [], 0.0)
    lane.take(1)
    assert sorted(_offsets(lane.drop())) == [0, 1, 2]
    assert (lane.waiting, lane.next_ready(), lane.drop()) == (0, None, [])


@pytest.mark.parametrize("seed", range(30))
def test_rooms_keep_their_order_whatever_happens(seed: int) -> None:
    """Random failures, retries and batch sizes: each room's records are pushed once each, in order."""
    dice, finished = random.Random(seed), Finished()  # noqa: S311 - a game, not a secret
    lane, pushed, now, offset = Lane(1e9), list[tuple[str, int]](), 0.0, 0
    while len(finished) < 200:
        for _ in range(dice.randrange(6) if offset < 200 else 0):
            lane.put(room_record(finished, dice.choice("abcd"), offset))
            offset += 1
        now += dice.random() / 5
        lane.release(now)
        taken = lane.take(dice.choice([1, 3, 50]))
        if dice.random() < 0.2:
            lane.put_back()
            continue
        retry = {room for room in "abcd" if dice.random() < 0.2}
        pushed += [(record.room, record.offset) for record in taken if record.room not in retry]
        lane.settle(retry, [], now)
    for room in "abcd":
        offsets = [number for name, number in pushed if name == room]
        assert offsets == sorted(set(offsets))
