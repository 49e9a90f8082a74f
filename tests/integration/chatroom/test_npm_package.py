"""The JavaScript client as an npm package."""

import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.conformance.subjects import NODE

ROOT = Path(__file__).parents[3]
WEB = ROOT / "comet" / "web"
CODE = 'import * as all from "chatroom-suite-client"; console.log(Object.keys(all).join())'


def test_npm_packs_all_that_the_client_needs_and_nothing_else(tmp_path: Path) -> None:
    """What `npm pack` makes of comet/web is imported by its name."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the JavaScript client is packed with npm; install Node (Debian: apt-get install npm)")
    environ = os.environ | {"npm_config_cache": str(tmp_path / "cache"), "npm_config_update_notifier": "false"}
    argv = [npm, "pack", "--offline", "--pack-destination", str(tmp_path), str(WEB)]
    subprocess.run(argv, env=environ, check=True, capture_output=True, timeout=60)
    [packed] = tmp_path.glob("*.tgz")
    package = tmp_path / "node_modules" / "chatroom-suite-client"
    package.parent.mkdir()
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "package").rename(package)
    held = {str(one.relative_to(package)) for one in package.rglob("*") if one.is_file()}
    own = {str(one.relative_to(WEB)) for one in (WEB / "client").iterdir()}
    assert held == own | {"client.js", "package.json", "README.md"}
    (tmp_path / "main.mjs").write_text(CODE)
    said = subprocess.run([NODE, tmp_path / "main.mjs"], check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == "ChatClient,ChatError,Disconnected\n"


def test_the_npm_package_has_the_projects_version() -> None:
    """It goes out with the server that it was tested with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert json.loads((WEB / "package.json").read_text())["version"] == project["version"]
