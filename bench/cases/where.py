"""Where the time goes: the three largest costs of each service under a load, for a target that was missed.

It runs the pipeline once more, each service noting what it does (profiled.py), since that itself takes a little.
"""

from typing import Final

from bench.load.load import Outcome, load
from bench.load.traffic import TrafficPlan
from testbed.bed import TestBed
from testbed.service import Service

MOST: Final = 3


async def largest_costs(bed: TestBed, plan: TrafficPlan, rate: float, seconds: float) -> str:
    """Return a text with the largest costs of each service, and what its CPU is for a message."""
    async with bed.pipeline(profile=True) as pipeline:
        services = [*pipeline.comets, pipeline.logic, *pipeline.jobs]
        at_new_ports = TrafficPlan(
            [one.port for one in pipeline.comets],
            f"{plan.room}-costs",
            plan.rooms,
            plan.clients,
            plan.content_bytes,
            time_all=False,
            keep=False,
        )
        async with load(bed, pipeline, at_new_ports) as clients:
            await clients.run(rate, seconds / 2, 0.0)
            for service in services:
                service.begin_profile()
            outcome = await clients.run(rate, seconds, 0.0)
    lines = [f"at {outcome.acked_per_s:,.0f} messages a second"]
    for service in services:
        lines += _of(service, outcome)
    return "\n".join(lines)


def _of(service: Service, outcome: Outcome) -> list[str]:
    costs = service.costs()
    total = sum(count for _, count in costs)
    head = f"{service.name}, {outcome.us_per_message()[service.name]:,.0f} us of CPU a message"
    return [head, *(f"  {count / total:6.1%}  {name}" for name, count in costs[:MOST])]
