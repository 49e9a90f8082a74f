"""Whether the pipeline keeps up with a load: no backlog may grow. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LEAST_RATE_SHARE: Final = 0.98  # of the sent messages must be acked in the same time
GROWTH_SHARE: Final = 0.02  # of the rate: slower growth is chance
TREND: Final = 0.5  # share of the ups and downs that must be the trend's, or it is chance: batches come and go
LITTLE_S: Final = 0.25  # of the rate's messages may wait whatever the trend


@dataclass(frozen=True, slots=True)
class BacklogSample:
    """The backlogs of a moment (monotonic): messages in the outbox, the age of its oldest, and records in Kafka."""

    at_s: float
    outbox: int
    oldest_s: float
    kafka: int


@dataclass(frozen=True, slots=True)
class LoadVerdict:
    """The growth of each backlog in messages a second, and why the pipeline does not keep up ('': it does)."""

    growth: Mapping[str, float]
    why: str


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits the points (x, y) best; 0 for fewer than two."""
    if len(points) < 2:  # noqa: PLR2004 - a line
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    square = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / square if square else 0.0


def steadiness(points: Sequence[tuple[float, float]]) -> float:
    """Return how much of the points' ups and downs the line of `growth` explains, 0 to 1 (r squared)."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    ups_and_downs = sum((y - mean_y) ** 2 for _, y in points)
    explained = growth(points) ** 2 * sum((x - mean_x) ** 2 for x, _ in points)
    return explained / ups_and_downs if ups_and_downs else 0.0


def judge(rate: float, told: Mapping[str, Any], backlogs: Sequence[BacklogSample]) -> LoadVerdict:
    """Judge a measurement by the generator's answer and the backlogs meanwhile."""
    series = {
        "unanswered": [(at, sent - acked) for at, sent, acked, _ in told["samples"]],
        "outbox": [(one.at_s, one.outbox) for one in backlogs],
        "Kafka lag": [(one.at_s, one.kafka) for one in backlogs],
    }
    slopes = {name: growth(points) for name, points in series.items()}
    return LoadVerdict(slopes, "; ".join(_faults(rate, told, series, slopes)))


def _faults(
    rate: float,
    told: Mapping[str, Any],
    series: Mapping[str, Sequence[tuple[float, float]]],
    slopes: Mapping[str, float],
) -> list[str]:
    found = []
    if told["refused"]:
        found.append(f"refused: {dict(told['refused'])}")
    if told["whole"]["gone"]:
        found.append(f"{told['whole']['gone']} clients cut off")
    if told["sent"] < LEAST_RATE_SHARE * rate * told["seconds"]:
        found.append(f"the load sent only {told['sent'] / told['seconds']:,.0f}/s")
    if told["acked"] < LEAST_RATE_SHARE * told["sent"]:
        found.append(f"only {told['acked'] / told['seconds']:,.0f}/s acked")
    for name, points in series.items():
        much = points and points[-1][1] > LITTLE_S * rate
        if much and slopes[name] > GROWTH_SHARE * rate and steadiness(points) > TREND:
            found.append(f"{name} grows by {slopes[name]:,.0f}/s")
    if not told["drained"]:
        found.append("not all sent was answered and delivered")
    return found
