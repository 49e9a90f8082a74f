"""The table of mutants: `table/*.toml`, one file a part of the product.

    [a-name]
    file = "comet/room.py"
    old = "burst.epoch < self.epoch"      # stands exactly once in the file
    new = "burst.epoch <= self.epoch"
    tests = ["tests/unit/comet/test_room.py"]

At least one of the tests must fail where `new` stands in place of `old`.
"""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("table")
UNIT: Final = "tests/unit/"


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @cached_property
    def unit(self) -> bool:
        """Whether unit tests alone must notice it."""
        return all(test.startswith(UNIT) for test in self.tests)

    def fault_in(self, root: Path) -> str:
        """Return why it can't be put into the tree at `root`, or ''."""
        path = root / self.file
        if not path.is_file():
            return f"there is no file {self.file}"
        found = path.read_text().count(self.old)
        if found != 1:
            return f"its old text stands {found} times in {self.file}, and must stand once: {self.old!r}"
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).exists()]
        return f"there is no test {missing[0]}" if missing else ""

    def changed(self, text: str) -> str:
        """Return the file's text with the fault in it."""
        return text.replace(self.old, self.new)


def load(folder: Path = TABLE) -> list[Mutant]:
    """Return all mutants by file of the table. Raises ValueError for a name that stands twice."""
    mutants: dict[str, Mutant] = {}
    for path in sorted(folder.glob("*.toml")):
        for name, row in tomllib.loads(path.read_text()).items():
            if name in mutants:
                raise ValueError(f"{path.name}: there is a mutant named {name} already")
            mutants[name] = Mutant(name, row["file"], row["old"], row["new"], tuple(row["tests"]))
    return list(mutants.values())
