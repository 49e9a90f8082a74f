"""A benchmark: its name, its options, and the function that measures. Each module of bench/cases has one, `BENCHMARK`.

Neighbours: `__main__.py` makes a command of each benchmark.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.report.progress import Progress
from bench.report.results import Result
from testbed.bed import TestBed


@dataclass(frozen=True, slots=True)
class Options:
    """What every part is told, and its own options by name, as click parsed them."""

    repeat: int  # repetitions of each measurement; results are medians with their spread
    seconds: float  # of one measurement
    out: Path  # folder of the results
    progress: Progress
    own: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""  # what was asked for, as it can be asked for again
    quick: bool = False  # fewer sizes, where a part has many


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One sub-command of `python -m bench`."""

    name: str
    about: str  # its help; the first line is shown in the list
    example: str  # such as "python -m bench fanout --clients 1000 --burst 16"
    seconds: float  # of one measurement, where the user does not say
    run: Callable[[TestBed, Options], Awaitable[Result]]
    options: Sequence[click.Option] = ()  # its own, beyond --repeat, --seconds and --out
