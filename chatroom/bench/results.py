"""What a part found, and how it is written: <name>.json, <name>.md with the table, and an index of all, README.md.

The index is made from the JSON files of the folder, so parts may be run alone and at different times; each names its
machine, versions and date.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chatroom.bench.measures import Spread
from chatroom.bench.targets import Measured

Cell = str | int | float | Spread | None  # None: there is no such figure


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; `low` and `high` (the spread) are drawn where given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture, <name>.svg: lines over common axes."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one part found. `name` names the files; a row has a cell for each column."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    targets: Sequence[Measured] = ()
    notes: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    profiles: dict[str, str] = field(default_factory=dict)  # target's key -> the largest costs, where it is missed


def write(result: Result, out: Path, command: str) -> None:
    """Write a part's JSON, table and pictures into the folder, then the index. `command` is what measured it."""
    raise NotImplementedError
