"""Where Comet's CPU goes in a fan-out: the largest costs, for a target that was missed.

It is loaded once more while it notes what it does (profiled.py), since that itself takes a little.
"""

import asyncio
from typing import Final

from bench.benchmark import Options
from bench.cases.fan import Shape, pace
from bench.cases.server_under_test import Load, comet_under_test
from bench.load.cores import Cores
from bench.load.crowd_connect import Way
from testbed.bed import TestBed

MOST: Final = 3


async def costs(bed: TestBed, options: Options, shape: Shape) -> str:
    """Return a line for each of the largest costs."""
    options.progress.say(f"{shape.clients:,} x {shape.burst}: where Comet's CPU goes")
    async with comet_under_test(bed, Cores.here(), profile=True) as one:
        await one.come(Way(one.port, shape.clients, f"costs-{shape.burst}", shape.rooms))
        period_s = await pace(one, shape, options)
        comet = one.service
        assert comet is not None  # noqa: S101 - it is Comet's
        comet.begin_profile()
        await one.load(Load(options.seconds, period_s, shape.burst))
        await asyncio.to_thread(comet.stop)
        found = comet.costs()
    total = sum(count for _, count in found)
    return "\n".join(f"{count / total:6.1%}  {name}" for name, count in found[:MOST])
