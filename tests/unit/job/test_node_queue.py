"""The node queue: batches within bounds, and each room's records in their order whatever fails."""

import random

import pytest

from job import node_queue as module
from job.node_queue import NodeQueue
from job.record import ABANDONED, PUSHED, REFUSED, PendingRecord
from tests.unit.job.fakes import Finished, room_record


def _queue(finished: Finished, *rooms: str, deadline_s: float = 5.0) -> NodeQueue:
    queue = NodeQueue(deadline_s)
    for offset, room in enumerate(rooms):
        queue.put(room_record(finished, room, offset))
    return queue


def _offsets(records: list[PendingRecord]) -> list[int]:
    return [record.offset for record in records]


def test_it_gives_at_most_so_many_in_the_order_in_which_they_came() -> None:
    """The rest stays."""
    queue = _queue(Finished(), "a", "b", "a")
    assert _offsets(queue.take(2)) == [0, 1]
    assert queue.waiting == 1


def test_it_gives_at_most_so_many_bytes_but_one_record_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record past the bound travels alone."""
    monkeypatch.setattr(module, "MAX_BYTES", 300)
    queue, finished = NodeQueue(5), Finished()
    for offset, size_bytes in enumerate([50, 50, 1000, 10]):
        queue.put(room_record(finished, offset=offset, size_bytes=size_bytes))
    assert [_offsets(queue.take(10)) for _ in range(3)] == [[0, 1], [2], [3]]


def test_what_failed_comes_first_again() -> None:
    """Before what came meanwhile."""
    finished = Finished()
    queue = _queue(finished, "a", "b")
    queue.take(10)
    queue.put(room_record(finished, "a", 2))
    queue.put_back()
    assert _offsets(queue.take(10)) == [0, 1, 2]


def test_all_is_pushed_but_what_the_reply_names() -> None:
    """A refused room is done with, a room to retry is not."""
    finished = Finished()
    queue = _queue(finished, "good", "bad", "late")
    queue.take(10)
    assert queue.settle(["late"], ["bad"], 0.0) == ([], 0)
    assert finished.offsets == [0, 1]
    assert finished.results == [PUSHED, REFUSED]


def test_of_a_refused_room_with_several_records_each_gets_another_chance() -> None:
    """Which of them is to blame is not known; they come first again, in order."""
    finished = Finished()
    queue = _queue(finished, "bad", "good", "bad", "worse", "worse")
    queue.take(10)
    queue.put(room_record(finished, "bad", 5))
    assert queue.settle([], ["bad", "worse"], 0.0) == ([], 4)
    assert finished.results == [PUSHED]
    assert _offsets(queue.take(10)) == [0, 2, 3, 4, 5]


def test_a_room_to_retry_waits_with_all_that_follows_in_it() -> None:
    """Other rooms pass; when its time has come it goes first, in order."""
    finished = Finished()
    queue = _queue(finished, "late", "late")
    queue.take(10)
    queue.settle(["late"], [], now=100.0)
    for offset, room in [(2, "late"), (3, "other"), (4, "late")]:
        queue.put(room_record(finished, room, offset))
    assert _offsets(queue.take(10)) == [3]
    ready_at = queue.next_ready()
    assert ready_at is not None
    assert 100.0 < ready_at <= 100.1
    queue.settle([], [], now=100.01)
    queue.release(ready_at - 0.001)
    assert queue.waiting == 0
    queue.release(ready_at)
    assert _offsets(queue.take(10)) == [0, 1, 2, 4]
    queue.settle([], [], now=101.0)
    assert sorted(finished.offsets) == [0, 1, 2, 3, 4]
    assert queue.next_ready() is None


def test_a_room_is_tried_again_until_the_deadline() -> None:
    """Then its records are abandoned; the next record of the room starts anew."""
    finished = Finished()
    queue = _queue(finished, "late", deadline_s=5.0)
    for now in (0.0, 2.0, 4.9):
        queue.release(now)
        assert _offsets(queue.take(10)) == [0]
        assert queue.settle(["late"], [], now).late == []
    queue.release(6.0)
    queue.take(10)
    assert _offsets(queue.settle(["late"], [], 6.0).late) == [0]
    assert finished.results == [ABANDONED]
    queue.put(room_record(finished, "late", 1))
    assert _offsets(queue.take(10)) == [1]
    assert queue.settle(["late"], [], 7.0).late == []


def test_a_room_whose_records_were_given_up_starts_anew() -> None:
    """What held it up before counts no more."""
    finished = Finished()
    queue = _queue(finished, "late", deadline_s=5.0)
    queue.take(10)
    queue.settle(["late"], [], 0.0)
    queue.release(4.0)
    queue.take(10)
    assert _offsets(queue.give_up()) == [0]
    queue.put(room_record(finished, "late", 1))
    queue.take(10)
    assert queue.settle(["late"], [], 6.0).late == []


def test_it_lets_go_of_everything_however_it_waits() -> None:
    """In a call, held, or in the queue."""
    finished = Finished()
    queue = _queue(finished, "late", "a", "a")
    queue.take(1)
    queue.settle(["late"], [], 0.0)
    queue.take(1)
    assert sorted(_offsets(queue.drop())) == [0, 1, 2]
    assert (queue.waiting, queue.next_ready(), queue.drop()) == (0, None, [])


@pytest.mark.parametrize("seed", range(30))
def test_rooms_keep_their_order_whatever_happens(seed: int) -> None:
    """Random failures, retries and batch sizes: each room's records are pushed once each, in order."""
    dice, finished = random.Random(seed), Finished()  # noqa: S311 - a game, not a secret
    queue, pushed, now, offset = NodeQueue(1e9), list[tuple[str, int]](), 0.0, 0
    while len(finished) < 200:
        for _ in range(dice.randrange(6) if offset < 200 else 0):
            queue.put(room_record(finished, dice.choice("abcd"), offset))
            offset += 1
        now += dice.random() / 5
        queue.release(now)
        taken = queue.take(dice.choice([1, 3, 50]))
        if dice.random() < 0.2:
            queue.put_back()
            continue
        retry = {room for room in "abcd" if dice.random() < 0.2}
        pushed += [(record.room, record.offset) for record in taken if record.room not in retry]
        queue.settle(retry, [], now)
    for room in "abcd":
        offsets = [number for name, number in pushed if name == room]
        assert offsets == sorted(set(offsets))
