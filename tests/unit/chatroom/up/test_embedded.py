"""Which programs are embedded, and how they are started."""

import importlib.util
from pathlib import Path

import pytest

from chatroom.up import embedded
from common.errors import StartupError


def program(folder: Path, name: str, says: str) -> Path:
    """Make a program that tells its version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_comes_before_a_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis or Valkey, from 6.2 on."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    valkey = program(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=0:0 malloc=libc bits=64")
    program(tmp_path, "redis-server", "Redis server v=5.0.7 sha=0:0 malloc=libc bits=64")
    assert embedded.redis_program() == valkey
    redis = program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=0:0 malloc=libc bits=64")
    assert embedded.redis_program() == redis


def test_without_any_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install one, or name a running one."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(StartupError, match="--redis URL"):
        embedded.redis_program()
    with pytest.raises(StartupError, match="--kafka HOST:PORT"):
        embedded.kafka_program()


def test_a_lost_x_bit_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installer may have dropped it."""
    (tmp_path / "bin").mkdir()
    lost = tmp_path / "bin" / "tansu"
    lost.write_text("#!/bin/sh\n")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    assert embedded.kafka_program() == lost
    assert lost.stat().st_mode & 0o111
