"""The build context of deploy/Dockerfile: the files that .dockerignore lets through to the engine."""

import shutil
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def copy(into: Path) -> Path:
    """Copy the context as `COPY . .` does: symbolic links stay links. Return the new folder."""
    let_through, refused = _rules()
    for path in let_through:
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, symlinks=True, ignore=shutil.ignore_patterns(*refused))
        else:
            shutil.copy(ROOT / path, target)
    return into


def _rules() -> tuple[list[str], list[str]]:
    """Return the paths that are let through, and the names below them that are refused. Other rules are errors."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    let_through = [line[1:] for line in lines if line[0] == "!"]
    refused = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    assert lines == ["*", *(f"!{path}" for path in let_through), *(f"**/{name}" for name in refused)]
    assert not any("*" in path for path in let_through)
    return let_through, refused
