"""What Job promises of a record: at least once, in its room's order, merged, and never held up by another's node."""

import asyncio

from common.registry import Node, Registry, RoomPresence
from protos.job_pb2 import PushMsg
from testbed.ports import free_port
from tests.integration.job.conftest import JobProgram, Nodes, Produce, StartJob
from tests.support.eventually import eventually

ROOM = PushMsg.ROOM


async def _send(produce: Produce, room: str, first: int, count: int, pause_s: float = 0.0) -> None:
    for number in range(first, first + count):
        await asyncio.sleep(pause_s)  # spreads the load, proves nothing
        await produce(type=ROOM, room=room, msg=f"{room} {number}", epoch=1, first_seq=number, count=1)


def _expected(room: str, count: int) -> list[str]:
    return [f"{room} {number}" for number in range(1, count + 1)]


async def test_under_load_many_records_share_a_call_and_keep_their_rooms_order(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """A slow node gets at most one call for ten records, and each room's records in their order."""
    rooms = [f"room-{number}" for number in range(10)]
    one = await nodes.up("one", rooms=rooms, delay_s=0.2)
    job = await make_job().up()
    await asyncio.gather(*(_send(produce, room, 1, 60) for room in rooms))
    await one.until(lambda: len(one.rooms) == 600)
    for room in rooms:
        assert one.bodies(room) == _expected(room, 60)
    assert one.calls / 600 <= 0.1
    assert await job.until_metric("job_messages_per_call_sum", 600) == 600


async def test_what_was_not_committed_comes_again_after_a_kill(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Killed while one of two nodes still lacks the records: the next Job pushes all of them again, losing none."""
    good, bad = await nodes.up("good", rooms=["r"]), await nodes.up("bad", rooms=["r"])
    bad.stuck.set()
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="60").up()
    await _send(produce, "r", 1, 20)
    await good.until(lambda: len(good.rooms) == 20)
    await asyncio.to_thread(job.kill)
    bad.stuck.clear()
    await make_job().up()
    await bad.until(lambda: len(bad.rooms) == 20)
    await good.until(lambda: len(good.rooms) == 40)
    assert bad.bodies("r") == _expected("r", 20)
    assert good.bodies("r") == _expected("r", 20) * 2


async def test_sigterm_finishes_commits_and_leaves(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """What is in flight is pushed before Job exits with 0, and the next Job begins behind it."""
    one = await nodes.up("one", rooms=["r"], delay_s=0.5)
    job = await make_job().up()
    await _send(produce, "r", 1, 10)
    await one.until(lambda: one.rooms)
    assert await job.ended() == 0
    assert one.bodies("r") == _expected("r", 10)
    await make_job().up()
    await _send(produce, "r", 11, 1)
    await one.until(lambda: "r 11" in one.bodies("r"))
    assert one.bodies("r") == _expected("r", 11)
    assert "Job has stopped" in job.log


async def test_four_consumers_share_four_partitions(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """Each consumer gets the records of one partition."""
    one = await nodes.up("one", rooms=["r"])
    job = await make_job().up()
    for partition in range(4):
        for number in range(2):
            await produce(type=ROOM, room="r", msg=f"partition {partition}", id=f"{number}", partition=partition)
    await one.until(lambda: len(one.rooms) == 8)
    await job.until_metric("job_records_total", 8, result="pushed")
    takers = {
        consumer: {partition for partition in range(4) if _logged(job.log, consumer, partition)}
        for consumer in range(4)
    }
    assert sorted(partition for taken in takers.values() for partition in taken) == [0, 1, 2, 3]
    assert all(len(taken) == 1 for taken in takers.values())


def _logged(text: str, consumer: int, partition: int) -> bool:
    return any(f"[Consumer {consumer}]" in line and f"partition {partition}" in line for line in text.splitlines())


async def test_another_job_takes_over_from_one_that_was_killed(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Two Jobs share the partitions; when one is killed the other has them all, and nothing is missing."""
    one = await nodes.up("one", rooms=["r"])
    first, second = await asyncio.gather(make_job().up(), make_job().up())
    for partition in range(4):
        await produce(type=ROOM, room="r", msg=f"before {partition}", id=f"b{partition}", partition=partition)
    await one.until(lambda: len(set(one.bodies("r"))) == 4)
    await asyncio.to_thread(first.kill)
    for partition in range(4):
        await produce(type=ROOM, room="r", msg=f"after {partition}", id=f"a{partition}", partition=partition)
    await one.until(lambda: len(set(one.bodies("r"))) == 8, timeout_s=30)
    assert await second.metric("job_records_total", result="pushed") >= 4


async def test_jobs_that_come_and_go_under_load_lose_nothing_and_repeat_nothing(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Each time partitions are shared out anew, what is in flight is finished and committed first."""
    rooms = [f"room-{number}" for number in range(8)]
    one = await nodes.up("one", rooms=rooms, delay_s=0.05)
    first, second = make_job(), make_job()
    await first.up()
    sending = asyncio.gather(*(_send(produce, room, 1, 150, pause_s=0.02) for room in rooms))
    await second.up()
    await one.until(lambda: len(one.rooms) > 600)
    assert await first.ended() == 0
    await sending
    # The embedded broker takes 5 s to share out partitions anew, and a busy machine makes it several rounds.
    await one.until(lambda: len(one.rooms) >= 1200, timeout_s=60)
    for room in rooms:
        assert one.bodies(room) == _expected(room, 150)


async def test_lag_is_what_is_not_finished(make_job: StartJob, nodes: Nodes, produce: Produce) -> None:
    """Lag counts what Kafka has and no node took yet, by partition, and falls to 0."""
    one = await nodes.up("one", rooms=["r"])
    one.stuck.set()
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="60").up()
    partition = 0
    for _ in range(7):
        partition = await produce(type=ROOM, room="r", msg="x")
    await _until_lag(job, {str(one): 7 * (one == partition) for one in range(4)})
    one.stuck.clear()
    await job.until_metric("job_records_total", 7, result="pushed")
    await _until_lag(job, dict.fromkeys("0123", 0))


async def _until_lag(job: JobProgram, expected: dict[str, int]) -> None:
    async def shown() -> bool:
        return await job.by_label("job_kafka_lag", "partition") == expected

    await eventually(shown)


async def test_a_node_that_never_was_there_is_forgotten_with_its_life(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """A dead node's entries in the registry cost nothing: it counts as nobody."""
    await nodes.up("good", rooms=["other"])
    registry: Registry = nodes.registry
    await registry.renew(Node("dead", f"127.0.0.1:{free_port()}"), first=True)
    await registry.record("dead", {"r": RoomPresence(1, [])}, {"9": 1}, 3600)
    await registry.leave("dead")
    job = await make_job().up()
    await produce(type=ROOM, room="r", msg="x", id="1")
    await produce(type=PushMsg.PUSH, keys=["9"], msg="x", id="2")
    assert await job.until_metric("job_records_total", 2, result="offline") == 2
