"""The options of the commands: where their values may stand."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatroom.commands import options
from chatroom.up import folder
from common.sources import QUOTED


@click.command()
@options.redis
@options.kafka
@options.token
def echo(redis: str, kafka: str, token: str | None) -> None:  # noqa: ARG001 - click gives every option
    """Show what was asked for."""
    click.echo(f"{redis} {token}")


def ask(*argv: str, environ: dict[str, str] | None = None) -> str:
    """Return what the command shows."""
    return CliRunner().invoke(echo, argv, env=environ).output.strip()


def test_a_secret_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have it only there. A flag goes before it, without white space around it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "redis").write_text("redis://file:1/0\n")
    (tmp_path / "token").write_text("of.a.file\n")
    files = {"CHAT_REDIS_URL_FILE": "redis", "CHATROOM_TOKEN_FILE": "token"}
    monkeypatch.setattr(folder, "told", lambda _server: None)
    for name, value in files.items():
        monkeypatch.setenv(name, value)
    assert ask() == "redis://file:1/0 of.a.file"
    assert ask("--redis", "redis://flag:1/0", "--token", " of.a.flag ") == "redis://flag:1/0 of.a.flag"
    (tmp_path / "token").unlink()
    assert "CHATROOM_TOKEN_FILE: can't read the file token: No such file" in ask()


def test_a_variable_has_no_white_space_around_it() -> None:
    """The last newline of a file is no part of a token."""
    environ = {"CHAT_REDIS_URL": " redis://env:1/0\n", "CHATROOM_TOKEN": "of.the.env\n"}
    assert ask(environ=environ) == "redis://env:1/0 of.the.env"


@pytest.mark.parametrize("name", ["CHAT_REDIS_URL", "CHATROOM_TOKEN"])
def test_a_secret_that_is_given_twice_is_a_fault(tmp_path: Path, name: str) -> None:
    """As it is for the services: nobody could tell which one holds."""
    (tmp_path / "file").write_text("hush")
    answer = ask(environ={name: "hush", f"{name}_FILE": str(tmp_path / "file")})
    assert f"bad setting {name}_FILE: {name} is set, too: remove one of them" in answer
    assert "hush" not in answer


@pytest.mark.parametrize("name", ["CHAT_REDIS_URL", "CHATROOM_TOKEN", "CHAT_KAFKA_BROKERS"])
def test_a_quoted_variable_is_a_fault(name: str) -> None:
    """As it is for the services."""
    answer = ask(environ={name: '"hush"'})
    assert f"bad setting {name}: {QUOTED}" in answer
    assert "hush" not in answer


def test_a_quoted_flag_is_a_fault() -> None:
    """The error names the flag."""
    assert f"bad setting --token: {QUOTED}" in ask("--token", "'hush'")


@pytest.mark.parametrize("value", ["me:hush@h:1", "h:1,hush@h:1"])
def test_brokers_with_a_password_are_a_fault(value: str) -> None:
    """Kafka's own errors would show it."""
    for answer in (ask("--kafka", value), ask(environ={"CHAT_KAFKA_BROKERS": value})):
        assert "each broker must be host:port" in answer
        assert "hush" not in answer


def test_an_empty_secrets_file_is_no_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Redis must not take its place."""
    (tmp_path / "redis").write_text("\n")
    monkeypatch.setattr(folder, "told", lambda _server: "redis://other:1/0")
    assert ask(environ={"CHAT_REDIS_URL_FILE": str(tmp_path / "redis")}) == "None"


def test_without_any_the_usual_redis_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody has a token."""
    monkeypatch.setattr(folder, "told", lambda _server: None)
    assert ask() == "redis://localhost:6379/0 None"
