"""Why a program ended, in words: its own last line if it left one, else its exit code or signal."""

import signal
from collections import deque
from dataclasses import dataclass, field

_KEPT = 20
# Not a program's own words on why it ended.
_CHATTER = ("note: run with `RUST_BACKTRACE",)
# A cause that stands above what follows from it.
_CAUSES = ("No space left on device",)


def _few() -> deque[str]:
    return deque(maxlen=_KEPT)  # the oldest go


@dataclass(slots=True)
class LastWords:
    """The last lines of a program."""

    errors: deque[str] = field(default_factory=_few)  # standard error
    lines: deque[str] = field(default_factory=_few)  # standard output

    def why(self, code: int) -> str:
        """Return its last line on standard error, else on standard output, else how it ended."""
        spoken = [*reversed(self.errors), *reversed(self.lines)]
        telling = [line for line in spoken if line.strip() and not line.startswith(_CHATTER)]
        causes = [line for line in telling if any(cause in line for cause in _CAUSES)]
        return next((line.strip() for line in [*causes, *telling]), how_it_ended(code))

    def speak_of(self, words: str) -> bool:
        """Whether the words stand there, in any case."""
        return any(words.lower() in line.lower() for line in [*self.errors, *self.lines])


def how_it_ended(code: int) -> str:
    """Say an exit code in words, as subprocess gives it: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
