"""What the services say of themselves at one moment, read by the test itself: nothing of Prometheus is in it."""

import asyncio
import math
from collections.abc import Mapping

import psutil

from tests.support.metrics import families_at

Sample = tuple[str, str, frozenset[tuple[str, str]]]  # job, name, labels


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time that the system has counted for each process so far."""
    return {job: sum(psutil.Process(pid).cpu_times()[:2]) for job, pid in pids.items()}


class Reading:
    """The samples of all services, and the processor time that the system has counted for each."""

    def __init__(self, samples: Mapping[Sample, float], cpu_s: Mapping[str, float]) -> None:
        self._samples = samples
        self.cpu_s = cpu_s

    @classmethod
    async def take(cls, urls: Mapping[str, str], pids: Mapping[str, int]) -> "Reading":
        """Read the services' /metrics and the system's account of their processes."""
        cpu_s = cpu_seconds(pids)
        samples = {}
        for job, url in urls.items():
            for family in await asyncio.to_thread(families_at, url):
                for one in family.samples:
                    samples[job, one.name, frozenset(one.labels.items())] = one.value
        return cls(samples, cpu_s)

    def total(self, name: str, /, job: str = "", **labels: str) -> float:
        """Return the sum of the samples of that name with these labels."""
        return sum(
            value
            for (of, one, found), value in self._samples.items()
            if one == name and job in {"", of} and labels.items() <= set(found)
        )

    def counts(self) -> dict[Sample, float]:
        """Return all that stands still while nothing happens; looking at a service moves its process's and `other`."""
        return {
            sample: value
            for sample, value in self._samples.items()
            if sample[1].startswith(("chat_", "comet_", "logic_", "job_", "grpc_"))
            and "age" not in sample[1]
            and "in_flight" not in sample[1]
            and "memory" not in sample[1]
            and ("operation", "other") not in sample[2]
        }

    def quantile_since(self, before: "Reading", q: float, name: str, /, **labels: str) -> float:
        """Return a quantile of what a histogram observed meanwhile, a straight line within its bucket; NaN if nothing.

        As Prometheus defines it: in the last bucket, which has no end, it is where that one begins.
        """
        edges = sorted({float(dict(found)["le"]) for _, one, found in self._samples if one == f"{name}_bucket"})
        below = [self._up_to(edge, name, labels) - before._up_to(edge, name, labels) for edge in edges]  # noqa: SLF001 - our own kind
        if not below[-1]:
            return math.nan
        rank = q * below[-1]
        at = next(i for i, count in enumerate(below) if count >= rank)
        if math.isinf(edges[at]):
            return edges[at - 1]
        low, begun = (edges[at - 1], below[at - 1]) if at else (0.0, 0.0)
        return low + (edges[at] - low) * (rank - begun) / (below[at] - begun)

    def _up_to(self, edge: float, name: str, labels: Mapping[str, str]) -> float:
        return sum(
            value
            for (_, one, found), value in self._samples.items()
            if one == f"{name}_bucket" and float(dict(found)["le"]) == edge and labels.items() <= set(found)
        )
