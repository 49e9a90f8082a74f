"""Results as Markdown: a page for each benchmark, and README.md, which holds all pages against the targets.

A page has the table, its pictures, notes, and the targets that were measured. README.md is made from the pages in the
folder, so that benchmarks may run alone and at different times. A benchmark reports a figure by a target's key; the
bounds stand here alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import measures
from bench.measures import Spread
from bench.report import pictures
from bench.report.pictures import Chart

Cell = str | int | float | Spread | None  # None: there is no such figure

INDEX: Final = "README.md"
TARGETS_HEAD: Final = "## Targets"
TARGET_COLUMNS: Final = ("Target", "Wanted", "Measured", "", "Why")
MET, FAILED, NOT_MEASURED = "met", "**FAILED**", "not measured"
ABOUT: Final = (
    "Made by `make bench` (all benchmarks) or `python -m bench BENCHMARK`. Medians of the repetitions; the spread is "
    "in each benchmark's table. Ratios count: absolute figures drift from machine to machine."
)
_FACTS: Final = re.compile(r"# (.+)\n\n- (.+?), `(.+)`\n- (.+)\n- (.+)\n")


# -- the targets -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeedTarget:
    """One bound: a figure must be at most `most`, or at least `least`."""

    key: str
    what: str
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def wanted(self) -> str:
        """The bound as people read it."""
        sign, bound = ("at most", self.most) if self.most is not None else ("at least", self.least)
        return f"{sign} {bound:,g} {self.unit}".strip()

    def met_by(self, value: float) -> bool:
        """Return whether a figure is within the bound."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure for a target, in the target's unit, and the reason in case the target is missed.

    `doubt` says why the figure may be wrong, as when other programs disturbed the run.
    """

    key: str
    value: float
    why: str = ""
    doubt: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return target(self.key).met_by(self.value)


BARE_WRITE: Final = "x the bare joined write"
TARGETS: Final = (
    SpeedTarget("fanout_1", "fan-out, 1,000 clients, 1 message a flush: CPU per delivery", BARE_WRITE, most=1.3),
    SpeedTarget("fanout_16", "fan-out, 1,000 clients, 16 messages a flush: CPU per delivery", BARE_WRITE, most=1.3),
    SpeedTarget("idle_kib", "memory per idle connection", "KiB", most=10),
    SpeedTarget("realtime_p50", "PubSub path at 1,000 msg/s, 10 rooms of 10, send to receive: p50", "ms", most=3),
    SpeedTarget("realtime_p99", "PubSub path, the same: p99", "ms", most=10),
    SpeedTarget("async_p50", "Kafka path at 1,000 msg/s, send to BroadcastRoom done: p50", "ms", most=15),
    SpeedTarget("async_p99", "Kafka path, the same: p99", "ms", most=50),
    SpeedTarget("ingest", "whole pipeline, both paths, 100 rooms of 10, one Comet, nothing lost", "msg/s", least=5000),
    SpeedTarget("calls", "gRPC calls per message at that load", "", most=0.1),
)


def target(key: str) -> SpeedTarget:
    """Return a target by its key."""
    return next(one for one in TARGETS if one.key == key)


def missed(measured: Iterable[Measured]) -> list[str]:
    """Return the keys of the targets that were missed."""
    return [one.key for one in measured if not one.met]


# -- the page ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one benchmark. `name` names the files; a row has a cell for each column.

    `profiles` has, by the key of a target that was missed, the largest costs.
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


def write(report: Report, out: Path, command: str) -> None:
    """Write the page, its pictures and the index into the folder. `command` is the one that measured."""
    out.mkdir(parents=True, exist_ok=True)
    for chart in report.charts:
        pictures.draw(chart, out / f"{chart.name}.svg")
    (out / f"{report.name}.md").write_text(page(report, command))
    (out / INDEX).write_text(index(out))


def text(report: Report) -> str:
    """Return the table, the notes and the targets for the terminal."""
    parts = [report.title, table(report.columns, report.rows), *report.notes]
    return "\n\n".join([*parts, _target_table(report)] if report.targets else parts)


def page(report: Report, command: str) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {number}" for name, number in measures.versions().items())
    parts = [
        f"# {report.title}",
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M UTC}, `{command}`\n- {measures.describe()}\n- {versions}",
        *(f"![{chart.title}]({chart.name}.svg)" for chart in report.charts),
        table(report.columns, report.rows),
        *report.notes,
        *((TARGETS_HEAD, _target_table(report)) if report.targets else ()),
        *(f"## Where the time goes: {key}\n\n```\n{costs}\n```" for key, costs in report.profiles.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _target_table(report: Report) -> str:
    return table(TARGET_COLUMNS, [_target_row(one) for one in report.targets])


def _target_row(measured: Measured) -> list[Cell]:
    bound = target(measured.key)
    doubt = f"doubtful: {measured.doubt}" if measured.doubt else ""
    why = "; ".join(filter(None, ("" if measured.met else measured.why, doubt)))
    value = f"{figure(measured.value)} {bound.unit}".strip()
    return [bound.what, bound.wanted, value, MET if measured.met else FAILED, why]


# -- the index ---------------------------------------------------------------------------------------------------------


def index(out: Path) -> str:
    """Return the index of all pages in the folder; other files are not ours."""
    pages = {path.stem: path.read_text() for path in sorted(out.glob("*.md"))}
    facts = {name: found.groups() for name, page in pages.items() if (found := _FACTS.match(page))}
    measured = {row[0]: (name, row) for name in facts for row in target_rows(pages[name])}
    rows: list[Sequence[Cell]] = []
    for one in TARGETS:
        name, (what, wanted, value, *rest) = measured.get(one.what, ("", (one.what, one.wanted, "", NOT_MEASURED, "")))
        rows.append([what, wanted, f"[{value}]({name}.md)" if value else "", *rest])
    benchmarks = [[f"[{title}]({name}.md)", f"`{command}`", date] for name, (title, date, command, *_) in facts.items()]
    where = dict.fromkeys(f"- {machine}; {versions}" for *_, machine, versions in facts.values())
    return "\n\n".join(
        [
            "# How fast it is",
            ABOUT,
            table(TARGET_COLUMNS, rows),
            "## Benchmarks",
            table(("Benchmark", "Measured by", "When"), benchmarks),
            "On:",
            "\n".join(where) + "\n",
        ]
    )


def target_rows(page: str) -> list[list[str]]:
    """Return the cells of a page's table of targets."""
    lines = page.partition(f"{TARGETS_HEAD}\n\n")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


# -- tables ------------------------------------------------------------------------------------------------------------


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table, its cells padded so that it reads well as it is; text stands left, figures right."""
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


def over(values: Sequence[float]) -> Cell:
    """Return the cell of a figure over its repetitions; of a single one there is no spread, of none no figure."""
    if not values:
        return None
    return Spread.of(values) if len(values) > 1 else values[0]


def median(values: Sequence[float]) -> float | None:
    """Return the median as a cell, None where there is no figure (a server that is not the test bed's own)."""
    return Spread.of(values).median if values else None


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
