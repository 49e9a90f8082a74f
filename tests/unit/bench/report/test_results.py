"""What is written of a result, and the index that holds all results against the targets."""

from pathlib import Path

import pytest

from bench import measures
from bench.measures import Spread
from bench.report import results
from bench.report.pictures import Chart, Series
from bench.report.results import TARGETS, Cell, Measured, Report, SpeedTarget

ROWS: list[list[Cell]] = [["Comet", 1000, Spread(8.123, 8.0, 9.5)], ["bare", 1000, None]]


def result(*targets: Measured, name: str = "fanout", rows: list[list[Cell]] | None = None) -> Report:
    """Return a result."""
    columns = ("Server", "Clients", "us")
    return Report(name, "Fan-out", columns, rows or ROWS, targets, ("A note.",), (), {"fanout_1": "57.1%  write"})


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("Comet", "Comet"), (None, "-"), (0, "0"), (0.0, "0"), (12_345, "12,345"), (12_345.6, "12,346"),
        (0.04567, "0.0457"), (8.0, "8.00"), (123.4, "123"), (Spread(1.0, 0.5, 2.0), "1.00 (0.500 to 2.00)"),
    ],
)  # fmt: skip
def test_cells(cell: Cell, shown: str) -> None:
    """Three significant digits; what has more before the point keeps them."""
    assert results.shown(cell) == shown


def test_a_table_stands_text_left_and_figures_right() -> None:
    """In Markdown, and readable as it is."""
    assert results.table(("Server", "us"), [["Comet", 8.5], ["bare", 10]]).splitlines() == [
        "| Server |   us |",
        "|:-------|-----:|",
        "| Comet  | 8.50 |",
        "| bare   |   10 |",
    ]


def test_a_row_must_fit_its_columns() -> None:
    """What is missing from a table is found when it is made."""
    with pytest.raises(ValueError, match="2 cells in a row of 3 columns"):
        result(rows=[["Comet", 1000]])


def test_what_is_written_of_a_part(tmp_path: Path) -> None:
    """A page with its table, notes, targets and picture, and the picture."""
    chart = Chart(
        "cost", "Cost", "clients", "us", [Series("Comet", [1, 10], [2.0, 3.0], [1.0, 2.0], [3.0, 4.0])], log_x=True
    )
    one = Report("fanout", "Fan-out", ("Server",), [["Comet"]], [Measured("fanout_1", 1.2)], ("A note.",), [chart])
    results.write(one, tmp_path, "python -m bench fanout")
    page = (tmp_path / "fanout.md").read_text()
    facts = ("# Fan-out", "`python -m bench fanout`", measures.describe(), measures.versions()["uvloop"])
    assert all(text in page for text in (*facts, "| Comet  |", "A note.", "![Cost](cost.svg)"))
    assert "| at most 1.3 x the bare joined write | 1.20 x the bare joined write | met |" in page
    assert (tmp_path / "cost.svg").read_text().startswith("<?xml")


def test_the_costs_of_a_missed_target_are_on_the_page(tmp_path: Path) -> None:
    """Below the table."""
    results.write(result(), tmp_path, "python -m bench fanout")
    assert "## Where the time goes: fanout_1\n\n```\n57.1%  write\n```" in (tmp_path / "fanout.md").read_text()


def rows_of(out: Path) -> dict[str, list[str]]:
    """Return the rows of the index's first table by target."""
    lines = (out / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in cells[2 : 2 + len(TARGETS)]}


def test_the_index_has_every_target(tmp_path: Path) -> None:
    """Met, FAILED with why, doubtful, or not measured; parts that were run at different times together."""
    results.write(result(Measured("fanout_1", 1.29), Measured("fanout_16", 1.31, "2 us against 1")), tmp_path, "one")
    results.write(result(Measured("ingest", 6000, doubt="disturbed"), name="ingest"), tmp_path, "two")
    (tmp_path / "other.md").write_text("# Other\n\n- 2026-11-27 10:00 UTC, no command\n")
    results.write(result(name="rooms"), tmp_path, "three")
    found = rows_of(tmp_path)
    by_key = {target.key: found[target.what] for target in TARGETS}
    assert by_key["fanout_1"][1:] == ["[1.29 x the bare joined write](fanout.md)", "met", ""]
    assert by_key["fanout_16"][1:] == ["[1.31 x the bare joined write](fanout.md)", "**FAILED**", "2 us against 1"]
    assert by_key["ingest"] == ["at least 5,000 msg/s", "[6,000 msg/s](ingest.md)", "met", "doubtful: disturbed"]
    assert by_key["idle_kib"][1:] == ["", "not measured", ""]


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (SpeedTarget("a", "", "ms", most=10), 10, True), (SpeedTarget("a", "", "ms", most=10), 10.1, False),
        (SpeedTarget("a", "", "/s", least=5000), 5000, True), (SpeedTarget("a", "", "/s", least=5000), 4999, False),
    ],
)  # fmt: skip
def test_bounds(target: SpeedTarget, value: float, met: bool) -> None:
    """The bound itself is enough."""
    assert target.met_by(value) is met


def test_each_target_has_one_bound_and_a_name_of_its_own() -> None:
    """Otherwise one would stand for two."""
    assert len({target.key for target in TARGETS}) == len(TARGETS)
    assert len({target.what for target in TARGETS}) == len(TARGETS)
    assert all((target.most is None) != (target.least is None) for target in TARGETS)
