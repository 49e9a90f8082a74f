"""The forwarder: what Logic took leaves the outbox, what it refused is parked, all else stays and is sent again."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest
from aiohttp import Payload
from prometheus_client import REGISTRY

from comet.forwarder import BATCH_BYTES, ENTRIES, Forwarder
from comet.leases import Leases
from common.backoff import Backoff
from common.health import Health
from common.outbox import Outbox, Waiting
from tests.support.eventually import eventually
from tests.support.fake_outbox import Answer, FakeLeases, FakeLogic, FakeOutbox, results, succeed, waiting


class Rig:
    """A forwarder over fakes."""

    def __init__(self, *shards: int) -> None:
        self.outbox = FakeOutbox()
        self.outbox.holders.update(dict.fromkeys(shards, "node-1"))
        self.leases = FakeLeases(*shards)
        self.logic = FakeLogic()
        self.health = Health()
        self.forwarder = Forwarder(
            cast("Outbox", self.outbox), cast("Leases", self.leases), "http://me:hush@logic/", 1.0, self.health
        )

    async def run_until(self, true: Callable[[], object]) -> None:
        """Run the forwarder until then, and drain it."""
        task = asyncio.create_task(self.forwarder.run())
        try:
            await eventually(true, timeout_s=5)
            async with asyncio.timeout(10):
                await self.forwarder.drain()
                await task
        finally:
            task.cancel()

    def put(self, *entries: Waiting) -> None:
        """Put entries into the outbox."""
        self.outbox.entries += entries

    @property
    def refs(self) -> list[list[str]]:
        """What was posted, by ref."""
        return [[send["ref"] for send in sends] for sends in self.logic.posts]

    @property
    def left(self) -> list[str]:
        """What the outbox holds still, by ref."""
        return [entry.ref.decode() for entry in self.outbox.entries]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A forwarder that holds shards 1 and 2 and does not wait between tries."""
    it = Rig(1, 2)
    monkeypatch.setattr("comet.forwarder.aiohttp.ClientSession", lambda **_: it.logic)
    monkeypatch.setattr(Backoff, "next_s", lambda _self: 0.0)
    return it


def forwards(status: str) -> float:
    """Return the counter of forwards."""
    labels = {"service": "comet", "name": "logic_forward", "status": status}
    return REGISTRY.get_sample_value("grpc_calls_total", labels) or 0.0


def dead_letters() -> float:
    """Return how many entries were parked."""
    return REGISTRY.get_sample_value("comet_forward_dead_letters_total") or 0.0


def then(*answers: Answer) -> Callable[[list[dict[str, Any]]], Answer]:
    """Answer so first, and well from then on."""
    left = list(answers)
    return lambda sends: left.pop(0) if left else succeed(sends)


async def test_entries_are_posted_as_logic_expects_them(rig: Rig) -> None:
    """A send for each entry, with its messages as append.lua wrote them, whatever the names hold."""
    messages = b'{"id":"1-0","seq":7,"timestamp":1,"epoch":3,"content":"\\u2603"},{"content":"b"}'
    rig.put(Waiting(1, b"1-0", b'r"1', b"u\\", "Al\u2603".encode(), b"r", 2, messages))
    await rig.run_until(lambda: not rig.outbox.entries)
    assert rig.logic.posts == [
        [{
            "roomId": 'r"1', "userId": "u\\", "userName": "Al\u2603", "ref": "r",
            "messages": orjson.loads(b"[%b]" % messages),
        }]
    ]  # fmt: skip


async def test_what_logic_took_is_removed_and_counted_by_message(rig: Rig) -> None:
    """One batch for all shards, each in order."""
    before = forwards("success")
    rig.put(waiting(1), waiting(2), waiting(3, "room_2", shard=2))
    await rig.run_until(lambda: not rig.outbox.entries)
    [refs] = rig.refs
    assert sorted(refs) == ["r1", "r2", "r3"]
    assert refs.index("r1") < refs.index("r2")
    assert forwards("success") - before == 6


@pytest.mark.parametrize(
    "answer",
    [
        (503, b'{"status":"error","message":"Kafka is away"}'),
        (500, b"<html>oops</html>"),
        (404, b"nothing here"),
        (200, b"<html>a web server of somebody else</html>"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"results":[]}'),
        (200, b'{"results":[{"status":"success"},{"status":"success"},{"status":"success"}]}'),
        (200, b'{"results":[1,2]}'),
        (200, b'{"results":{"status":"success"}}'),
        (502, b"\xff\xfe"),
        results(["failed", "skipped"]),
    ],
)
async def test_whatever_else_logic_answers_all_stays_and_is_sent_again(rig: Rig, answer: Answer) -> None:
    """In the same order; each try is counted as failed for each message. The node goes on, whoever answered."""
    before = forwards("failed"), forwards("success")
    rig.put(waiting(1), waiting(2))
    rig.logic.answer = then(answer, answer)
    await rig.run_until(lambda: not rig.outbox.entries)
    assert rig.refs == [["r1", "r2"]] * 3
    assert (forwards("failed") - before[0], forwards("success") - before[1]) == (8, 4)
    assert rig.outbox.dead == []


async def test_when_logic_does_not_answer_all_stays_and_health_warns(rig: Rig) -> None:
    """Refused connections and timeouts are the same; the warning goes when Logic is back."""

    def away(_sends: list[dict[str, Any]]) -> Answer:
        if len(rig.logic.posts) <= 3:
            raise TimeoutError
        assert rig.health.warnings["logic"].startswith("Logic does not answer at http://***@logic/")
        return succeed(_sends)

    rig.put(waiting(1))
    rig.logic.answer = away
    await rig.run_until(lambda: not rig.outbox.entries)
    assert (len(rig.refs), rig.health.warnings, rig.health.ready) == (4, {}, True)


async def test_of_a_partial_answer_only_what_failed_stays(rig: Rig) -> None:
    """The rest is done with, and is not sent again."""
    rig.put(waiting(1), waiting(2, "room_2"), waiting(3))
    rig.logic.answer = then(results(["failed", "success", "skipped"]))
    await rig.run_until(lambda: not rig.outbox.entries)
    assert rig.refs == [["r1", "r2", "r3"], ["r1", "r3"]]


@pytest.mark.parametrize(("reason", "parked"), [("content is too long", "content is too long"), (None, "no reason")])
async def test_what_logic_refuses_is_parked(rig: Rig, reason: str | None, parked: str) -> None:
    """With Logic's reason, and also where it gave none: nothing accepted vanishes. It counts as failed."""
    before, dead_before = forwards("failed"), dead_letters()
    rig.put(waiting(1), waiting(2))
    rig.logic.answer = then(results(["rejected", "success"], reason))
    await rig.run_until(lambda: not rig.outbox.entries)
    [(entry, why)] = rig.outbox.dead
    assert entry.ref == b"r1"
    assert parked in why
    assert (len(rig.refs), forwards("failed") - before, dead_letters() - dead_before) == (1, 2, 1)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"messages": b"{not json"}, "can't be read"),
        ({"messages": b'{"content":"\xff"}'}, "can't be read"),
        ({"messages": b'{"content":"x"}]},{"roomId":"r","messages":[{"content":"y"}'}, "can't be read"),
        ({"messages": b""}, "no messages"),
        ({"messages": b"7"}, "no messages"),
        ({"room": b"\xff"}, "can't be read"),
        ({"name": b"\xff"}, "can't be read"),
    ],
)
async def test_an_entry_that_would_spoil_the_whole_post_is_parked_and_the_rest_goes_on(
    rig: Rig, spoilt: dict[str, Any], told: str
) -> None:
    """No append wrote it. Logic never sees it, and what came with it is forwarded at once."""
    bad = dataclasses.replace(waiting(2), **spoilt)
    rig.put(waiting(1), bad, waiting(3))
    await rig.run_until(lambda: not rig.outbox.entries)
    [(entry, why)] = rig.outbox.dead
    assert (entry, told in why) == (bad, True)
    assert rig.refs == [["r1", "r3"]]


@pytest.mark.parametrize("status", [400, 413])
async def test_a_batch_refused_as_a_whole_is_halved_until_the_culprit_stands_alone(rig: Rig, status: int) -> None:
    """Then that one is parked, and all others are forwarded, in order, whichever shard it is in."""

    def refuse(sends: list[dict[str, Any]]) -> Answer:
        culprit = any(send["ref"] == "r37" for send in sends)
        return (status, b'{"message":"too large"}') if culprit else succeed(sends)

    rig.put(*(waiting(i, f"room_{i % 2}", shard=1 + i % 2) for i in range(100)))
    rig.logic.answer = refuse
    await rig.run_until(lambda: not rig.outbox.entries)
    [(entry, why)] = rig.outbox.dead
    assert (entry.ref, f"HTTP {status}" in why, "too large" in why) == (b"r37", True, True)
    taken = [ref for refs in rig.refs for ref in refs if "r37" not in refs]
    for shard in (0, 1):
        assert [ref for ref in taken if int(ref[1:]) % 2 == shard] == [
            f"r{i}" for i in range(100) if i % 2 == shard and i != 37
        ]


async def test_after_small_batches_they_grow_again(rig: Rig) -> None:
    """One culprit does not make the forwarder slow for ever."""
    rig.put(*(waiting(i) for i in range(1000)))
    rig.logic.answer = then((413, b""), (413, b""), (413, b""))
    await rig.run_until(lambda: not rig.outbox.entries)
    assert [len(refs) for refs in rig.refs[:7]] == [128, 64, 32, 16, 32, 64, 128]
    assert len(rig.refs[-2]) == ENTRIES


async def test_a_batch_is_bounded_in_bytes_but_holds_at_least_one(rig: Rig) -> None:
    """About BATCH_BYTES in one POST, from the heads on; an entry larger than that goes alone."""
    large = b'{"content":"%b"}' % (b"x" * (BATCH_BYTES // 3))
    huge = b'{"content":"%b"}' % (b"x" * (BATCH_BYTES * 2))
    rig.put(*(waiting(i, messages=large) for i in range(4)), waiting(4, messages=huge), waiting(5))
    await rig.run_until(lambda: not rig.outbox.entries)
    assert rig.refs == [["r0", "r1"], ["r2", "r3"], ["r4"], ["r5"]]


async def test_a_full_shard_does_not_starve_the_others(rig: Rig) -> None:
    """Where a batch can't hold all heads, each shard comes first in its turn."""
    large = b'{"content":"%b"}' % (b"x" * (BATCH_BYTES // 2))
    rig.put(*(waiting(i, shard=1, messages=large) for i in range(10)), waiting(10, "room_2", shard=2))
    await rig.run_until(lambda: not rig.outbox.entries)
    assert "r10" in {ref for refs in rig.refs[:2] for ref in refs}


async def test_only_shards_whose_lease_is_held_are_forwarded(rig: Rig) -> None:
    """A shard of another node is left alone; one gained later is begun with."""
    rig.leases.shards = []
    rig.put(waiting(1), waiting(2, shard=2))

    def gain() -> bool:
        rig.leases.shards = [2]
        rig.leases.gained.set()
        return rig.left == ["r1"]

    await rig.run_until(gain)
    assert rig.refs == [["r2"]]


async def test_a_lease_that_ran_out_while_reading_forwards_nothing(rig: Rig) -> None:
    """A node that was stopped in between must not send what another has sent meanwhile."""
    rig.put(waiting(1), waiting(2, shard=2))
    answers = iter([[1, 2], [2], [2]])
    rig.leases.held = lambda: next(answers, [])  # type: ignore[method-assign]  # what the clock says
    await rig.run_until(lambda: rig.left == ["r1"])
    assert rig.refs == [["r2"]]


async def test_a_lease_that_ran_out_while_connecting_forwards_nothing(rig: Rig) -> None:
    """The body is not written; Logic is not blamed for it."""
    rig.put(waiting(1), waiting(2, shard=2))
    rig.logic.connecting = lambda: rig.leases.shards.remove(1) if 1 in rig.leases.shards else None
    await rig.run_until(lambda: rig.left == ["r1"])
    assert rig.refs == [["r2"]]
    assert not rig.health.warnings


async def test_the_shards_of_the_batch_in_flight_are_in_use(rig: Rig) -> None:
    """Until it is settled, so that they are not given away in between."""
    seen = []

    def look(sends: list[dict[str, Any]]) -> Answer:
        seen.append(rig.leases.in_use)
        return succeed(sends)

    rig.put(waiting(1, shard=2))
    rig.logic.answer = look
    await rig.run_until(lambda: not rig.outbox.entries)
    assert seen == [{2}]
    assert not rig.leases.in_use


async def test_a_node_that_was_fenced_off_knows_its_lease_is_lost(rig: Rig) -> None:
    """Removing failed: another node holds the shard, which forwards the entry again."""
    rig.put(waiting(1))
    rig.outbox.holders[1] = "node-2"
    await rig.run_until(lambda: rig.leases.shards == [2])
    assert (rig.left, rig.refs) == (["r1"], [["r1"]])


async def test_without_redis_it_waits_and_goes_on(rig: Rig) -> None:
    """Reading fails, later it works; nothing is lost and nothing raised."""
    rig.put(waiting(1))
    rig.outbox.away = True
    looked = []

    def back() -> bool:
        looked.append(1)
        if len(looked) > 5:
            rig.outbox.away = False
        return not rig.outbox.entries

    await rig.run_until(back)
    assert rig.refs == [["r1"]]


async def test_draining_finishes_the_batch_in_flight(rig: Rig) -> None:
    """What was posted is removed before the node goes; the rest is another's."""
    gate = asyncio.Event()

    class Slow(FakeLogic):
        def post(self, _url: str, *, data: Payload, headers: dict[str, str]) -> Any:
            gate.set()
            return super().post(_url, data=data, headers=headers)

    rig.logic = Slow()
    rig.put(*(waiting(i, messages=b'{"content":"%b"}' % (b"x" * (BATCH_BYTES - 20))) for i in range(3)))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(rig.forwarder.run())
        await gate.wait()
        await rig.forwarder.drain()
    assert (rig.left, rig.refs) == (["r1", "r2"], [["r0"]])
