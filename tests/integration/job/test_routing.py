"""Who gets what: over a real Kafka, Redis and gRPC."""

from functools import partial

from protos.comet_pb2 import BroadcastRoomReply
from protos.job_pb2 import PushMsg
from tests.integration.job.comets import Comet
from tests.integration.job.conftest import Nodes, Produce, StartJob

ROOM, PUSH, BROADCAST = PushMsg.ROOM, PushMsg.PUSH, PushMsg.BROADCAST


async def test_each_type_goes_to_the_nodes_that_it_is_for(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """A ROOM goes where the room is served, a PUSH to its users, a BROADCAST everywhere; what names a server, there."""
    one = await nodes.up("one", rooms=["red", "both"], users=["1", "3"])
    two = await nodes.up("two", rooms=["blue", "both"], users=["2", "3"])
    job = await make_job().up()

    await produce(type=ROOM, room="red", msg="r", epoch=7, first_seq=3, count=1)
    await produce(type=ROOM, room="both", msg="b", epoch=7, first_seq=1, count=1)
    await produce(type=ROOM, room="both", msg="only two", server="two", id="s")
    await produce(type=ROOM, room="nobody", msg="-", id="n")
    await produce(type=PUSH, keys=["1", "2", "4"], msg="p", id="p1")
    await produce(type=PUSH, keys=["4"], msg="-", id="p2")
    await produce(type=PUSH, keys=["3"], msg="q", id="p3", server="one")
    await produce(type=BROADCAST, msg="all", id="a", speed=50)
    await produce(type=BROADCAST, msg="some", id="a2", server="gone")

    await one.until(lambda: len(one.rooms) == 2 and len(one.users) == 2 and len(one.everyone) == 1)
    await two.until(lambda: len(two.rooms) == 2 and len(two.users) == 1 and len(two.everyone) == 1)
    assert one.bodies("red") == ["r"]
    assert one.bodies("both") == ["b"]
    assert sorted(two.bodies("both")) == ["b", "only two"]
    assert sorted(list(push.keys) for push in one.users) == [["1"], ["3"]]
    assert [list(push.keys) for push in two.users] == [["2"]]
    assert {push.proto.body for push in one.users} == {"p", "q"}
    assert (one.everyone[0].proto.body, one.everyone[0].speed, one.everyone[0].proto_op) == ("all", 50, 4)
    (proto,) = (proto for room, proto in one.rooms if room == "red")
    assert (proto.ver, proto.op, proto.epoch, proto.first_seq, proto.count, proto.id) == (1, 4, 7, 3, 1, "")
    assert await job.until_metric("job_records_total", 6, result="pushed") == 6
    assert await job.until_metric("job_records_total", 3, result="offline") == 3


async def test_the_log_tells_what_came_and_that_it_was_pushed(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Step 2 of the reference document: the lines can be found by the words that it gives."""
    one = await nodes.up("one", rooms=["room_001"])
    job = await make_job(JOB_CONSUMERS="1").up()
    frame = '{"type":"serverMessages","payload":{"roomId":"room_001","messages":[]}}'
    await produce(type=ROOM, room="room_001", msg=frame, epoch=1, first_seq=1, count=1)
    await one.until(lambda: one.rooms)
    await job.until_metric("job_records_total", 1, result="pushed")
    (line,) = (line for line in job.log.splitlines() if "[Consumer 0] Received PushMsg:" in line)
    for words in ("Type: 1", "Operation: 4", "roomId: room_001", 'msg: {"type":"serverMessages",'):
        assert words in line
    assert job.log.index("BroadcastRoom success") > job.log.index(line)


async def test_calls_are_counted_from_the_start(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """Both outcomes of each call are at 0 before the first; then they count."""
    one = await nodes.up("one", rooms=["r"])
    job = await make_job(JOB_CONSUMERS="1").up()
    for name in ("broadcast_room", "push_msg", "broadcast"):
        for status in ("success", "failed"):
            assert await job.metric("grpc_calls_total", service="job", name=name, status=status) == 0
    await produce(type=ROOM, room="r", msg="x", epoch=1, first_seq=1, count=1)
    await one.until(lambda: one.rooms)
    assert await job.until_metric("grpc_calls_total", 1, service="job", name="broadcast_room", status="success") == 1
    assert await job.metric("job_delivery_seconds_count") == 1
    assert await job.metric("job_push_seconds_count", name="broadcast_room") == 1
    assert await job.metric("job_messages_per_call_sum") == 1


async def test_a_node_that_just_came_is_found_at_once(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """A room served by a node that Job has not seen makes Job look again, not drop the record."""
    await nodes.up("old", rooms=["a"])
    await make_job(JOB_CONSUMERS="1").up()
    new = await nodes.up("new", rooms=["b"])
    await produce(type=ROOM, room="b", msg="x", epoch=1, first_seq=1, count=1)
    await new.until(lambda: new.rooms)


def _has_all(comet: Comet) -> bool:
    return bool(comet.rooms and comet.users and comet.everyone)


async def test_comet_addrs_stand_in_while_no_node_is_registered(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """With an empty registry every type goes to all addresses of JOB_COMET_ADDRS; with one node, none does."""
    async with Comet("x") as x, Comet("y") as y:
        job = await make_job(JOB_COMET_ADDRS=f"{x.address}, {y.address}").up()
        await produce(type=ROOM, room="r", msg="1", server="whoever")
        await produce(type=PUSH, keys=["1"], msg="2")
        await produce(type=BROADCAST, msg="3")
        for comet in (x, y):
            await comet.until(partial(_has_all, comet))
        one = await nodes.up("one", rooms=["r"])
        await produce(type=ROOM, room="r", msg="4")
        await one.until(lambda: one.rooms)
        await job.until_metric("job_records_total", 4, result="pushed")
        assert [*x.bodies("r"), *y.bodies("r")] == ["1", "1"]


async def test_a_push_msg_of_another_implementation_is_handled(
    make_job: StartJob, nodes: Nodes, produce: Produce, topic: str
) -> None:
    """Without id and position it is pushed with an id made of where it stands, so that its repeats can be told."""
    one = await nodes.up("one", rooms=["r"])
    await make_job().up()
    partition = await produce(type=ROOM, room="r", msg="plain text")
    await one.until(lambda: one.rooms)
    ((_, proto),) = one.rooms
    assert (proto.body, proto.epoch) == ("plain text", 0)
    assert proto.id.startswith(f"{topic}/{partition}/0@1")  # and when, should the topic be made anew


async def test_rooms_to_retry_come_again_in_order_and_refused_ones_do_not(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """A room that the node could not settle is pushed again, before what follows it; others are not held up by it."""
    refusals = [3]

    def settle_later(_request: object) -> BroadcastRoomReply:
        refusals[0] -= 1
        return BroadcastRoomReply(retry_rooms=["late"] if refusals[0] >= 0 else [], refused_rooms=["bad"])

    one = await nodes.up("one", rooms=["late", "bad", "good"], answer=settle_later)
    job = await make_job().up()
    for number in range(5):
        await produce(type=ROOM, room="late", msg=f"late {number}", epoch=1, first_seq=number + 1, count=1)
    await produce(type=ROOM, room="good", msg="good", epoch=1, first_seq=1, count=1)
    await produce(type=ROOM, room="bad", msg="bad", epoch=1, first_seq=9, count=1)
    await one.until(lambda: len(one.bodies("late")) == 5)
    assert one.bodies("late") == [f"late {number}" for number in range(5)]
    await job.until_metric("job_records_total", 6, result="pushed")
    assert await job.until_metric("job_records_total", 1, result="refused") == 1


async def test_a_node_that_left_is_abandoned_soon(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """What a node that left does not take within a moment is given up, long before the push deadline."""
    one = await nodes.up("one", rooms=["r"])
    one.stuck.set()
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="60").up()
    await produce(type=ROOM, room="r", msg="x", epoch=1, first_seq=1, count=1)
    await one.until_called()
    await nodes.leave(one)
    await job.until_metric("job_records_total", 1, timeout_s=5, result="abandoned")
