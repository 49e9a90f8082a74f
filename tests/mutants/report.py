"""The report of a hunt: `source-mutants.md`, with a row for each mutant."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import measures
from tests.mutants.hunt import Hunted
from tests.mutants.table import ROOT

NAME: Final = "source-mutants.md"
COLUMNS: Final = ("Mutant", "File", "Result", "Noticed by", "Seconds")
ABOUT: Final = (
    "Each mutant is one small fault in the source, such as a wrong comparison, a missing renewal or a lost cleanup. "
    "It is noticed where a test that is named for it fails. The same tests pass without a mutant."
)


def write(out: Path, hunted: Sequence[Hunted], began: float, seconds: float) -> Path:
    """Write the report into the folder and return its path. `began` is in seconds since the epoch."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / NAME
    path.write_text(text(hunted, began, seconds, commit(ROOT)))
    return path


def text(hunted: Sequence[Hunted], began: float, seconds: float, of: str) -> str:
    """Return the report in Markdown; `of` is the commit."""
    about = [
        f"- {datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s, of {of}",
        f"- {measures.describe()}",
    ]
    parts = ["# Whether the tests notice a fault", f"**{verdict(hunted)}**", ABOUT, "\n".join(about), _table(hunted)]
    return "\n\n".join([*parts, "Run it again:\n\n    make mutants"]) + "\n"


def verdict(hunted: Sequence[Hunted]) -> str:
    """Say how many were noticed, and which were not."""
    if wrong := [f"{one.mutant.name} {one.outcome}" for one in hunted if not one.right]:
        return f"{len(hunted) - len(wrong)} of {len(hunted)} mutants noticed. NOT: {', '.join(wrong)}."
    unit = sum(one.mutant.unit for one in hunted)
    return f"{len(hunted)} of {len(hunted)} mutants noticed, {unit} ({unit / len(hunted):.0%}) by unit tests alone."


def commit(root: Path) -> str:
    """Return the tree's commit, and whether the tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty= with changes", "--exclude=*"],  # noqa: S607 - git is on the PATH
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"commit {found.stdout.strip()}" if found.returncode == 0 else "a tree without git"


def _table(hunted: Sequence[Hunted]) -> str:
    lines = [" | ".join(COLUMNS), "|".join([":--"] * (len(COLUMNS) - 1) + ["--:"])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(_cells(one)) for one in hunted)])


def _cells(one: Hunted) -> list[str]:
    noticed_by = one.noticed_by.replace("|", "\\|")
    return [one.mutant.name, f"`{one.mutant.file}`", one.outcome, noticed_by, f"{one.seconds:.1f}"]
