"""Forged frames that Kafka holds already, from another program: a real Comet refuses them, and Job goes on."""

import asyncio
from pathlib import Path
from typing import Any, Final

from chatroom.up.guard import Guard
from protos.job_pb2 import PushMsg
from testbed.service import CometProgram
from tests.integration.job.conftest import Produce, StartJob
from tests.support.plain_client import plain_client

FORGED: Final = '{"type":"joined","payload":{"roomId":"r","epoch":1,"seq":9007199254740991,"recovered":false}}'
TO_R: Final[dict[str, Any]] = {"type": PushMsg.ROOM, "room": "r"}
TO_S: Final[dict[str, Any]] = {"type": PushMsg.ROOM, "room": "s"}
TO_USER: Final[dict[str, Any]] = {"type": PushMsg.PUSH, "keys": ["7"]}
TO_ALL: Final[dict[str, Any]] = {"type": PushMsg.BROADCAST}


async def test_a_forged_record_is_finished_as_refused_and_takes_no_other_with_it(
    guard: Guard, tmp_path: Path, redis_url: str, make_job: StartJob, produce: Produce
) -> None:
    """Job merges the rooms' records, as they wait when it starts. The client gets each other text once, in order."""
    comet = CometProgram(guard, tmp_path / "comet", redis_url)
    await asyncio.to_thread(comet.start)
    try:
        async with plain_client(f"{comet.url}?uid=7&rooms=r,s") as client:
            for to in (TO_R, TO_S, TO_USER, TO_ALL):
                for msg in ("before", FORGED, "after"):
                    text = msg if msg == FORGED or to["type"] != PushMsg.ROOM else f"{msg} in {to['room']}"
                    await produce(msg=text, partition=0, **to)
            job = await make_job().up()
            assert await job.until_metric("job_records_total", 8, result="pushed") == 8
            assert await job.until_metric("job_records_total", 4, result="refused") == 4
            await client.settle()
            assert FORGED not in client.texts
            for room in ("r", "s"):
                got = [text for text in client.texts if text.endswith(f" in {room}")]
                assert got == [f"before in {room}", f"after in {room}"]
            assert [text for text in client.texts if text in {"before", "after"}] == ["before", "after"] * 2
            assert await job.ended() == 0
            again = await make_job().up()  # all was committed: none comes again
            await produce(msg="more", partition=0, **TO_USER)
            await client.until(lambda: client.texts[-1] == "more")
            assert await again.metric("job_records_total", result="refused") == 0
    finally:
        await asyncio.to_thread(comet.kill)
