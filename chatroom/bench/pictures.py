"""Pictures of results: charts as SVG, by matplotlib, which is imported only here and only when something is drawn."""

from pathlib import Path

from chatroom.bench.results import Chart


def draw(chart: Chart, path: Path) -> None:
    """Write the chart as SVG. Raises StartupError where matplotlib is missing."""
    raise NotImplementedError
