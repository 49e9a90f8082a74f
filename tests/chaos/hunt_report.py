"""The report of a hunt for mutants: `mutants.md`, with a row for each mutant and one for the sound services."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import measures
from tests.chaos.verdict import Violation

COLUMNS: Final = ("Mutant", "Strikes", "Result", "Violations that show it", "All violations", "Seconds")
ABOUT: Final = (
    "Each mutant is the product with one promise broken on purpose. A mutant is noticed where the checker finds the "
    "rule broken that the promise is about. The same strikes on sound services must show no violation."
)


@dataclass(frozen=True, slots=True)
class Hunted:
    """The result of one hunt."""

    mutant: str  # "" for sound services
    strikes: Sequence[str]
    violations: Sequence[Violation]
    shown: Sequence[Violation]  # the violations that show the mutant
    seconds: float
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """The mutant's name."""
        return self.mutant or "no mutant"

    @property
    def right(self) -> bool:
        """Whether the checker noticed the mutant, or found nothing without one."""
        return bool(self.shown) if self.mutant else not self.violations

    @property
    def outcome(self) -> str:
        """The result in a word."""
        if self.right:
            return "ok"
        return "SURVIVED" if self.mutant else "WRONG"


def write(out: Path, hunts: Sequence[Hunted], *, began: float, command: str) -> Path:
    """Write the report into the folder and return its path. `began` is in seconds since the epoch."""
    out.mkdir(parents=True, exist_ok=True)
    report = out / "mutants.md"
    report.write_text(text(hunts, began=began, command=command))
    return report


def text(hunts: Sequence[Hunted], *, began: float, command: str) -> str:
    """Return the report in Markdown."""
    about = [
        f"- {datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M} UTC, {sum(one.seconds for one in hunts):.0f} s",
        f"- {measures.describe()}",
        f"- {', '.join(f'{name} {number}' for name, number in hunts[-1].versions.items())}",
    ]
    parts = [
        "# Whether the checker notices a broken promise",
        f"**{_verdict(hunts)}**",
        ABOUT,
        "\n".join(about),
        _table(hunts),
        f"Run it again:\n\n    {command}",
    ]
    return "\n\n".join(parts) + "\n"


def found(violations: Sequence[Violation]) -> str:
    """Return the number of violations of each rule and effect."""
    counts = Counter(f"{violation.rule} {violation.effect}" for violation in violations)
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items())) or "nothing found"


def _verdict(hunts: Sequence[Hunted]) -> str:
    if wrong := [f"{one.name} {one.outcome}" for one in hunts if not one.right]:
        return f"NOT SOUND: {', '.join(wrong)}."
    mutants = [one for one in hunts if one.mutant]
    return f"{len(mutants)} of {len(mutants)} mutants noticed, and no violation in sound services."


def _table(hunts: Sequence[Hunted]) -> str:
    lines = [" | ".join(COLUMNS), "|".join([":--"] * (len(COLUMNS) - 1) + ["--:"])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(_cells(one)) for one in hunts)])


def _cells(one: Hunted) -> list[str]:
    strikes = ", ".join(strike.replace("_", " ") for strike in one.strikes)
    shown = found(one.shown) if one.mutant else ""
    return [one.name.replace("_", " "), strikes, one.outcome, shown, found(one.violations), f"{one.seconds:.0f}"]
