"""A pusher: merging while a call is open, retries until the deadline, suspicion, and nothing left unsettled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from common.errors import BadRequest, Internal, Overloaded, Unavailable
from job import pusher as module
from job.pusher import PROBE_TIMEOUT_S, Pusher
from job.record import ABANDONED, PUSHED, REFUSED
from protos.comet_pb2 import BroadcastRoomReply, BroadcastRoomReq
from protos.job_pb2 import PushMsg
from tests.support.eventually import eventually
from tests.unit.job.fakes import FakeNode, Finished, bodies, room_record, single_record

AWAY = Unavailable("UNAVAILABLE: nobody there")
SLOW = Unavailable("DEADLINE_EXCEEDED: too slow")
FULL = Overloaded("RESOURCE_EXHAUSTED: not now")
BROKEN = Internal("UNKNOWN: oops")
WRONG = BadRequest("INVALID_ARGUMENT: not that")


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PACE_S", 0.0)


@asynccontextmanager
async def _running(node: FakeNode, deadline_s: float = 5.0) -> AsyncIterator[Pusher]:
    pusher = Pusher("n", node, deadline_s)
    task = asyncio.create_task(pusher.run())
    try:
        yield pusher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _push(pusher: Pusher, finished: Finished, *offsets: int, room: str = "r") -> None:
    for offset in offsets:
        pusher.push_room(room_record(finished, room, offset))


async def test_a_record_is_pushed_at_once_and_what_comes_meanwhile_is_the_next_call() -> None:
    """Idle: one record, one call. Busy: all that came since, in one."""
    node, finished = FakeNode(), Finished()
    async with _running(node) as pusher:
        node.free.clear()
        _push(pusher, finished, 0)
        await node.until_called()
        _push(pusher, finished, 1, 2)
        _push(pusher, finished, 3, room="s")
        node.free.set()
        await finished.until(4)
    assert node.calls == [["r:0"], ["r:1", "r:2", "s:3"]]
    assert finished.results == [PUSHED] * 4


async def test_a_failed_call_is_made_again_with_what_came_meanwhile_behind_it() -> None:
    """The room's order survives."""
    node, finished = FakeNode(faults=[AWAY, SLOW]), Finished()
    async with _running(node) as pusher:
        _push(pusher, finished, 0, 1)
        await node.until_called()
        _push(pusher, finished, 2)
        await finished.until(3)
    assert node.calls[0] == ["r:0", "r:1"]
    assert node.calls[-1] == ["r:0", "r:1", "r:2"]
    assert finished.results == [PUSHED] * 3


async def test_past_the_deadline_all_that_waits_is_abandoned_and_the_node_suspected() -> None:
    """Later records get one short try each; the first that succeeds clears the node."""
    node, finished = FakeNode(fault=AWAY), Finished()
    async with _running(node, deadline_s=0.3) as pusher:
        _push(pusher, finished, 0, 1)
        pusher.push_single(single_record(finished, 2, type=PushMsg.BROADCAST), [])
        await finished.until(3)
        assert finished.results == [ABANDONED] * 3
        assert pusher.suspected
        tried = len(node.timeouts_s)
        _push(pusher, finished, 3)
        await finished.until(4)
        assert node.timeouts_s[tried:] == [PROBE_TIMEOUT_S]
        node.fault = None
        _push(pusher, finished, 4)
        await finished.until(5)
        assert finished.results[3:] == [ABANDONED, PUSHED]
        assert not pusher.suspected


async def test_no_call_outlasts_the_deadline() -> None:
    """The last tries get what is left of it."""
    node, finished = FakeNode(fault=SLOW), Finished()
    async with _running(node, deadline_s=0.4) as pusher:
        _push(pusher, finished, 0)
        await finished.until(1)
    assert node.timeouts_s[0] == pytest.approx(0.4)
    assert node.timeouts_s[-1] < 0.4


async def test_a_record_that_breaks_a_merged_call_is_refused_alone() -> None:
    """Smaller calls find it; the others are pushed in order, and calls grow again."""
    node, finished = FakeNode(fault=WRONG, poison="r:77"), Finished()
    async with _running(node) as pusher:
        _push(pusher, finished, *range(200))
        await finished.until(200)
        assert len(node.calls) < 40
        _push(pusher, finished, *range(200, 300))
        await finished.until(300)
    assert finished.offsets == list(range(300))
    assert [record.offset for record in finished if record.result == REFUSED] == [77]
    assert max(len(call) for call in node.calls[-3:]) > 10


async def test_a_record_that_makes_its_room_be_refused_is_found_too() -> None:
    """Comet names the room of a merged call, and drops what stood behind the bad one in it."""

    def refuse(request: BroadcastRoomReq) -> BroadcastRoomReply:
        return BroadcastRoomReply(refused_rooms=["r"] if "r:3" in bodies(request) else [])

    node, finished = FakeNode(answer=refuse), Finished()
    async with _running(node) as pusher:
        _push(pusher, finished, 100, room="other")
        _push(pusher, finished, *range(8))
        await finished.until(9)
    assert {record.offset: record.result for record in finished} == {
        **dict.fromkeys([*range(8), 100], PUSHED),
        3: REFUSED,
    }
    for offset in range(8):
        assert any(f"r:{offset}" in call and "r:3" not in call for call in node.calls) != (offset == 3)


async def test_a_record_that_breaks_the_node_is_tried_again_and_holds_up_only_its_room() -> None:
    """It may have been the node's own trouble; past the deadline it is abandoned."""
    node, finished = FakeNode(fault=BROKEN, poison="bad:0"), Finished()
    async with _running(node, deadline_s=0.3) as pusher:
        _push(pusher, finished, 0, room="bad")
        _push(pusher, finished, 1, 2)
        await finished.until(2)
        assert finished.offsets == [1, 2]
        await finished.until(3)
        assert not pusher.suspected
    assert finished.results == [PUSHED, PUSHED, ABANDONED]


async def test_a_node_that_is_too_slow_for_a_call_gets_smaller_ones() -> None:
    """Half as many each time, until it keeps up."""
    node, finished = FakeNode(faults=[SLOW, SLOW]), Finished()
    async with _running(node) as pusher:
        _push(pusher, finished, *range(1000))
        await finished.until(1000)
    assert [len(call) for call in node.calls[:3]] == [1000, 500, 250]
    assert finished.offsets == list(range(1000))


async def test_users_and_everybody_get_calls_of_their_own() -> None:
    """With the users' ids, the operation and the speed."""
    node, finished = FakeNode(faults=[AWAY]), Finished()
    async with _running(node) as pusher:
        pusher.push_single(single_record(finished, 0, type=PushMsg.PUSH, keys=["1", "2"]), ["2"])
        pusher.push_single(single_record(finished, 1, type=PushMsg.BROADCAST, speed=9), [])
        await finished.until(2)
    assert [(list(one.keys), one.proto.body, one.proto_op) for one in node.users] == [(["2"], "0", 5)]
    assert [(one.proto.body, one.proto_op, one.speed) for one in node.everyone] == [("1", 5, 9)]
    assert finished.results == [PUSHED, PUSHED]


async def test_a_single_that_is_refused_holds_nobody_up() -> None:
    """It is counted, and the next goes out."""
    node, finished = FakeNode(faults=[WRONG]), Finished()
    async with _running(node) as pusher:
        for offset in range(2):
            pusher.push_single(single_record(finished, offset, type=PushMsg.BROADCAST), [])
        await finished.until(2)
    assert finished.results == [REFUSED, PUSHED]


async def test_a_broadcast_put_off_holds_up_no_room() -> None:
    """Comet has as many under way as it likes: the next waits, up to the deadline, and the node is not suspected."""
    node, finished = FakeNode(fault=FULL, poison="all"), Finished()
    async with _running(node, deadline_s=0.3) as pusher:
        pusher.push_single(single_record(finished, 0, type=PushMsg.BROADCAST, msg=b"all"), [])
        pusher.push_single(single_record(finished, 1, type=PushMsg.BROADCAST, msg=b"some"), [])
        await node.until_called()
        _push(pusher, finished, 2)
        await finished.until(1)
        assert finished.offsets == [2]
        await finished.until(3)
        assert not pusher.suspected
    assert {record.offset: record.result for record in finished} == {0: ABANDONED, 1: PUSHED, 2: PUSHED}


async def test_a_broadcast_put_off_goes_out_when_the_node_takes_it_again() -> None:
    """Without anything new waking the pusher."""
    node, finished = FakeNode(faults=[FULL, FULL]), Finished()
    async with _running(node) as pusher:
        pusher.push_single(single_record(finished, 0, type=PushMsg.BROADCAST), [])
        await finished.until(1)
    assert finished.results == [PUSHED]


async def test_a_room_to_retry_comes_again_while_others_pass() -> None:
    """Without any new record waking the pusher."""
    replies = [BroadcastRoomReply(retry_rooms=["late"]), BroadcastRoomReply(), BroadcastRoomReply()]
    node, finished = FakeNode(answer=lambda _: replies.pop(0)), Finished()
    async with _running(node) as pusher:
        _push(pusher, finished, 0, room="late")
        await node.until_called()
        _push(pusher, finished, 1, room="other")
        await finished.until(2)
    assert finished.offsets == [1, 0]
    assert node.calls == [["late:0"], ["other:1"], ["late:0"]]


@pytest.mark.parametrize("state", ["open call", "backoff", "waiting"])
async def test_when_the_node_leaves_nothing_stays_unsettled(state: str) -> None:
    """Cancelled in a call, between two tries or idle: all is abandoned, the connection ended; what comes later too."""
    node, finished = FakeNode(fault=AWAY if state == "backoff" else None), Finished()
    pusher = Pusher("n", node, 60.0)
    task = asyncio.create_task(pusher.run())
    if state == "open call":
        node.free.clear()
    if state != "waiting":
        _push(pusher, finished, 0, 1)
        pusher.push_single(single_record(finished, 2, type=PushMsg.BROADCAST), [])
        await node.until_called()
        if state == "open call":
            _push(pusher, finished, 3)
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert node.closed
    before = len(finished)
    _push(pusher, finished, 4)
    pusher.push_single(single_record(finished, 5, type=PushMsg.BROADCAST), [])
    assert len(finished) == before + 2
    assert set(finished.results) == {ABANDONED}
    assert pusher.waiting == 0


async def test_a_failing_node_is_given_up_early_when_others_must_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full partition makes the difference; a node that works is never given up for it."""
    monkeypatch.setattr(module, "HURRY_S", 0.02)  # less than three tries take
    node, finished = FakeNode(fault=AWAY), Finished()
    async with _running(node, deadline_s=60.0) as pusher:
        pusher.relieve()
        assert not pusher.suspected
        _push(pusher, finished, 0)
        await eventually(lambda: len(node.timeouts_s) >= 3)
        assert finished == []
        pusher.relieve()
        await finished.until(1)
        assert finished.results == [ABANDONED]
