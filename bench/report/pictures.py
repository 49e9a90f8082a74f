"""Charts, and how they are drawn: as SVG by matplotlib, which is imported only when something is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.errors import StartupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, PALE = "#2b2d33", "#8a8f98"
COLOURS: Final = ("#1f6f8b", "#5b8c5a", "#d1495b", "#c47f17", "#8e6bbf", "#3d7fc4", "#4aa387")
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "path",  # looks the same wherever it is shown
    "svg.hashsalt": "chatroom",  # and the same figures draw the same file
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
WIDTH_IN, HEIGHT_IN = 8.0, 4.2
MARKED: Final = 40  # points of a line that are shown as points
LABELLED: Final = 8  # values of x that each have their label


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


def check() -> None:
    """Raise StartupError where nothing can be drawn. Called before hours of measuring, not after."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - a dependency of development, not of the product
    except ModuleNotFoundError:
        raise StartupError("the pictures need matplotlib: run `make bench`, or pip install matplotlib") from None
    mpl.use("svg")


def draw(chart: Chart, path: Path) -> None:
    """Write the chart as SVG."""
    check()
    import matplotlib as mpl  # noqa: PLC0415 - see check()
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        _plot(figure.add_subplot(), chart)
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": chart.title})


def _plot(axes: "Axes", chart: Chart) -> None:
    for i, series in enumerate(chart.series):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(
            series.x,
            series.y,
            color=colour,
            linewidth=1.4,
            marker="o" if len(series.x) <= MARKED else "",
            markersize=3,
            label=series.label,
        )
        if series.low and series.high:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.18, linewidth=0)
    _scale(axes, chart)
    axes.set_title(chart.title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(color=PALE, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _scale(axes: "Axes", chart: Chart) -> None:
    """Make axes logarithmic with plain figures, and label each x where there are few."""
    if chart.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
        points = sorted({x for series in chart.series for x in series.x})
        if len(points) <= LABELLED:
            axes.set_xticks(points)
            axes.xaxis.set_minor_formatter("")
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
