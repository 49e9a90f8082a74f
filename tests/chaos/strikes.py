"""What brings each mutant to light: like a fault of a run, but where and when it matters. Each says what it did."""

import asyncio
from random import Random
from typing import Final

from common.registry import LIFE_S
from tests.chaos.cluster import SUBSCRIBE
from tests.chaos.faults import KINDS, freeze
from tests.chaos.stage import Stage

RNG: Final = Random(0)  # noqa: S311 - reproducible, not secret


async def kill_job_between_fetch_and_push(stage: Stage) -> str:
    """The tap does not answer, so that records are in flight when all Jobs die."""
    stage.push_tap.hold()
    await asyncio.sleep(1.0)
    await asyncio.gather(*(job.kill() for job in stage.cluster.jobs))
    stage.push_tap.release()
    await asyncio.gather(*(job.start() for job in stage.cluster.jobs))
    await stage.cluster.settle()
    return "SIGKILL job-0, job-1 while a push waited for its answer"


async def calm(_stage: Stage) -> str:
    """The load alone."""
    await asyncio.sleep(5.0)
    return "nothing for 5 s"


async def kill_redis(stage: Stage) -> str:
    """Long enough for every room to be sent something meanwhile."""
    redis = stage.cluster.redis
    await redis.kill()
    await asyncio.sleep(2.0)
    await redis.start()
    await stage.cluster.settle()
    return "SIGKILL redis, started again after 2 s"


async def kill_logic(stage: Stage) -> str:
    """What it was asked meanwhile failed."""
    return await KINDS["kill_logic"](stage.cluster, RNG)


async def cut_both_paths(stage: Stage) -> str:
    """PubSub loses messages and Job gives their push up: only the stream has them."""
    lines = [comet.redis for comet in stage.cluster.comets]
    pushes = [comet.push for comet in stage.cluster.comets]
    try:
        for push in pushes:
            push.hold()
        for line in lines:
            line.only(SUBSCRIBE)
        for _ in range(20):
            for line in lines:
                line.cut()
            await asyncio.sleep(0.35)
    finally:
        for line in (*lines, *pushes):
            line.heal()
    await stage.cluster.settle()
    return "PubSub cut and pushes held for 7 s"


async def cut_late_answers(stage: Stage) -> str:
    """Acks are on their way when the connections are cut, so that clients send again what is stored."""
    lines = [comet.clients for comet in stage.cluster.comets]
    try:
        for _ in range(4):
            for line in lines:
                line.delay(0.3)
            await asyncio.sleep(0.8)
            for line in lines:
                line.cut()
                line.delay(0)
            await asyncio.sleep(1.0)
    finally:
        for line in lines:
            line.heal()
    await stage.cluster.settle()
    return "cut all clients 4 times with acks on their way"


async def cut_clients(stage: Stage) -> str:
    """All clients come back at once, while their rooms go on."""
    lines = [comet.clients for comet in stage.cluster.comets]
    for _ in range(5):
        for line in lines:
            line.cut()
        await asyncio.sleep(1.5)
    await stage.cluster.settle()
    return "cut all clients 5 times"


async def freeze_comet_and_wait(stage: Stage) -> str:
    """A node wakes when others hold all of its leases: they take them when it is presumed dead, and few before."""
    return await freeze(stage.cluster, RNG.choice(stage.cluster.comets), LIFE_S + 3)
