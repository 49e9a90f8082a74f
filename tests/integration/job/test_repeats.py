"""What has no position comes again when Job dies between push and commit: a real Comet's client sees it once."""

import asyncio
from pathlib import Path
from typing import Any

from chatroom.up.guard import Guard
from protos.job_pb2 import PushMsg
from testbed.service import CometProgram
from tests.integration.job.conftest import Nodes, Produce, StartJob
from tests.support.metrics import asample
from tests.support.plain_client import plain_client

PUSHES: dict[str, dict[str, Any]] = {
    "room": {"type": PushMsg.ROOM, "room": "r"},
    "user": {"type": PushMsg.PUSH, "keys": ["7"]},
    "everybody": {"type": PushMsg.BROADCAST},
}


async def test_a_client_sees_once_what_job_pushed_and_did_not_commit(  # noqa: PLR0913, PLR0917 - fixtures
    guard: Guard, tmp_path: Path, redis_url: str, make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Texts to a room, to a user and to everybody, with an id as Logic gives it and without any (another's PushMsgs).

    A record before them is not finished, so that none of them can be committed when Job is killed.
    """
    comet = CometProgram(guard, tmp_path / "comet", redis_url)
    await asyncio.to_thread(comet.start)
    try:
        stuck = await nodes.up("stuck")
        stuck.stuck.set()
        async with plain_client(f"{comet.url}?uid=7&rooms=r") as client:
            job = await make_job(JOB_PUSH_DEADLINE_SECONDS="120").up()
            await produce(type=PushMsg.ROOM, room="r", msg="x", id="x", server="stuck", partition=0)
            texts = []
            for kind, fields in PUSHES.items():
                for push_id in ("", f"id of {kind}"):
                    texts.append(f"to {kind}, {push_id}")
                    await produce(msg=texts[-1], id=push_id, partition=0, **fields)
            await client.until(lambda: set(texts) <= set(client.texts))
            await stuck.until_called()
            await asyncio.to_thread(job.kill)
            stuck.stuck.clear()
            again = await make_job().up()
            await again.until_metric("job_records_total", 1 + len(texts), result="pushed")
            await client.settle()
            assert sorted(text for text in client.texts if text in texts) == sorted(texts)
        assert await asample(comet.metrics_url, "comet_repeated_pushes_total") == len(texts)
    finally:
        await asyncio.to_thread(comet.kill)
