"""What is published installs and runs: from the sources' archive to a wheel, into an empty environment, and up.

Nothing is downloaded. The server's environment finds the packages that ChatRoom needs where the tests have them. The
client's environment gets its only dependency as a wheel, packed again from the tests' installation.
"""

import asyncio
import importlib.metadata
import json
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from chatroom.up.guard import Guard
from chatroom_client import ChatClient, Message, Presence
from comet import page
from testbed.service import CometProgram
from tests.conftest import StackMaker
from tests.support import build_context
from tests.support.documented import example

ROOT = Path(__file__).parents[2]
PYTHON_CLIENT = ROOT / "clients" / "python"
JAVASCRIPT_CLIENT = ROOT / "clients" / "javascript"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
FIND = "import sys; from importlib.util import find_spec; print([one for one in sys.argv[1:] if find_spec(one)])"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
TIMEOUT_S = 40.0


def project(folder: Path) -> dict[str, Any]:
    """Return a project's pyproject.toml."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def run(argv: Sequence[str | Path], cwd: Path) -> str:
    """Run a command and return what it prints. Raises AssertionError with all of it."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, directory: Path) -> Path:
    """Make a project's source archive, and from it alone the wheel. Building leaves nothing in the tree."""
    name = distribution(folder)
    tree = build_context.copy(directory / f"{name}-tree") / folder.relative_to(ROOT)
    run([sys.executable, "-c", BUILD, directory], tree)
    [archive] = directory.glob(f"{name}-*.tar.gz")
    return build_wheel(name, archive, directory)


def distribution(folder: Path) -> str:
    """Return the name that a project's archives begin with."""
    return str(project(folder)["project"]["name"]).replace("-", "_")


def build_wheel(name: str, source: Path, directory: Path) -> Path:
    """Make the wheel of an archive or a tree."""
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", directory)
    run([*PIP, "wheel", *options, source], directory)
    [wheel] = directory.glob(f"{name}-*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Return a wheel's files by name, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def pack(package: str, directory: Path) -> None:
    """Make a wheel of a package that the tests have installed."""
    installed = importlib.metadata.distribution(package)
    [tag, *_] = [line for line in (installed.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    with zipfile.ZipFile(directory / f"{package}-{installed.version}-{tag[5:]}.whl", "w") as wheel:
        for file in installed.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":  # programs and compiled files are made by installing
                wheel.write(file.locate(), file)


def environment(directory: Path) -> Path:
    """Make an environment that has no package; return where its programs are."""
    run([sys.executable, "-m", "venv", "--without-pip", directory], directory.parent)
    return directory / "bin"


def install(programs: Path, wheels: Path, *what: str) -> None:
    """Install into an environment from a folder of wheels."""
    run([*PIP, "--python", programs / "python", "install", "--no-index", "--find-links", wheels, *what], wheels)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_the_clients_wheel_is_small_and_runs_the_bot_of_its_readme(
    guard: Guard, redis_url: str, tmp_path: Path, empty: Path
) -> None:
    """Two packages and nothing of the server's; the bot has ten lines and answers through a real Comet."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    build(PYTHON_CLIENT, wheels)
    pack("websockets", wheels)
    programs = environment(tmp_path / "environment")
    install(programs, wheels, "chatroom-client")
    listed = json.loads(run([*PIP, "--python", programs / "python", "list", "--format", "json"], empty))
    assert {one["name"] for one in listed} == {"chatroom-client", "websockets"}
    absent = ["chatroom", "comet", "common", "job", "logic", "protos", "orjson"]
    assert run([programs / "python", "-I", "-c", FIND, "chatroom_client", *absent], empty) == "['chatroom_client']\n"
    version = run([programs / "python", "-I", "-c", "import chatroom_client as c; print(c.__version__)"], empty)
    assert version == f"{project(PYTHON_CLIENT)['project']['version']}\n"
    [packages] = programs.parent.glob("lib/*/site-packages")
    assert (packages / "chatroom_client" / "py.typed").exists()
    [license_file] = packages.glob("chatroom_client-*.dist-info/licenses/LICENSE")
    assert license_file.read_bytes() == (ROOT / "LICENSE").read_bytes()

    with CometProgram(guard, tmp_path, redis_url) as comet:
        bot = example("../clients/python/README.md", "python", f"127.0.0.1:{comet.port}")
        assert len([line for line in bot.splitlines() if line]) <= 10
        argv: list[str | Path] = [programs / "python", "-I", "-c", bot]
        with subprocess.Popen(argv, cwd=empty, process_group=guard.group) as running:
            try:
                asyncio.run(answered(comet.url))
            finally:
                running.kill()


async def answered(url: str) -> None:
    """Say something as soon as the bot is in the room, and wait for its answer."""
    async with asyncio.timeout(TIMEOUT_S), ChatClient(url, name="Alice", rooms=["room_001"]) as alice:
        await alice.watch("room_001")
        async for event in alice:
            if isinstance(event, Presence) and "Echo" in {user.username for user in event.users}:
                await alice.send("room_001", "hi")
            elif isinstance(event, Message) and event.content == "Alice said: hi":
                return


def test_the_wheel_of_the_sources_archive_runs_from_an_empty_directory(
    make_stack: StackMaker, tmp_path: Path, empty: Path
) -> None:
    """One message over `chatroom up`, all of the page, the API's document; the version is pyproject's everywhere."""
    build(ROOT, tmp_path)
    build(PYTHON_CLIENT, tmp_path)
    programs = environment(tmp_path / "environment")
    install(programs, tmp_path, "--no-deps", "chatroom-suite", "chatroom-client")
    [packages] = programs.parent.glob("lib/*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    requires = "import importlib.metadata as m; print('\\n'.join(m.requires('chatroom-suite')))"
    assert "chatroom-client" in run([programs / "python", "-c", requires], empty)
    version = project(ROOT)["project"]["version"]
    assert run([programs / "chatroom", "--version"], empty) == f"chatroom, version {version}\n"
    for package in ["chatroom_client", *project(ROOT)["tool"]["setuptools"]["packages"]]:
        where = run([programs / "python", "-c", f"import {package}; print({package}.__file__)"], empty)
        assert where.startswith(str(tmp_path / "environment")), package

    stack = make_stack(program=[str(programs / "chatroom")], cwd=empty)
    with connect(stack.ws_url()) as client:
        client.send(json.dumps({"type": "clientMessages", "payload": {"roomId": "room_001", "content": "hello"}}))
        frames = [json.loads(client.recv(timeout=10))["type"] for _ in range(3)]
    assert sorted(frames) == ["ack", "hello", "serverMessages"]
    for path, asset in page.load(["room_001"]).items():
        with urllib.request.urlopen(stack.http_url() + path, timeout=10) as answer:  # noqa: S310 - our own http URL
            assert answer.read() == asset.body, path
            assert answer.headers["Content-Type"] == asset.content_type, path
    with urllib.request.urlopen(f"{stack.logic_url}/openapi.json", timeout=10) as answer:  # noqa: S310 - likewise
        assert json.load(answer)["info"]["version"] == version
    assert stack.stop() == 0


def test_every_wheel_holds_the_javascript_client_and_only_its_modules(tmp_path: Path) -> None:
    """The archive's wheel and the image's have the same files. The links of the tree have become copies."""
    image = tmp_path / "image"
    image.mkdir()
    held = contents(build(ROOT, tmp_path))
    assert held == contents(build_wheel(distribution(ROOT), build_context.copy(image / "tree"), image))
    sources = {f"comet/web/client/{one.name}": one for one in (JAVASCRIPT_CLIENT / "client").iterdir()}
    sources["comet/web/client.js"] = JAVASCRIPT_CLIENT / "index.js"
    of_client = {name: body for name, body in held.items() if name.startswith(("comet/web/client", "clients/"))}
    assert of_client == {name: source.read_bytes() for name, source in sources.items()}
