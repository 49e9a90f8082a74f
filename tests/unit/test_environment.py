"""Only a file named config.py reads the environment, so that each setting has one place."""

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("chatroom", "clients/python/chatroom_client", "comet", "common", "job", "logic")
NAMES: Final = {"environ", "environb", "getenv", "getenvb"}  # of the module os


def reads_environment(source: str) -> bool:
    """Return whether a module names the environment, as `os.environ` or imported from os."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in NAMES and ast.unparse(node.value) == "os")
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and NAMES & {one.name for one in node.names})
        or (isinstance(node, ast.Import) and any(one.name == "os" and one.asname for one in node.names))
        for node in ast.walk(ast.parse(source))
    )


def test_only_config_files_read_the_environment() -> None:
    """In each service, in common, in the chatroom command and in the Python client."""
    reading = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if reads_environment(path.read_text())
    }
    assert reading == {"chatroom/config.py", "common/config.py"}


@pytest.mark.parametrize(
    "source",
    ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ as e", "import os as o"],
)
def test_each_way_to_read_the_environment_is_seen(source: str) -> None:
    """An alias of os counts as one, because it hides the names."""
    assert reads_environment(source)
