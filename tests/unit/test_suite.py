"""tests/support/suite.py decides which failed tests may run again; each test runs it on a small project of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.support.loops import wait_until

ROOT: Final = Path(__file__).parents[2]
USAGE_ERROR, NO_TESTS, INTERRUPTED = 4, 5, 2

# Each test file counts its runs in a file beside it.
COUNT: Final = """
import os, pytest, time
from pathlib import Path
RUNS = Path(__file__).with_suffix(".runs")
def runs():
    with RUNS.open("a") as file: file.write("x")
    return RUNS.stat().st_size
"""
FLAKY: Final = COUNT + "def test_it(): assert runs() > 1, 'busy | slow'\n"
BROKEN: Final = COUNT + "def test_it(): assert runs() < 0, 'broken'\n"
SETUP: Final = COUNT + "@pytest.fixture\ndef it(): assert runs() > 1, 'busy | slow'\ndef test_it(it): pass\n"
TEARDOWN: Final = (
    COUNT + "@pytest.fixture\ndef it():\n yield\n assert runs() > 1, 'busy | slow'\ndef test_it(it): pass\n"
)
UNCLEAN: Final = TEARDOWN.replace("> 1", "< 0")
CRASHING: Final = COUNT + "def test_it(): runs() > 1 or os._exit(1)\n"
SKIPPING: Final = COUNT + "def test_it():\n runs() > 1 and pytest.skip('not here')\n assert False\n"


class Project:
    """A project of a few test files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tests").mkdir()
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p xdist.plugin\n")

    def add(self, path: str, text: str) -> None:
        """Add a test file."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def start(self, *options: str, workers: int = 0) -> subprocess.Popen[str]:
        """Start the program as `make test` does, but with few workers and no plugin but xdist."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.support.suite", "test", "-n", str(workers), *options],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, workers: int = 0) -> tuple[int, str]:
        """Run the program; return its exit code and output."""
        with self.start(*options, workers=workers) as running:
            output = running.communicate(timeout=60)[0]
        return running.returncode, output

    def runs(self, path: str) -> int:
        """Return how often the test of a file ran."""
        counted = (self.folder / path).with_suffix(".runs")
        return counted.stat().st_size if counted.exists() else 0

    @property
    def rows(self) -> Sequence[str]:
        """The rows of the table."""
        table = self.folder / "tests/flaky.md"
        return table.read_text().splitlines() if table.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one unit test that passes."""
    it = Project(tmp_path)
    it.add("tests/unit/test_sound.py", COUNT + "def test_sound(): runs()\n")
    return it


def row(test: str, failure: str = "AssertionError: busy \\| slow") -> str:
    """Return a row of the table, added today."""
    return f"| {datetime.now(UTC):%Y-%m-%d} | make test | {test} | {failure} |"


def test_success_runs_nothing_again(project: Project) -> None:
    """A run without failures prints pytest's output alone."""
    code, output = project.run()
    assert code == 0
    assert "1 passed" in output
    assert not re.search("^== ", output, re.MULTILINE)
    assert project.rows == []


@pytest.mark.parametrize(
    ("folder", "text"), [("tests/integration", FLAKY), ("tests/e2e/sub", SETUP), ("tests/browser", TEARDOWN)]
)
def test_flaky_test_is_recorded(project: Project, folder: str, text: str) -> None:
    """The run passes, no other test runs again, and the output's end and the table show the test."""
    project.add(f"{folder}/test_flaky.py", text)
    code, output = project.run(workers=1)
    assert code == 0
    assert f"== Running once more, alone: {folder}/test_flaky.py::test_it\n" in output
    assert project.rows == [row(f"{folder}/test_flaky.py::test_it")]
    assert output.splitlines()[-1] == project.rows[0]
    assert project.runs("tests/unit/test_sound.py") == 1


def test_two_flaky_tests_pass(project: Project) -> None:
    """Rows go below those of earlier runs."""
    (project.folder / "tests/flaky.md").write_text("| older |\n")
    project.add("tests/integration/test_a.py", FLAKY)
    project.add("tests/integration/test_b.py", FLAKY)
    assert project.run()[0] == 0
    names = [f"tests/integration/test_{letter}.py::test_it" for letter in "ab"]
    assert project.rows == ["| older |", *map(row, names)]


def test_third_flaky_test_fails_the_run(project: Project) -> None:
    """No test runs again then."""
    for letter in "abc":
        project.add(f"tests/integration/test_{letter}.py", FLAKY)
    code, output = project.run()
    assert code == 1
    assert "3 tests failed, and at most 2 may" in output
    assert [project.runs(f"tests/integration/test_{letter}.py") for letter in "abc"] == [1, 1, 1]
    assert project.rows == []


@pytest.mark.parametrize("text", [BROKEN, UNCLEAN, SKIPPING], ids=["fails", "fails at its end", "is skipped"])
def test_second_failure_fails_the_run(project: Project, text: str) -> None:
    """A skip is no pass; a flaky test of the same run is recorded."""
    project.add("tests/integration/test_broken.py", text)
    project.add("tests/integration/test_flaky.py", FLAKY)
    code, output = project.run()
    assert code == 1
    assert output.splitlines()[-1] == "== Did not pass when run again: tests/integration/test_broken.py::test_it"
    assert project.runs("tests/integration/test_broken.py") == 2
    assert project.rows == [row("tests/integration/test_flaky.py::test_it")]


@pytest.mark.parametrize("folder", ["tests/unit", "tests", "tests/integrationlike"])
def test_failure_elsewhere_fails_the_run(project: Project, folder: str) -> None:
    """No test runs again then, in whichever folder."""
    project.add(f"{folder}/test_elsewhere.py", FLAKY)
    project.add("tests/integration/test_flaky.py", FLAKY)
    code, output = project.run()
    assert code == 1
    assert f"== No test runs again: {folder}/test_elsewhere.py::test_it failed" in output
    assert project.runs(f"{folder}/test_elsewhere.py") == project.runs("tests/integration/test_flaky.py") == 1
    assert project.rows == []


@pytest.mark.parametrize(("workers", "options"), [(1, []), (0, ["--continue-on-collection-errors"])])
def test_collection_error_fails_the_run(project: Project, workers: int, options: list[str]) -> None:
    """Whether or not the other tests run."""
    project.add("tests/integration/test_bad.py", "import no_such_module\n")
    project.add("tests/integration/test_flaky.py", FLAKY)
    code, output = project.run(*options, workers=workers)
    assert code in (1, INTERRUPTED)
    assert "Running once more" not in output
    assert project.rows == []


def test_crashed_worker_fails_the_run(project: Project) -> None:
    """The test would pass if it ran again."""
    project.add("tests/integration/test_crashing.py", CRASHING)
    code, output = project.run(workers=1)
    assert code == 1
    assert "== No test runs again: a worker crashed" in output
    assert project.runs("tests/integration/test_crashing.py") == 1
    assert project.rows == []


@pytest.mark.parametrize("workers", [0, 1])
def test_run_that_ends_early_fails(project: Project, workers: int) -> None:
    """The tests that did not run may fail."""
    project.add("tests/integration/test_a.py", FLAKY)
    project.add("tests/integration/test_b.py", FLAKY)
    code, output = project.run("--exitfirst", "tests/integration", workers=workers)
    assert code in (1, INTERRUPTED)
    assert "Running once more" not in output
    assert project.rows == []


@pytest.mark.parametrize(("option", "code"), [("--no-such-option", USAGE_ERROR), ("-k=nothing", NO_TESTS)])
def test_other_exit_codes_stay(project: Project, option: str, code: int) -> None:
    """A run without tests is no success."""
    assert project.run(option)[0] == code
    assert project.rows == []


def test_options_hold_for_both_runs(project: Project) -> None:
    """Paths and -k choose the same tests, own options have the same values, but the second run has no workers."""
    project.add(
        "tests/conftest.py",
        "def pytest_addoption(parser): parser.addoption('--kafka')\ndef pytest_xdist_auto_num_workers(): return 1\n",
    )
    text = """
def test_flaky(pytestconfig):
    assert pytestconfig.getoption("--kafka") == "apache"
    assert ("PYTEST_XDIST_WORKER" in os.environ) == (runs() == 1)
    assert runs() > 2
def test_other(): assert False
"""
    project.add("tests/integration/test_it.py", COUNT + text)
    project.add("tests/e2e/test_it.py", BROKEN)
    code, _ = project.run("-n", "auto", "--kafka", "apache", "tests/integration", "-k", "flaky")
    assert code == 0
    assert project.rows == [row("tests/integration/test_it.py::test_flaky", "assert 2 > 2")]
    assert project.runs("tests/e2e/test_it.py") == 0


def test_interrupted_run_ends_at_once(project: Project) -> None:
    """Ctrl-C runs nothing again."""
    project.add("tests/integration/test_a.py", FLAKY)
    project.add("tests/integration/test_b.py", COUNT + "def test_it(): runs(); time.sleep(60)\n")
    with project.start(workers=1) as running:
        wait_until(lambda: project.runs("tests/integration/test_b.py"), 30, "the second test runs")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to the workers too
        output = running.communicate(timeout=30)[0]
    assert running.returncode == INTERRUPTED
    assert "Running once more" not in output
    assert project.rows == []
