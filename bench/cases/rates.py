"""What the benches that load the pipeline share: their rates, cells over repetitions, which targets were missed."""

from collections.abc import Sequence
from typing import Final

from bench.benchmark import Options
from bench.load.load import Outcome
from bench.report.measures import Spread
from bench.report.results import Cell
from common.errors import StartupError

RATES: Final = "100,1000,5000"
WARM_S: Final = 2.0
BASELINE_S: Final = 2.0
QUIET_CORES: Final = 0.2  # that others may use without a word


def rates_of(options: Options) -> list[float]:
    """Return the rates of --rates. Raises StartupError."""
    try:
        rates = [float(one) for one in str(options.own["rates"]).split(",")]
    except ValueError:
        rates = []
    if not rates or min(rates) <= 0:
        raise StartupError(f"--rates must be numbers above 0 separated by commas, got {options.own['rates']!r}")
    return rates


def warm_s(options: Options) -> float:
    """Return for how long to warm up before each measurement."""
    return min(WARM_S, options.seconds)


def baseline_s(options: Options) -> float:
    """Return how long a baseline is measured."""
    return min(BASELINE_S, options.seconds)


def doubt(outcomes: Sequence[Outcome]) -> str:
    """Say why the figures may not be trusted: somebody else's programs ran on the cores; '' if hardly any did."""
    others = Spread.of(one.others_cores for one in outcomes).median
    return f"others used {others:.1f} cores meanwhile" if others > QUIET_CORES else ""


def over(values: Sequence[float]) -> Cell:
    """Return the cell of a figure over its repetitions; of a single one there is no spread, of none no figure."""
    if not values:
        return None
    return Spread.of(values) if len(values) > 1 else values[0]


def median(values: Sequence[float]) -> float | None:
    """Return the median as a cell, None where there is no figure (a server that is not the test bed's own)."""
    return Spread.of(values).median if values else None


def cores_of(name: str, outcomes: Sequence[Outcome]) -> list[float]:
    """Return how many cores a process used in each repetition; empty where that is not known."""
    return [one.cores()[name] for one in outcomes if name in one.cpu_s]


def us_of(name: str, outcomes: Sequence[Outcome]) -> list[float]:
    """Return the CPU of a process a message in each repetition; empty where that is not known."""
    return [one.us_per_message()[name] for one in outcomes if name in one.cpu_s]
