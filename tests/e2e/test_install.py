"""What is published installs and runs: from the sources' archive to a wheel, into an empty environment, and up.

Nothing is downloaded: the environment finds the packages that ChatRoom needs where the tests have them.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from websockets.sync.client import connect

from comet.page import TYPES
from tests.conftest import StackMaker

ROOT = Path(__file__).parents[2]
WEB = ROOT / "comet" / "web"
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
    tree = directory / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for package in {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    run([sys.executable, "-c", BUILD, directory], tree)
    [archive] = directory.glob("*.tar.gz")
    run(
        [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", directory, archive], directory
    )
    [wheel] = directory.glob("*.whl")
    return wheel


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
    files = [one for one in WEB.rglob("*") if one.suffix in TYPES]
    assert len(files) > len(TYPES)
    for file in files:
        url = f"{stack.http_url()}/{file.relative_to(WEB)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own http URL
            assert answer.read() == file.read_bytes(), url
    with urllib.request.urlopen(f"{stack.logic_url}/openapi.json", timeout=10) as answer:  # noqa: S310 - likewise
        assert json.load(answer)["info"]["version"] == version
    assert stack.stop() == 0
