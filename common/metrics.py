"""Metrics that several services count under one name, and those that are cheap enough to be counted for every message.

`prometheus_client`'s own counters take a lock, and its histograms go through all their buckets: 1.5 and 3 us, several
times a message. Services run in one thread, so here a count is an addition and a time a search among sorted bounds;
the library asks for the sums when it is scraped.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` series beside every counter says nothing that Prometheus needs


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        """Count so many."""
        self.value += by


class Times:
    """How often a value lay in each bucket, and the sum of all."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


_Child = TypeVar("_Child", Count, Times)


class _Family(Collector, Generic[_Child]):
    """A metric of one name, with a child for each combination of its labels' values."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._children: dict[tuple[str, ...], _Child] = {}
        REGISTRY.register(self)


class Counts(_Family[Count]):
    """A counter."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, documentation, labels)

    def labels(self, *values: str) -> Count:
        """Return the child with these values of the labels."""
        return self._children.setdefault(values, Count())

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Tell Prometheus."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value)
        yield family


class Histograms(_Family[Times]):
    """A histogram; `bounds` are the upper ones of its buckets, ascending."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = (), *, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        super().__init__(name, documentation, labels)

    def labels(self, *values: str) -> Times:
        """Return the child with these values of the labels."""
        return self._children.setdefault(values, Times(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Tell Prometheus."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in self._children.items():
            total, buckets = 0, []
            for bound, count in zip((*self._bounds, float("inf")), child.counts, strict=True):
                total += count
                buckets.append((str(floatToGoString(bound)), total))  # type: ignore[no-untyped-call]  # untyped in the library
            family.add_metric(values, buckets, child.sum)
        yield family


GRPC_CALLS = Counts("grpc_calls", "Calls to the service behind, by outcome", ["service", "name", "status"])
