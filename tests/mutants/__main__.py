"""`python -m tests.mutants`: see `make mutants`."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.mutants import report
from tests.mutants.hunt import HUNG, SHOWN_CHARS, UNNOTICED, Hunted, NotSound, hunt
from tests.mutants.table import ROOT, Mutant, load
from tests.support.time_limits import LATE


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog='Example: make mutants ARGS="append-"')
@click.argument("names", nargs=-1)
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="At a time.")
@click.option("--out", type=click.Path(path_type=Path), help="The report's folder.  [default: bench/results for all]")
def main(names: Sequence[str], jobs: int, out: Path | None) -> None:
    """Put small faults into copies of the source, one at a time: each must make one of its tests fail.

    NAMES: only mutants whose names begin so.
    """
    mutants = [one for one in load() if not names or one.name.startswith(tuple(names))]
    if not mutants:
        raise click.UsageError(f"no mutant's name begins with {' or '.join(names)}")
    _refuse_stale(mutants)
    folder, began, started = Path(tempfile.mkdtemp(prefix="chatroom-mutants-")), time.time(), time.monotonic()
    click.echo(f"{len(mutants)} mutants, {jobs} at a time; first their tests without any")
    try:
        hunted = hunt(ROOT, folder, mutants, jobs, _Progress(len(mutants)))
    except NotSound as e:
        raise click.ClickException(f"The tests of the mutants fail without any:\n{e}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(report.verdict(hunted))
    if out is not None or not names:
        click.echo(
            f"The table is in {report.write(out or Path('bench/results'), hunted, began, time.monotonic() - started)}"
        )
    sys.exit(not all(one.right for one in hunted))


def _refuse_stale(mutants: Sequence[Mutant]) -> None:
    """Raise ClickException for mutants that the source has left behind."""
    faults = [f"{one.name}: {fault}" for one in mutants if (fault := one.fault_in(ROOT))]
    if faults:
        raise click.ClickException("The table does not fit the source:\n" + "\n".join(faults))


class _Progress:
    """Prints a line for each mutant, and the output of tests that did not notice it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = 0

    def __call__(self, one: Hunted) -> None:
        self._done += 1
        click.echo(f"{self._done:>4}/{self._count} {one.outcome:<9} {one.mutant.name} ({one.seconds:.1f} s)")
        if not one.right and one.outcome != UNNOTICED:
            begin = one.output.find(LATE) if one.outcome == HUNG else len(one.output)
            click.echo(one.output[max(0, begin - SHOWN_CHARS // 2) : begin + SHOWN_CHARS // 2])


if __name__ == "__main__":
    main(prog_name="python -m tests.mutants")
