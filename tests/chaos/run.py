"""A run: scheduled faults under load, one after another, with progress; then the verdict and the report."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import click

from chatroom.up.guard import Guard
from tests.chaos import report
from tests.chaos.faults import KINDS
from tests.chaos.gather import versions
from tests.chaos.schedule import Planned
from tests.chaos.stage import Demand, Stage, staged
from tests.chaos.verdict import Verdict
from tests.chaos.windows import AFTERMATH_S

PROGRESS_S: Final = 1.0
QUIET_PROGRESS_S: Final = 10.0  # where nobody watches, as in CI
CALM_S: Final = AFTERMATH_S + 3  # of load after the last fault: calm enough for what no fault excuses
CLEAR: Final = "\r\x1b[K"


async def run(  # noqa: PLR0913, PLR0917 - what the command line chooses
    guard: Guard,
    directory: Path,
    plan: Sequence[Planned],
    demand: Demand,
    seed: int,
    messages: int,
    command: str,
    out: Path,
) -> Verdict:
    """Let the planned faults strike, go on until so many messages are acked, judge, and write the report.

    `command` is what replays it.
    """
    click.echo("Starting Redis, Kafka, Logic, three Comets, two Jobs, and the load")
    async with staged(guard, directory, demand, seed) as stage, _progress(stage, len(plan)):
        for fault in plan:
            await asyncio.sleep(fault.pause_s)
            await stage.strike(fault.number, fault.kind, KINDS[fault.kind](stage.cluster, Random(fault.seed)))  # noqa: S311 - reproducible, not secret
            _say(stage.evidence.faults[-1].what)
        await asyncio.sleep(CALM_S)
        while stage.load.acked < messages:
            await asyncio.sleep(PROGRESS_S)
        _say("The load ends; waiting until everything has arrived, then reading it all")
        verdict = await stage.finish()
        found = await versions(stage.cluster.redis_server.port)
    path = report.write(out, stage.evidence, verdict, seed=seed, command=command, versions=found, load=str(demand))
    click.echo(f"{path.read_text()}\nIt is in {path}")
    return verdict


def replay(seed: int, faults: int, messages: int, rate: float, kinds: Sequence[str]) -> str:
    """Return the command that lets the same faults strike; `kinds` are those that were chosen, none if all were."""
    chosen = "".join(f" --kind {kind}" for kind in kinds)
    return f'make chaos ARGS="--seed {seed} --faults {faults} --messages {messages} --rate {rate:g}{chosen}"'


def _say(text: str) -> None:
    """Print a line of its own, whatever the progress line shows."""
    click.echo(f"{CLEAR}{text}" if sys.stdout.isatty() else text)


@asynccontextmanager
async def _progress(stage: Stage, faults: int) -> AsyncIterator[None]:
    async def show() -> None:
        began, before, acked = time.monotonic(), time.monotonic(), stage.load.acked
        while True:
            await asyncio.sleep(PROGRESS_S if sys.stdout.isatty() else QUIET_PROGRESS_S)
            now = time.monotonic()
            rate, before, acked = (stage.load.acked - acked) / (now - before), now, stage.load.acked
            line = report.progress_line(
                now - began,
                done=len(stage.evidence.faults),
                of=faults,
                now=stage.striking,
                acked=acked,
                delivered=stage.load.delivered,
                outstanding=stage.load.outstanding,
                rate=rate,
            )
            if sys.stdout.isatty():
                click.echo(f"{CLEAR}{line}", nl=False)
            else:
                click.echo(line)

    showing = asyncio.get_running_loop().create_task(show())
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
