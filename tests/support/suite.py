"""Run the test suite for `make TARGET`: `python -m tests.support.suite TARGET PYTEST_ARGS...`.

A test against real servers may fail because the machine is busy. At most two failed tests of the folders in `RERUN`
run once more after the run, alone and with the same options. A test that then passes does not fail the run. Its name
is recorded in tests/flaky.md, to be mended before anything else. Any other failure fails the run at once.
"""

import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import pytest

RERUN: Final = ("tests/integration/", "tests/e2e/", "tests/browser/")
MOST_RERUN: Final = 2
FLAKY: Final = Path("tests/flaky.md")  # from the root of the tree, where make runs
FAILURE_CHARS: Final = 160


class Results:
    """A pytest plugin that collects the results of one run, from all xdist workers."""

    def __init__(self) -> None:
        self.passed: set[str] = set()  # names of tests whose call passed
        self.failures: dict[str, str] = {}  # first failure of each test, of its fixtures too, by the test's name
        self.errors: list[str] = []  # failures that belong to no test

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a passed call and any failure."""
        if report.failed:
            self.failures.setdefault(report.nodeid, _in_short(report))
        elif report.passed and report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that pytest could not collect."""
        if report.failed:
            self.errors.append(f"{report.nodeid} could not be collected")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object | None) -> None:
        """Note a crashed worker."""
        if error:
            self.errors.append(f"a worker crashed: {error}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Note a run that ended before its last test, as `--exitfirst` does."""
        if reason := session.shouldfail or session.shouldstop:
            self.errors.append(f"the run ended early: {reason}")


class Selection:
    """A pytest plugin that deselects all tests but the named ones."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect the others."""
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self._names])
        items[:] = [item for item in items if item.nodeid in self._names]


def main(arguments: Sequence[str]) -> int:
    """Run the suite and return its exit code."""
    target, *options = arguments
    first = Results()
    code = pytest.main(options, plugins=[first])
    if code != pytest.ExitCode.TESTS_FAILED:
        return code
    if reason := _refusal(first):
        click.echo(f"== No test runs again: {reason}")
        return code
    return _run_again(target, options, first.failures)


def _refusal(results: Results) -> str:
    """Return why no test may run again, or ''."""
    failed = results.failures
    if results.errors or not failed:
        return "; ".join(results.errors) or "no test is to blame"
    if others := [name for name in failed if not name.startswith(RERUN)]:
        return f"{others[0]} failed, which is not in {', '.join(RERUN)}"
    return f"{len(failed)} tests failed, and at most {MOST_RERUN} may" if len(failed) > MOST_RERUN else ""


def _run_again(target: str, options: Sequence[str], failures: Mapping[str, str]) -> int:
    """Run the failed tests alone, record those that pass, and return the exit code."""
    click.echo(f"== Running once more, alone: {', '.join(failures)}")
    again = Results()
    code = pytest.main([*options, "-n", "0"], plugins=[again, Selection(failures)])
    flaky = failures.keys() & (again.passed - again.failures.keys())
    if flaky:
        _record(target, {name: failure for name, failure in failures.items() if name in flaky})
    if left := [name for name in failures if name not in flaky]:
        click.echo(f"== Did not pass when run again: {', '.join(left)}")
        return code or pytest.ExitCode.TESTS_FAILED
    return code


def _record(target: str, failures: Mapping[str, str]) -> None:
    """Append a row for each test to the table, and show it."""
    today = datetime.now(UTC).date()
    cells = ((today, f"make {target}", name, failure) for name, failure in failures.items())
    rows = "".join("| {} | {} | {} | {} |\n".format(*(str(cell).replace("|", "\\|") for cell in row)) for row in cells)
    with FLAKY.open("a") as file:
        file.write(rows)
    click.echo(f"== Passed only when run again, and added to {FLAKY}. Mend before anything else:\n{rows}", nl=False)


def _in_short(report: pytest.TestReport) -> str:
    """Return the first line of the exception, or of the report where it holds none."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else report.longreprtext
    return textwrap.shorten(text.strip().partition("\n")[0], FAILURE_CHARS, placeholder="...") or "no message"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
