"""The index of all results, README.md: every target with what was wanted, what was measured, and whether it is met.

It is made from the JSON files of the folder, so parts may be run alone and at different times.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from bench.report.results import figure, table
from bench.report.targets import TARGETS, Measured, Target

MET, FAILED, NOT_MEASURED = "met", "**FAILED**", "not measured"
HEAD: Final = (
    "Made by `make bench` (all parts) or `python -m bench PART`. Medians of the repetitions; the spread is in each "
    "part's table. Ratios count: absolute figures drift from machine to machine."
)


def write(out: Path) -> None:
    """Write README.md anew."""
    (out / "README.md").write_text(text(read(out)))


def read(out: Path) -> list[Mapping[str, Any]]:
    """Return what is kept of each part, in the order of their names; other JSON files are not ours."""
    found = [orjson.loads(path.read_bytes()) for path in sorted(out.glob("*.json"))]
    return [one for one in found if "bench" in one]


def text(kept: Sequence[Mapping[str, Any]]) -> str:
    """Return the index."""
    measured = [(Measured(**one), each) for each in kept for one in each["result"]["targets"]]
    by_key = {one.key: (one, each) for one, each in measured}
    rows = [_row(target, *by_key.get(target.key, (None, {}))) for target in TARGETS]
    parts = ["# How fast it is", HEAD, table(("Target", "Wanted", "Measured", "", "Why"), rows), _parts(kept)]
    return "\n\n".join(parts) + "\n"


def _row(target: Target, measured: Measured | None, each: Mapping[str, Any]) -> list[str]:
    if measured is None:
        return [target.what, target.wanted, "", NOT_MEASURED, ""]
    name = each["result"]["name"]
    value = f"[{figure(measured.value)} {target.unit}]({name}.md)".replace(" ]", "]")
    met = target.met_by(measured.value)
    why = "; ".join(
        filter(None, ("" if met else measured.why, f"doubtful: {measured.doubt}" if measured.doubt else ""))
    )
    return [target.what, target.wanted, value, MET if met else FAILED, why]


def _parts(kept: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            f"[{one['result']['title']}]({one['result']['name']}.md)",
            f"`{one['bench']['command']}`",
            one["bench"]["date"],
        ]
        for one in kept
    ]
    where = dict.fromkeys(f"- {one['bench']['machine']}; {_versions(one['bench']['versions'])}" for one in kept)
    return "\n\n".join(["## Parts", table(("Part", "Measured by", "When"), rows), "On:", "\n".join(where)])


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
