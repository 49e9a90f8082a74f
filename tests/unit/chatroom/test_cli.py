"""The command line: help with an example everywhere, and services that get all their arguments."""

import re
import subprocess
import sys

import pytest

STANDIN = "import sys; print(sys.argv[1:])"


def chatroom(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Run the command and return what it prints."""
    argv = [sys.executable, "-m", "chatroom", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30, env=environ).stdout


@pytest.mark.parametrize("command", ["up", "chat", "tail", "send", "status", "topics"])
def test_help_has_an_example(command: str) -> None:
    """Of the very command."""
    assert f"Example: chatroom {command}" in chatroom(*command.split(), "-h" if command == "up" else "--help")


def test_all_commands_are_listed_with_what_they_do() -> None:
    """And an example of what comes first."""
    shown = chatroom("--help")
    assert "Example: chatroom up" in shown
    for command in ("up", "chat", "tail", "send", "status", "topics", "comet", "logic", "job"):
        assert re.search(rf"^  {command} +\w+", shown, re.MULTILINE), command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", "r", "x", "--url", "http://h/"], "no WebSocket URL such as ws://localhost:8082/: check --url"),
        (["send", "r", "-", "--ref", "k"], "--ref is for one message"),
        (["send", "r", "x", "--ref", "k"], "--ref needs --uid or --token"),
        (["tail", "r", "--since", "3"], "no position such as 1795450013874:17"),
        (["topics", "--kafka", "localhost:1"], "check --kafka"),
        (["send", "r"], " send: Missing argument 'TEXT'; see `"),
        (["tail", "r", "-n", "x"], " tail: Invalid value for '-n': 'x' is not a valid integer"),
        (["tali"], ": No such command 'tali'; see `"),
        (["--wrong"], ": No such option '--wrong'"),
        (["up", "--comets", "0"], " up: Invalid value for '--comets': 0 is not in the range"),
        (["chat"], "needs a terminal: `chatroom tail` and `chatroom send` work without"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(arguments: list[str], said: str) -> None:
    """In one line that says what to do."""
    argv = [sys.executable, "-m", "chatroom", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert said in line


def test_a_missing_textual_is_told_with_the_command_that_installs_it() -> None:
    """The image of the services goes without."""
    hidden = "import importlib.util as u, sys; u.find_spec = lambda name: None; sys.argv[0] = 'chatroom'; "
    argv = [sys.executable, "-c", f"{hidden}from chatroom.cli import main; main(['chat'], prog_name='chatroom')"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    fix = r"install it with `\S+ -m pip install 'chatroom-suite\[terminal\]'`"
    assert re.fullmatch(rf"chatroom chat: needs the package textual: {fix}\n", done.stderr)


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
