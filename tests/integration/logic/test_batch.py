"""POST /logic/send/batch: the way from Comet's outbox into Kafka."""

import asyncio
import json

from logic.replies import BatchSent
from protos.job_pb2 import PushMsg
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Logic, backend_send, comet_send
from tests.support.metrics import asample


async def test_all_sends_of_a_batch_are_produced_in_each_rooms_order(logic: Logic, records: Topic) -> None:
    """A batch of many rooms: every send is acknowledged, and a room's records follow its seqs."""
    rooms = [f"room_{number}" for number in range(10)]
    sends = [comet_send(room, seq) for seq in range(1, 21) for room in rooms]
    answer = await logic.post("/logic/send/batch", {"sends": sends})
    assert answer.status == 200
    assert answer.json == {"status": "success", "results": [{"status": "success", "reason": ""}] * 200}
    BatchSent.model_validate(answer.json)
    seqs: dict[str, list[int]] = {}
    for message in await records.messages(200):
        assert (message.type, message.operation, message.count) == (PushMsg.ROOM, 4, 1)
        seqs.setdefault(message.room, []).append(message.first_seq)
    assert seqs == {room: list(range(1, 21)) for room in rooms}


async def test_a_batch_is_few_record_batches(logic: Logic, records: Topic) -> None:
    """What comes together goes together: at most one record batch a partition, so one timestamp each."""
    sends = [comet_send(f"room_{number % 16}", 1 + number // 16) for number in range(160)]
    await logic.post("/logic/send/batch", {"sends": sends})
    found = await records.records(160)
    partitions = {record.partition for record in found}
    assert len({(record.partition, record.timestamp) for record in found}) <= len(partitions) * 3
    for partition in partitions:
        offsets = [record.offset for record in found if record.partition == partition]
        assert offsets == list(range(len(offsets)))


async def test_a_bad_send_in_the_middle_is_rejected_alone(logic: Logic, records: Topic) -> None:
    """The others of the batch, its own room's too, are produced."""
    bad = comet_send("room", 2)
    bad["messages"][0]["seq"] = "2"
    odd = comet_send("room", 4, count=2)
    odd["messages"][1]["seq"] = 6
    sends: list[object] = [comet_send("room", 1), bad, comet_send("room", 3), "no object", odd, comet_send("other", 1)]
    answer = await logic.post("/logic/send/batch", {"sends": sends})
    assert answer.status == 200
    statuses = [one["status"] for one in answer.json["results"]]
    assert answer.json["status"] == "partial"
    assert statuses == ["success", "rejected", "success", "rejected", "rejected", "success"]
    assert "messages[0].seq" in answer.json["results"][1]["reason"]
    assert "messages[1].seq" in answer.json["results"][4]["reason"]
    produced = [(one.room, one.first_seq) for one in await records.messages(3)]
    assert sorted(produced) == [("other", 1), ("room", 1), ("room", 3)]


async def test_what_is_no_batch_is_400(logic: Logic) -> None:
    """A frame without sends is nobody's send's fault."""
    bodies: list[object] = [{}, {"sends": 5}, []]
    for body in bodies:
        answer = await logic.post("/logic/send/batch", body)
        assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert (await logic.post("/logic/send/batch", b"{")).status == 400
    assert (await logic.post("/logic/send/batch", {"sends": []})).json == {"status": "success", "results": []}


async def test_what_does_not_fit_into_one_record_becomes_several(logic: Logic, records: Topic) -> None:
    """What Comet acknowledged reaches Kafka whatever its size, each part at its own position."""
    send = comet_send("room", 1, count=100)
    for message in send["messages"]:
        message["content"] = "\x01" * 3000  # 18,000 bytes of JSON each
    answer = await logic.post("/logic/send/batch", {"sends": [send, comet_send("room", 101)]})
    assert answer.json["status"] == "success"
    found = await records.messages(3)
    assert [(one.first_seq, one.count) for one in found] == [(1, 50), (51, 50), (101, 1)]
    assert [len(json.loads(one.msg)["payload"]["messages"]) for one in found] == [50, 50, 1]


async def test_backend_sends_in_a_batch_need_a_ref_and_are_stored(logic: Logic, records: Topic) -> None:
    """A retry of a batch must not store anything twice."""
    sends = [backend_send("room", "a", ref="1"), backend_send("room", "b"), backend_send("room", "c", ref="3")]
    first = await logic.post("/logic/send/batch", {"sends": sends})
    assert [one["status"] for one in first.json["results"]] == ["success", "rejected", "success"]
    await logic.post("/logic/send/batch", {"sends": sends})
    assert [one.first_seq for one in await records.messages(4)] == [1, 2, 1, 2]
    assert len((await logic.get("/logic/rooms/room/messages")).json["messages"]) == 2


async def test_a_ref_with_other_contents_is_refused_alone(logic: Logic, records: Topic) -> None:
    """That send is rejected and its reason names the ref; those around it are stored and produced."""
    await logic.post("/logic/send", backend_send("room", "a", ref="1"))
    sends = [backend_send("room", "b", ref="2"), backend_send("room", "x", ref="1"), backend_send("room", "c", ref="3")]
    answer = await logic.post("/logic/send/batch", {"sends": sends})
    assert (answer.status, answer.json["status"]) == (200, "partial")
    assert [one["status"] for one in answer.json["results"]] == ["success", "rejected", "success"]
    assert answer.json["results"][1]["reason"].startswith("ref was used for other contents")
    assert sorted(one.first_seq for one in await records.messages(3)) == [1, 2, 3]


async def test_batches_at_once_are_all_produced(logic: Logic, records: Topic) -> None:
    """As with many shards' forwarders: each room in one of them, all under way together."""
    batches = [
        {"sends": [comet_send(f"room_{shard}", seq, content="x") for seq in range(1, 31)]} for shard in range(16)
    ]
    answers = await asyncio.gather(*(logic.post("/logic/send/batch", batch) for batch in batches))
    assert {answer.json["status"] for answer in answers} == {"success"}
    seqs: dict[str, list[int]] = {}
    for message in await records.messages(480):
        seqs.setdefault(message.room, []).append(message.first_seq)
    assert seqs == {f"room_{shard}": list(range(1, 31)) for shard in range(16)}


async def test_sends_are_counted_by_source_and_result(logic: Logic) -> None:
    """Every series is there from the start, and each send counts once."""
    url = f"http://127.0.0.1:{logic.settings.http_bind_port}/metrics"

    async def count(source: str, result: str) -> float:
        return await asample(url, "logic_sends_total", source=source, result=result)

    before = await count("comet", "success"), await count("comet", "rejected"), await count("backend", "success")
    await logic.post("/logic/send/batch", {"sends": [comet_send("a", 1), comet_send("b", 1), comet_send("c d", 1)]})
    await logic.post("/logic/send", backend_send("a", "x"))
    after = await count("comet", "success"), await count("comet", "rejected"), await count("backend", "success")
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 1]
    assert await asample(url, "logic_produce_seconds_count") > 0
    assert await asample(url, "logic_requests_in_flight") == 0  # who asks for metrics is not among them
