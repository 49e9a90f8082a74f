"""The picture of a run: messages a second through time, acked and delivered, with the faults marked. Only matplotlib.

A long run is broken into rows of ROW_S, so that each fault has the width that its name needs.
"""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch

from bench.report.pictures import PALE, STYLE
from tests.chaos.evidence import Evidence, Struck

ROW_S: Final = 180
WIDTH_IN: Final = 12.0
ROW_IN: Final = 2.8
HEAD_IN, FOOT_IN, GAP_IN = 0.72, 0.55, 0.4
LABELS_IN: Final = 0.85  # above a row's panels, for the faults' names

ACKED, DELIVERED = "#1f6f8b", "#5b8c5a"
# What kinds of fault have in common, by the words in their names; each family has a colour of its own.
FAMILIES: Final = (
    ("killed", ("kill",), "#d1495b"),
    ("frozen", ("freeze",), "#3d7fc4"),
    ("cut, delayed or half-open", ("cut", "delay", "half", "silent"), "#c47f17"),
    ("slow disk or full", ("slow", "full"), "#8e6bbf"),
    ("restarted", ("restart",), "#4aa387"),
)
OTHER: Final = ("other", (), "#8a8f98")


def draw(run: Evidence, path: Path, title: str) -> None:
    """Write the picture as SVG."""
    with mpl.rc_context(STYLE):
        _figure(run, title).savefig(path, format="svg", metadata={"Date": None, "Title": title})


def family(kind: str) -> tuple[str, tuple[str, ...], str]:
    """Return what kind of fault it is: a name, words, a colour."""
    return next((one for one in FAMILIES if any(word in kind for word in one[1])), OTHER)


def rates(times: Iterable[float], began: float, seconds: int) -> list[int]:
    """Return how many fell into each second since the beginning."""
    counted = Counter(int(at - began) for at in times)
    return [counted[second] for second in range(seconds)]


def _figure(run: Evidence, title: str) -> Figure:
    seconds = max(1, math.ceil(run.ended - run.began))
    acked = rates((one.at for one in run.acked), run.began, seconds)
    delivered = rates((seen.at for view in run.views for seen in view.seen), run.began, seconds)
    rows = math.ceil(seconds / ROW_S)
    height = HEAD_IN + FOOT_IN + rows * ROW_IN + (rows - 1) * GAP_IN
    figure = Figure(figsize=(WIDTH_IN, height))
    _head(figure, run, title, height)
    for row in range(rows):
        top = height - HEAD_IN - row * (ROW_IN + GAP_IN)
        grid = GridSpec(
            2, 1, figure, left=0.06, right=0.945, hspace=0.16, height_ratios=(1, 1),
            top=(top - LABELS_IN) / height, bottom=(top - ROW_IN) / height,
        )  # fmt: skip
        upper = figure.add_subplot(grid[0])
        lower = figure.add_subplot(grid[1], sharex=upper)
        for axes, values, colour, label in (
            (upper, acked, ACKED, "acked / s"),
            (lower, delivered, DELIVERED, "delivered / s"),
        ):
            axes.set_xlim(row * ROW_S, row * ROW_S + (ROW_S if rows > 1 else seconds))
            _panel(axes, values, colour, label)
        upper.tick_params(labelbottom=False)
        _bands(upper, lower, run)
    figure.text(0.5, 0.2 / height, "seconds since the load began", ha="center", va="center")
    return figure


def _head(figure: Figure, run: Evidence, title: str, height: float) -> None:
    figure.text(0.02, 1 - 0.28 / height, title, fontsize=13, fontweight="bold", va="center")
    present = {family(fault.kind)[0] for fault in run.faults}
    patches = [Patch(color=colour, label=name) for name, _, colour in (*FAMILIES, OTHER) if name in present]
    figure.legend(
        handles=patches,
        loc="center left",
        bbox_to_anchor=(0.012, 1 - 0.56 / height),
        ncols=max(1, len(patches)),
        frameon=False,
        handlelength=0.9,
        handleheight=0.9,
    )


def _panel(axes: Axes, values: list[int], colour: str, label: str) -> None:
    left, right = map(int, axes.get_xlim())
    shown = range(max(0, left - 1), min(right + 1, len(values)))
    middles, heights = [second + 0.5 for second in shown], [values[second] for second in shown]
    axes.fill_between(middles, heights, color=colour, alpha=0.18, linewidth=0)
    axes.plot(middles, heights, color=colour, linewidth=1.2)
    axes.set_ylim(0, max(1, *values) * 1.12)
    axes.set_ylabel(label)
    axes.grid(axis="y", color=PALE, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.locator_params(axis="y", nbins=4, integer=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=2.5)


def _bands(upper: Axes, lower: Axes, run: Evidence) -> None:
    """Colour each fault's time through both panels and write its kind above, slanted."""
    left, right = upper.get_xlim()
    for fault in run.faults:
        begins, ends = fault.began - run.began, fault.ended - run.began
        if ends <= left or begins >= right:
            continue
        colour = family(fault.kind)[2]
        for axes in (upper, lower):
            axes.axvspan(max(begins, left), min(ends, right), color=colour, alpha=0.2, linewidth=0)
            axes.axvline(begins, color=colour, linewidth=0.9)
        if begins >= left:
            _name(upper, fault, begins, colour)


def _name(axes: Axes, fault: Struck, begins: float, colour: str) -> None:
    axes.annotate(
        fault.kind.replace("_", " "),
        (begins, 1.03),
        xycoords=("data", "axes fraction"),
        rotation=42,
        rotation_mode="anchor",
        ha="left",
        va="bottom",
        fontsize=7.5,
        color=colour,
        annotation_clip=False,
    )
