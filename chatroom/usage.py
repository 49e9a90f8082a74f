"""How a mistake in a command's words is told: in one line that says where help is, as every other mistake is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from common.characters import escaped


class _Misused(click.ClickException):
    """A click.UsageError as one line; click itself takes three."""

    exit_code = click.UsageError.exit_code

    def __init__(self, error: click.UsageError) -> None:
        super().__init__(" ".join(error.format_message().split()))
        context = error.ctx or click.get_current_context()
        self._path = context.command_path

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it on standard error."""
        message = escaped(self.message.rstrip("."))
        click.echo(f"{self._path}: {message}; see `{self._path} --help`", file, err=file is None)


class Group(click.Group):
    """Commands whose misuse is one line."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - as click has it
    ) -> click.Context:
        """Read the words before the sub-command's."""
        with _in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Read the sub-command's words, and run it."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # it asks for help, which is more than a line
    except click.UsageError as e:
        raise _Misused(e) from None
