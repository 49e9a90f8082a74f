"""The options of the commands: where their values may stand."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatroom.commands import options
from chatroom.up import folder


@click.command()
@options.redis
@options.token
def echo(redis: str, token: str | None) -> None:
    """Show what was asked for."""
    click.echo(f"{redis} {token}")


def ask(*argv: str, environ: dict[str, str] | None = None) -> str:
    """Return what the command shows."""
    return CliRunner().invoke(echo, argv, env=environ).output.strip()


def test_a_secret_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have it only there. A flag and a variable go before it, each without white space around it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "redis").write_text("redis://file:1/0\n")
    (tmp_path / "token").write_text("of.a.file\n")
    files = {"CHAT_REDIS_URL_FILE": "redis", "CHATROOM_TOKEN_FILE": "token"}
    monkeypatch.setattr(folder, "told", lambda _server: None)
    for name, value in files.items():
        monkeypatch.setenv(name, value)
    assert ask() == "redis://file:1/0 of.a.file"
    environ = {"CHAT_REDIS_URL": " redis://env:1/0\n", "CHATROOM_TOKEN": "of.the.env\n"}
    assert ask(environ=environ) == "redis://env:1/0 of.the.env"
    assert ask("--redis", "redis://flag:1/0", "--token", " of.a.flag ") == "redis://flag:1/0 of.a.flag"
    (tmp_path / "token").unlink()
    assert "CHATROOM_TOKEN_FILE: can't read the file token: No such file" in ask()


def test_without_any_the_usual_redis_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody has a token."""
    monkeypatch.setattr(folder, "told", lambda _server: None)
    assert ask() == "redis://localhost:6379/0 None"
