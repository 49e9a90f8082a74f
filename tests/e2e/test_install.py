"""What is published installs and runs: from the sources' archive to a wheel, into an empty environment, and up.

Nothing is downloaded: the environment finds the packages that ChatRoom needs where the tests have them.
"""

import json
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

from websockets.sync.client import connect

from comet import page
from tests.conftest import StackMaker
from tests.support import build_context

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(argv: Sequence[str | Path], cwd: Path) -> str:
    """Run a command and return what it prints. Raises AssertionError with all of it."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(directory: Path) -> Path:
    """Make the sources' archive, and of it alone the wheel; building leaves nothing in the tree."""
    run([sys.executable, "-c", BUILD, directory], build_context.copy(directory / "tree"))
    [archive] = directory.glob("*.tar.gz")
    return build_wheel(archive, directory)


def build_wheel(source: Path, directory: Path) -> Path:
    """Make the wheel of an archive or a tree."""
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", directory)
    run([*PIP, "wheel", *options, source], directory)
    [wheel] = directory.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Return a wheel's files by name, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def install(wheel: Path, environment: Path) -> Path:
    """Install into a new environment that has nothing of ours but the wheel; return where its programs are."""
    run([sys.executable, "-m", "venv", "--without-pip", environment], wheel.parent)
    programs = environment / "bin"
    run([*PIP, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel], wheel.parent)
    [packages] = environment.glob("lib/*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_of_the_sources_archive_runs_from_an_empty_directory(make_stack: StackMaker, tmp_path: Path) -> None:
    """One message over `chatroom up`, all of the page, the API's document; the version is pyproject's everywhere."""
    programs, empty = install(build(tmp_path), tmp_path / "environment"), tmp_path / "empty"
    empty.mkdir()
    version = PROJECT["project"]["version"]
    assert run([programs / "chatroom", "--version"], empty) == f"chatroom, version {version}\n"
    for package in PROJECT["tool"]["setuptools"]["packages"]:
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
    held = contents(build(tmp_path))
    assert held == contents(build_wheel(build_context.copy(image / "tree"), image))
    sources = {f"comet/web/client/{one.name}": one for one in (CLIENT / "client").iterdir()}
    sources["comet/web/client.js"] = CLIENT / "index.js"
    of_client = {name: body for name, body in held.items() if name.startswith(("comet/web/client", "clients/"))}
    assert of_client == {name: source.read_bytes() for name, source in sources.items()}
