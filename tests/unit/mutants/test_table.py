"""The table of mutants fits the source: each can be put in, and all parts of the product have some."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.table import ROOT, Mutant, load

MUTANTS: Final = load()
LEAST: Final = 80
UNIT_SHARE: Final = 0.7  # so many are noticed by unit tests alone
PARTS: Final = ("chatroom", "clients/javascript", "clients/python", "comet", "common", "job", "logic")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[one.name for one in MUTANTS])
def test_a_mutant_can_be_put_into_the_source(mutant: Mutant) -> None:
    """Whoever changes such a line changes the table with it: `old` stands once in `file`."""
    assert mutant.fault_in(ROOT) == ""
    assert mutant.tests
    assert mutant.old != mutant.new


def test_all_parts_have_mutants_and_unit_tests_notice_most() -> None:
    """`make mutants` shows that they do."""
    parts = Counter(part for one in MUTANTS for part in PARTS if one.file.startswith(f"{part}/"))
    assert sorted(parts) == list(PARTS)
    assert parts.total() == len(MUTANTS) >= LEAST
    assert min(parts.values()) >= 5
    assert sum(one.unit for one in MUTANTS) >= UNIT_SHARE * len(MUTANTS)


@pytest.mark.parametrize(
    ("file", "old", "test", "fault"),
    [
        ("a.py", "twice", "test_a.py", "stands 2 times in a.py"),
        ("a.py", "never", "test_a.py", "stands 0 times in a.py"),
        ("a.py", "once", "test_b.py::test_it", "there is no test test_b.py::test_it"),
        ("b.py", "once", "test_a.py", "there is no file b.py"),
        ("a.py", "once", "test_a.py::test_it", ""),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, file: str, old: str, test: str, fault: str) -> None:
    """The text, the file, the test."""
    (tmp_path / "a.py").write_text("once twice twice")
    (tmp_path / "test_a.py").touch()
    found = Mutant("it", file, old, "x", (test,)).fault_in(tmp_path)
    assert fault in found
    assert bool(found) == bool(fault)


def test_a_name_stands_once(tmp_path: Path) -> None:
    """Over all files of the table."""
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('[it]\nfile = "a.py"\nold = "x"\nnew = "y"\ntests = ["test_a.py"]\n')
    with pytest.raises(ValueError, match=r"b\.toml: there is a mutant named it already"):
        load(tmp_path)
