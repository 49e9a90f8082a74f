"""The command line: help with an example everywhere, and services that get all their arguments."""

import subprocess
import sys

import pytest

STANDIN = "import sys; print(sys.argv[1:])"


def chatroom(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Run the command and return what it prints."""
    argv = [sys.executable, "-m", "chatroom", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30, env=environ).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["up", "-h"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    """Of the very command."""
    assert "Example: chatroom up" in chatroom(*arguments)


def test_version() -> None:
    """The package's own."""
    assert chatroom("--version").startswith("chatroom, version 0.")


@pytest.mark.parametrize("service", ["comet", "logic", "job"])
def test_a_service_gets_all_arguments(service: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`chatroom comet --help -x y` is `python -m comet --help -x y`; a folder of that name here is not taken for it."""
    package = tmp_path_factory.mktemp("path") / service
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STANDIN)
    out = chatroom(service, "--help", "-x", "y", environ={"PYTHONPATH": f"{package.parent}:."})
    assert out == "['--help', '-x', 'y']\n"


@pytest.mark.parametrize(
    "arguments", [["--comets", "0"], ["--config", "/no/such/file"], ["--log-level", "loud"], ["-x"]]
)
def test_a_wrong_option_is_named(arguments: list[str]) -> None:
    """Exit 2, before anything starts."""
    argv = [sys.executable, "-m", "chatroom", "up", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
