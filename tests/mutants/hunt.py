"""The hunt: the named tests must pass in the sound tree, and at least one must fail with each mutant in it."""

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.copies import Copy, clone, copy_tree
from tests.mutants.table import Mutant
from tests.support.time_limits import LATE

NOTICED, UNNOTICED, HUNG, BROKEN = "noticed", "UNNOTICED", "HUNG", "BROKEN"
SOUND_S: Final = 900.0
SHOWN_CHARS: Final = 3000  # of the output of tests that do not end as they must


class NotSound(Exception):
    """The named tests fail without any mutant; the text is the end of their output."""


@dataclass(frozen=True)
class Hunted:
    """What became of one mutant."""

    mutant: Mutant
    outcome: str
    seconds: float
    output: str
    noticed_by: str = ""  # the test that failed

    @property
    def right(self) -> bool:
        """Whether a test noticed it, by a failure."""
        return self.outcome == NOTICED


def hunt(
    root: Path, folder: Path, mutants: Sequence[Mutant], jobs: int, tell: Callable[[Hunted], None]
) -> list[Hunted]:
    """Hunt the mutants, `jobs` at a time, in copies of `root` inside `folder`. Raises NotSound."""
    first = copy_tree(root, folder / "0")
    check_sound(first, mutants, jobs)
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in (first, *(clone(first, folder / str(number)) for number in range(1, jobs))):
        free.put(copy)

    def one(mutant: Mutant) -> Hunted:
        copy = free.get()
        try:
            found = try_out(copy, mutant)
        finally:
            free.put(copy)
        tell(found)
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, mutants))


def check_sound(copy: Copy, mutants: Sequence[Mutant], jobs: int) -> None:
    """Run all named tests without a mutant. Raises NotSound."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    code, output = copy.run(tests, "-n", str(jobs if jobs > 1 else 0), timeout_s=SOUND_S, warm=True)
    if code != pytest.ExitCode.OK:
        raise NotSound(output[-SHOWN_CHARS:])


def try_out(copy: Copy, mutant: Mutant) -> Hunted:
    """Run the mutant's tests with it, up to the first failure."""
    began = time.monotonic()
    with copy.having(mutant):
        code, output = copy.run(mutant.tests, "--exitfirst")
    return Hunted(mutant, outcome_of(code, output), time.monotonic() - began, output, failed_test(output))


def outcome_of(code: int, output: str) -> str:
    """Return what an exit code says. Only a test that fails notices a mutant, and not one that hangs."""
    if f" {LATE} " in output:
        return HUNG
    if code == pytest.ExitCode.OK:
        return UNNOTICED
    return NOTICED if code == pytest.ExitCode.TESTS_FAILED and failed_test(output) else BROKEN


def failed_test(output: str) -> str:
    """Return the first test that pytest's summary names as failed, or ''."""
    heads = ("FAILED ", "ERROR ")
    failed = (line.split(" ", 1)[1] for line in output.splitlines() if line.startswith(heads) and "::" in line)
    return next(failed, "").split(" - ")[0]
