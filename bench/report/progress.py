"""Progress of a run: one line for each step, with the time since the beginning."""

import time

import click


class Progress:
    """Says what goes on; on stderr, so that stdout is the results'."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line such as `  1:05  fan-out 1,000 x 16: Comet, 2 of 3`."""
        elapsed = int(time.monotonic() - self._began)
        click.echo(f"{elapsed // 60:3d}:{elapsed % 60:02d}  {text}", err=True)
