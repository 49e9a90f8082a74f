"""The folder of `--data`: one stack's alone, tried before anything relies on it."""

import errno
import os
from pathlib import Path

import pytest

from chatroom.up import folder
from common.errors import StartupError


def test_it_is_made_and_held_by_one_at_a_time(tmp_path: Path) -> None:
    """The second is told who holds it; when the first is gone it works."""
    place = tmp_path / "deep" / "chatroom"
    with folder.taken(place):
        with pytest.raises(StartupError, match=rf"is used by another chatroom up \(pid {os.getpid()}\).*--data"):
            folder.taken(place).__enter__()
        assert not (place / "trial").exists()
    with folder.taken(place):
        pass


def test_a_full_disk_is_said_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Redis finds out in its own words; the trial leaves nothing behind."""

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StartupError, match=r"no space left on the disk of .*: free some, or choose another folder"):
        folder.taken(tmp_path).__enter__()
    assert not (tmp_path / "trial").exists()


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    """One line, with the option to change."""
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"can't write in .*file/below \(Not a directory\): .*--data"):
        folder.taken(tmp_path / "file" / "below").__enter__()


def test_whoever_inherits_the_lock_holds_it_too(tmp_path: Path) -> None:
    """So the folder stays taken until the guard of a killed stack is gone."""
    with folder.taken(tmp_path) as fd:
        inherited = os.dup(fd)
    with pytest.raises(StartupError, match="is used by another"):
        folder.taken(tmp_path).__enter__()
    os.close(inherited)
    with folder.taken(tmp_path):
        pass


def test_who_looks_from_beside_is_told_where_the_servers_are(tmp_path: Path) -> None:
    """While a stack holds the folder; what a killed one left behind is no answer, and nor is a folder of nobody's."""
    assert folder.told("redis", tmp_path / "none") is None
    (tmp_path / "servers.json").write_text('{"redis": "left behind"}')
    with folder.taken(tmp_path):
        assert folder.told("redis", tmp_path) is None  # not up yet
        folder.tell(tmp_path, redis="redis://127.0.0.1:1234/0", kafka="127.0.0.1:5678")
        assert folder.told("redis", tmp_path) == "redis://127.0.0.1:1234/0"
        assert folder.told("kafka", tmp_path) == "127.0.0.1:5678"
        assert (tmp_path / "servers.json").stat().st_mode & 0o077 == 0
    assert folder.told("redis", tmp_path) is None
    assert not (tmp_path / "servers.json").exists()
