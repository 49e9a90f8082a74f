"""The hunt for mutants: each promise is broken on purpose, and the checker must say so. `make chaos-mutants`.

Each hunt strikes where its mutant matters; the same strikes on sound services must find nothing, or the checker would
only cry wolf.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import click

from chatroom.guard import Guard
from tests.chaos.cluster import SUBSCRIBE
from tests.chaos.faults import KINDS
from tests.chaos.stage import Demand, Stage, staged
from tests.chaos.windows import AFTERMATH_S

# What Job gives up after; shorter than in a run, as one hunt needs a push that is given up.
ENVIRON: Final = {"JOB_PUSH_DEADLINE_SECONDS": "3"}
DEMAND: Final = Demand(clients=30, rooms=10)
MUTANT_QUIESCE_S: Final = 10.0  # with a mutant all may never arrive
RNG: Final = Random(0)  # noqa: S311 - reproducible, not secret


@dataclass(frozen=True, slots=True)
class Hunt:
    """A mutant, what brings it to light, and the rules of the checker of which one must see it."""

    mutant: str
    strike: Callable[[Stage], Awaitable[str]]
    rules: tuple[str, ...]
    calm_s: float = 1.0  # of load afterwards


async def _kill_job_between_fetch_and_push(stage: Stage) -> str:
    """The tap does not answer, so that records are in flight when all Jobs die."""
    stage.push_tap.hold()
    await asyncio.sleep(1.0)
    await asyncio.gather(*(job.kill() for job in stage.cluster.jobs))
    stage.push_tap.release()
    await asyncio.gather(*(job.start() for job in stage.cluster.jobs))
    await stage.cluster.settle()
    return "SIGKILL job-0, job-1 while a push waited for its answer"


async def _calm(_stage: Stage) -> str:
    await asyncio.sleep(5.0)
    return "nothing for 5 s"


async def _kill_logic(stage: Stage) -> str:
    return await KINDS["kill_logic"](stage.cluster, RNG)


async def _cut_both_paths(stage: Stage) -> str:
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


async def _cut_late_answers(stage: Stage) -> str:
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


async def _freeze_comet_and_wait(stage: Stage) -> str:
    return await KINDS["freeze_comet"](stage.cluster, RNG)


HUNTS: Final = (
    Hunt("commit_before_push", _kill_job_between_fetch_and_push, ("push",)),
    Hunt("ack_before_append", _calm, ("history",)),
    Hunt("outbox_entry_dropped", _kill_logic, ("kafka",)),
    Hunt("hole_not_read", _cut_both_paths, ("view",)),
    Hunt("publish_outside_the_script", _calm, ("pubsub",)),
    Hunt("ref_forgotten", _cut_late_answers, ("history",)),
    Hunt("stale_forwarder", _freeze_comet_and_wait, ("calm_repeats",), calm_s=AFTERMATH_S + 6),
)


async def hunt_all(guard: Guard, directory: Path, names: Sequence[str] = ()) -> bool:
    """Hunt all mutants, or those named, and strike sound services likewise; whether the checker was right each time."""
    hunts = [hunt for hunt in HUNTS if hunt.mutant in names or not names]
    results = [await _hunt(guard, directory, hunt.mutant, [hunt]) for hunt in hunts]
    results.append(await _hunt(guard, directory, "", hunts))
    click.echo(f"{sum(results)} of {len(results)} as it must be")
    return all(results)


async def _hunt(guard: Guard, directory: Path, mutant: str, hunts: Sequence[Hunt]) -> bool:
    """Strike as the hunts say; return whether the mutant was caught, or, without one, nothing was found."""
    began = time.monotonic()
    name = mutant or "no mutant"
    click.echo(f"{name:<28} ", nl=False)
    async with staged(guard, directory / (mutant or "sound"), DEMAND, 0, mutant=mutant, environ=ENVIRON) as stage:
        for number, hunt in enumerate(hunts, 1):
            await stage.strike(number, hunt.strike.__name__.strip("_"), hunt.strike(stage))
            await asyncio.sleep(hunt.calm_s)
        verdict = await (stage.finish(MUTANT_QUIESCE_S, MUTANT_QUIESCE_S) if mutant else stage.finish())
    rules = sorted({violation.rule for violation in verdict.violations})
    right = not rules if not mutant else bool(set(rules) & set(hunts[0].rules))
    found = f"found by: {', '.join(rules)}" if rules else "nothing found"
    click.echo(
        f"{'ok      ' if right else 'SURVIVED' if mutant else 'WRONG   '} {found} ({time.monotonic() - began:.0f} s)"
    )
    if not right:
        click.echo("\n".join(f"  {violation.rule}: {violation.text[:300]}" for violation in verdict.violations[:10]))
    return right
