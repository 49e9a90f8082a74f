"""What a part found, and how it is written: <name>.json, <name>.md with its table, a picture for each chart.

Neighbours: `index.py` makes README.md of all JSON files in the folder; `pictures.py` draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench.report import machine, pictures
from bench.report.charts import Chart
from bench.report.measures import Spread
from bench.report.targets import Measured

Cell = str | int | float | Spread | None  # None: there is no such figure


@dataclass(frozen=True, slots=True)
class Result:
    """What one part found. `name` names the files; a row has a cell for each column.

    `profiles` has, by a target's key, the largest costs where it was missed.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    targets: Sequence[Measured] = ()
    notes: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a row that the columns don't fit."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: {len(row)} cells in a row of {len(self.columns)} columns: {row}")


def write(result: Result, out: Path, command: str) -> None:
    """Write all that is to be kept of a part into the folder. `command` is what measured it."""
    out.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    kept = orjson.dumps({"bench": facts, "result": result}, option=orjson.OPT_INDENT_2)
    (out / f"{result.name}.json").write_bytes(kept + b"\n")
    for chart in result.charts:
        pictures.draw(chart, out / f"{chart.name}.svg")
    (out / f"{result.name}.md").write_text(_page(result, facts))


def text(result: Result) -> str:
    """Return the part's table for the terminal."""
    return "\n\n".join([result.title, table(result.columns, result.rows), *result.notes])


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table, its cells padded so that it reads well as it is; text servers left, figures right."""
    cells = [list(columns), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lefts = [all(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    sides = list(zip(widths, lefts, strict=True))
    head, *lines = [" | ".join(map(_padded, row, sides)) for row in cells]
    rule = "|".join(f":{'-' * (width + 1)}" if left else f"{'-' * (width + 1)}:" for width, left in sides)
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in lines)])


def _padded(cell: str, side: tuple[int, bool]) -> str:
    width, left = side
    return cell.ljust(width) if left else cell.rjust(width)


def shown(cell: Cell) -> str:
    """Return a cell's text: figures with three significant digits, a spread as `median (low to high)`."""
    if cell is None:
        return "-"
    if isinstance(cell, Spread):
        return f"{figure(cell.median)} ({figure(cell.low)} to {figure(cell.high)})"
    return cell if isinstance(cell, str) else figure(cell)


def figure(value: float) -> str:
    """Return a number with its thousands separated; what is no integer has three significant digits."""
    if isinstance(value, int) or abs(value) >= 1000:  # noqa: PLR2004 - from there on all digits count
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _page(result: Result, facts: Mapping[str, object]) -> str:
    versions = facts["versions"]
    parts = [
        f"# {result.title}",
        f"- {facts['date']}, `{facts['command']}`\n- {facts['machine']}\n- {_named(versions)}",
        *(f"![{chart.title}]({chart.name}.svg)" for chart in result.charts),
        table(result.columns, result.rows),
        *result.notes,
        *(f"## Where the time goes: {key}\n\n```\n{costs}\n```" for key, costs in result.profiles.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _named(versions: object) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items()) if isinstance(versions, Mapping) else ""
