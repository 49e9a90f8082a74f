"""The report of a hunt shows each mutant, and `python -m tests.chaos mutants` writes it where `--out` says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import measures
from tests.chaos import hunt, hunt_report
from tests.chaos.__main__ import main
from tests.chaos.hunt_report import Hunted
from tests.chaos.verdict import LOST, WRONG, Violation

BEGAN = 1_800_000_000.0
LOST_PUSH = Violation("push", LOST, "r", 3, 3, "", BEGAN)
LATE_VIEW = Violation("view", WRONG, "r", 4, 4, "", BEGAN)
CAUGHT = Hunted("commit_before_push", ["kill_job"], [LOST_PUSH, LATE_VIEW, LOST_PUSH], [LOST_PUSH], 40.2, {})
SURVIVED = Hunted("ref_forgotten", ["cut_late_answers"], [LATE_VIEW], [], 30.0, {})
SOUND = Hunted("", ["kill_job", "cut_late_answers"], [], [], 50.0, {"Redis": "7.2.1", "Python": "3.11.7"})
WRONG_ALARM = Hunted("", ["kill_job"], [LATE_VIEW], [], 50.0, {})


def text(*hunts: Hunted) -> str:
    """Return the report."""
    return hunt_report.text(hunts, began=BEGAN, command="make chaos-mutants")


def test_sound_hunt() -> None:
    """The report names the time, the machine, the versions and the command, with a row for each hunt."""
    report = text(CAUGHT, SOUND)
    assert "**1 of 1 mutants noticed, and no violation in sound services.**" in report
    for part in (
        "2027-01-15 08:00 UTC, 90 s",
        measures.describe(),
        "Redis 7.2.1, Python 3.11.7",
        "    make chaos-mutants\n",
    ):
        assert part in report
    head, _, *rows = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("|")]
    assert head == list(hunt_report.COLUMNS)
    assert rows == [
        ["commit before push", "kill job", "ok", "push lost (1)", "push lost (2), view wrong (1)", "40"],
        ["no mutant", "kill job, cut late answers", "ok", "", "nothing found", "50"],
    ]


def test_survivor_and_false_alarm_are_told() -> None:
    """A mutant that only another rule broke survived; sound services show no violation."""
    report = text(CAUGHT, SURVIVED, WRONG_ALARM)
    assert "**NOT SOUND: ref_forgotten SURVIVED, no mutant WRONG.**" in report
    assert "| ref forgotten | cut late answers | SURVIVED | nothing found | view wrong (1) | 30 |" in report
    assert "| no mutant | kill job | WRONG |  | view wrong (1) | 50 |" in report


@pytest.mark.parametrize(
    ("names", "sound", "command"),
    [
        ([], SOUND, "make chaos-mutants"),
        (["ref_forgotten"], SOUND, 'make chaos-mutants ARGS="ref_forgotten"'),
        ([], WRONG_ALARM, "make chaos-mutants"),
    ],
)
def test_command_writes_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str], sound: Hunted, command: str
) -> None:
    """Into a folder that need not exist, and when the checker was wrong too; the exit code says which."""

    async def hunted(_guard: Any, _directory: Path, mutant: str, hunts: Sequence[hunt.Hunt]) -> Hunted:
        if not mutant:
            return sound
        return Hunted(mutant, [hunts[0].strike.__name__], [LOST_PUSH], [LOST_PUSH], 1.0, {})

    monkeypatch.setattr(hunt, "_hunt", hunted)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the logs' folder stays where the checker was wrong
    out = tmp_path / "bench" / "results"
    done = CliRunner().invoke(main, ["mutants", "--out", str(out), *names])
    assert done.exit_code == (0 if sound.right else 1)
    report = (out / "mutants.md").read_text()
    assert str(out / "mutants.md") in done.output
    assert report.endswith(f"    {command}\n")
    expected = names or [one.mutant for one in hunt.HUNTS]
    for mutant in expected:
        assert f"| {mutant.replace('_', ' ')} | " in report
    assert report.count("| ok |") == len(expected) + sound.right
