"""A benchmark: its name, its options, and the function that measures. `__main__.py` makes a command of each."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from bench.report.results import Report
from testbed.bed import TestBed


class RunLog:
    """Says on stderr how far a run is; stdout is for the results."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line such as `  1:05  fan-out 1,000 x 16: Comet, 2 of 3`."""
        elapsed = int(time.monotonic() - self._began)
        click.echo(f"{elapsed // 60:3d}:{elapsed % 60:02d}  {text}", err=True)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options that every benchmark has, and by name those of its own."""

    repeat: int  # repetitions of each measurement; results are medians with their spread
    seconds: float  # of one measurement
    progress: RunLog
    own: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False  # fewer sizes, where a benchmark has many


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One sub-command of `python -m bench`."""

    name: str
    about: str  # its help; the first line is shown in the list
    example: str  # such as "python -m bench fanout --clients 1000 --burst 16"
    seconds: float  # of one measurement, where the user does not say
    run: Callable[[TestBed, RunOptions], Awaitable[Report]]
    options: Sequence[click.Option] = ()  # its own


def option(
    name: str, kind: click.ParamType[Any], default: object, about: str, *, multiple: bool = False
) -> click.Option:
    """Return an option of a benchmark, whose default the help shows."""
    about += " (may be given again)." if multiple else "."
    return click.Option([name], type=kind, default=default, multiple=multiple, show_default=True, help=about)


def evenly(clients: int, rooms: int) -> None:
    """Raise click.BadParameter where the rooms can't all have as many clients."""
    if clients % rooms:
        raise click.BadParameter(f"{clients} clients can't be spread evenly over {rooms} rooms")
