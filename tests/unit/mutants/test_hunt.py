"""A hunt says what became of each mutant, and leaves the tree as it was; on a small project of its own."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.mutants import report
from tests.mutants.hunt import BROKEN, HUNG, NOTICED, UNNOTICED, Hunted, NotSound, hunt, outcome_of
from tests.mutants.table import Mutant
from tests.support.time_limits import LATE

SOURCE: Final = "def half(number):\n    return number // 2\n\ndef unused():\n    return 1\n"
TEST: Final = "from it import half\ndef test_half(): assert half(4) == 2\n"
TESTS: Final = ("test_it.py",)
WRONG: Final = Mutant("wrong", "it.py", "number // 2", "number // 3", TESTS)
UNTESTED: Final = Mutant("untested", "it.py", "return 1", "return 2", TESTS)
NO_PYTHON: Final = Mutant("no-python", "it.py", "return 1", "return (", TESTS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one module and its test."""
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)  # noqa: S607 - git is on the PATH
    for name, text in (("it.py", SOURCE), ("test_it.py", TEST), ("pytest.ini", "[pytest]\n")):
        (folder / name).write_text(text)
    return folder


def test_each_mutant_gets_its_outcome(project: Path, tmp_path: Path) -> None:
    """A test must fail; one that can't be imported notices nothing. One mutant is gone when the next comes."""
    told: list[str] = []
    hunted = hunt(
        project, tmp_path / "copies", [WRONG, UNTESTED, NO_PYTHON], 1, lambda one: told.append(one.mutant.name)
    )
    assert [one.outcome for one in hunted] == [NOTICED, UNNOTICED, BROKEN]
    assert [one.noticed_by for one in hunted][:2] == ["test_it.py::test_half", ""]
    assert told == ["wrong", "untested", "no-python"]
    assert (project / "it.py").read_text() == SOURCE


def test_tests_that_fail_without_a_mutant_are_told(project: Path, tmp_path: Path) -> None:
    """They would notice anything."""
    (project / "it.py").write_text(SOURCE.replace("// 2", "// 3"))
    with pytest.raises(NotSound, match=r"test_it\.py::test_half"):
        hunt(project, tmp_path / "copies", [UNTESTED], 1, lambda _: None)


@pytest.mark.parametrize(
    ("code", "output", "outcome"),
    [
        (0, "1 passed", UNNOTICED),
        (1, "FAILED test_a.py::test_it - assert 1 == 2", NOTICED),
        (1, "ERROR test_a.py::test_it - assert 1 == 2", NOTICED),
        (1, f"test_a.py::test_it {LATE} 60 s", HUNG),
        (-1, f"the tests {LATE} 180 s", HUNG),
        (2, "ERROR test_a.py - ImportError", BROKEN),
        (4, "ERROR: not found: test_a.py::test_it", BROKEN),
        (5, "no tests ran", BROKEN),
    ],
)
def test_only_a_failure_notices(code: int, output: str, outcome: str) -> None:
    """A test that hangs says nothing of what is wrong."""
    assert outcome_of(code, output) == outcome


def test_the_report_shows_each_mutant() -> None:
    """And in bold what is wrong."""
    noticed = Hunted(WRONG, NOTICED, 1.25, "", "tests/unit/test_it.py::test_half[a|b]")
    shown = report.text([noticed], 1_800_000_000, 9.6, "commit abc")
    assert "**1 of 1 mutants noticed, 0 (0%) by unit tests alone.**" in shown
    assert "- 2027-01-15 08:00 UTC, 10 s, of commit abc" in shown
    assert "| wrong | `it.py` | noticed | tests/unit/test_it.py::test_half[a\\|b] | 1.2 |" in shown
    missed = Hunted(UNTESTED, UNNOTICED, 1.0, "")
    assert "**1 of 2 mutants noticed. NOT: untested UNNOTICED.**" in report.text([noticed, missed], 0, 1, "")
