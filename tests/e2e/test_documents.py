"""README.md and docs/quick-start.md are true: each command in them is run, and prints what they show.

Those of which something is shown, or that are quick, run here, in the documents' order, against one stack. The rest
stands in a table, each with where it is run. A command that is in neither fails the tests.
"""

import json
import os
import re
import shlex
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from websockets.sync.client import connect

from chatroom.up.guard import Guard
from testbed.chatroom_up import ChatroomUp
from tests.support import loops
from tests.support.documented import ROOT, Shown, example, other_commands, shown
from tests.support.shell import Shell, normal

DOCUMENTS: Final = ("README.md", "docs/quick-start.md")
SETTLE_S: Final = 30.0  # at most, until what was sent is forwarded, pushed, committed and logged
LOOK_S: Final = 0.2

# These are asked again until they say what is shown: what they tell of follows in its own time.
LOOKS: Final = ("curl -s localhost:9091/metrics", "chatroom status", "chatroom topics")
PROGRAMS: Final = ".venv/bin/"  # which the documents name or leave out, as their readers do


class Elsewhere(NamedTuple):
    """Where a command is run instead: a file and the words in it that do so; for make also what it runs."""

    file: str
    words: str
    made: str = ""


UP: Final = Elsewhere(
    "tests/e2e/test_documents.py", '["--config", "deploy/conf.conf"]', "chatroom up --config deploy/conf.conf"
)
COMPOSE: Final = Elsewhere("tests/e2e/test_compose.py", "with compose.composed(program) as stack")
CHAT: Final = Elsewhere("tests/integration/chatroom/test_chat.py", "test_two_chat_while_the_server_is_restarted")
BENCH: Final = "tests/integration/bench/test_comet_benchmarks.py"

ELSEWHERE: Final = {
    "make up": UP,
    "make up | tee chatroom.log": UP,
    'make up ARGS="--comets 2 --redis redis://localhost:6379/0 --kafka localhost:9092"': Elsewhere(
        "tests/e2e/test_flow.py",
        "make_stack(comets=2",
        "chatroom up --config deploy/conf.conf --comets 2 --redis redis://localhost:6379/0 --kafka localhost:9092",
    ),
    "make test": Elsewhere(".ci/run", "part test\n", "python -m tests.support.suite test -n auto"),
    'make chaos ARGS="--short --out .cache/chaos"': Elsewhere(
        ".ci/run", 'part chaos "--short', "python -m tests.chaos run --short --out .cache/chaos"
    ),
    "make chaos-mutants": Elsewhere(
        "tests/unit/chaos/test_mutants.py", "mutants.MUTANTS", "python -m tests.chaos mutants"
    ),
    "make bench": Elsewhere(BENCH, "def test_fanout", "python -m bench all"),
    'make bench ARGS="--quick --out .cache/bench"': Elsewhere(
        BENCH, "def test_fanout", "python -m bench all --quick --out .cache/bench"
    ),
    "docker compose": COMPOSE,
    "docker compose up": COMPOSE,
    "docker compose exec kafka /opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server kafka:19092 "
    "--topic my-topic": Elsewhere(
        "tests/e2e/test_compose.py",
        "/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server kafka:19092 --topic my-topic",
    ),
    ".venv/bin/chatroom chat": CHAT,
    ".venv/bin/chatroom chat room_001 lobby --name Alice": CHAT,
    ".venv/bin/python -m pytest tests/browser --screenshots docs/screenshots": Elsewhere(
        "tests/browser/test_page.py", "test_axe_finds_nothing_serious"
    ),
    "pip install websockets": Elsewhere("pyproject.toml", '"websockets>='),
}
RUN_HERE: Final = ("python -m comet --help", "chatroom up --help")


@pytest.fixture(scope="module")
def stack(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatroomUp]:
    """A stack with nothing in it yet, as `make up` starts it on a terminal; somebody has the page open already."""
    directory = tmp_path_factory.mktemp("stack") / "chatroom"
    options = ["--config", "deploy/conf.conf"]
    with ChatroomUp(guard, directory, options=options, environ={"CHAT_LOG_FORMAT": "pretty"}, cwd=ROOT) as it:
        with connect(it.ws_url()):
            online = f"{it.logic_url}/logic/rooms/room_001/online"
            loops.wait_until(lambda: get(online)["onlineCount"] == 1, SETTLE_S, f"1 at {online}")
            yield it


def get(url: str) -> dict[str, Any]:
    """Return the JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own http URL
        found: dict[str, Any] = json.load(answer)
        return found


def test_what_is_shown_is_what_comes(guard: Guard, stack: ChatroomUp, tmp_path: Path) -> None:
    """Each command prints its sample, but for what differs from run to run; the logs hold the lines that are shown."""
    shell = Shell(guard, stack, tmp_path)
    for document in DOCUMENTS:
        for one in shown(document):
            if not one.text:
                check_log(stack, one)
            elif one.text not in ELSEWHERE:
                check(shell, one)
    for command in RUN_HERE:
        assert "example" in "\n".join(shell.run(command)).lower()
    client = f"python -c {shlex.quote(example('../README.md', 'python', 'localhost:8082'))}"
    assert any('"content":"Hello from Python"' in line for line in shell.follow(client, 3))


def check(shell: Shell, one: Shown) -> None:
    """Run a command; it succeeds and prints what is shown, at once or, where it only looks, in the end."""
    looks = one.text.removeprefix(PROGRAMS).startswith(LOOKS)
    deadline = time.monotonic() + (SETTLE_S if looks else 0.0)
    expected = sorted(map(normal, one.lines))  # an ack and one's own message come in either order
    while (came := sorted(map(normal, shell.show(one)))) != expected and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    assert came == expected or not one.lines, one.where


def check_log(stack: ChatroomUp, one: Shown) -> None:
    """The stack has logged each line that is shown; `...` stands for anything."""
    patterns = {re.escape(normal(line)).replace(r"\.\.\.", ".*") for line in one.lines}

    def missing() -> set[str]:
        logged = "\n".join(map(normal, stack.lines))
        return {pattern for pattern in patterns if not re.search(f"^{pattern}$", logged, re.MULTILINE)}

    loops.wait_until(lambda: not missing(), SETTLE_S, lambda: f"{one.where}: {missing()}")


def test_each_command_is_run() -> None:
    """Here or elsewhere; the table has none that is in no document, and what it names is there."""
    seen = {one.text for document in DOCUMENTS for one in shown(document)}
    given = {command for document in DOCUMENTS for command in other_commands(document)}
    assert given - seen - {*ELSEWHERE, *RUN_HERE} == set()
    assert {*ELSEWHERE, *RUN_HERE} - given - seen == set()
    assert [row for row in ELSEWHERE.values() if row.words not in (ROOT / row.file).read_text()] == []


@pytest.mark.parametrize("command", [command for command, row in ELSEWHERE.items() if row.made])
def test_make_runs_what_the_table_says(command: str) -> None:
    """So that what is tested under another name is what a reader gets."""
    program = ["make", "--dry-run", *shlex.split(command.partition(" |")[0])[1:]]
    given = ("MAKE", "ARGS", "PYTEST_ARGS")  # by the `make test` that runs us
    ours = {name: value for name, value in os.environ.items() if not name.startswith(given)}
    done = subprocess.run(program, cwd=ROOT, env=ours, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1].rstrip() == f".venv/bin/{ELSEWHERE[command].made}"
