"""The Lua scripts that deal with a room's log, as Redis is given them. Pure, but for reading the files beside this one.

Neighbours: common/append_script.py asks for append.lua, common/store.py for read.lua; common/append_lane.py and
common/outbox.py run a script many times in one pipeline.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from itertools import chain, repeat
from typing import Any


def room_script(name: str) -> str:
    """Return a script's text, with the epochs' part that it needs in front."""
    folder = resources.files("common")
    return folder.joinpath("epoch.lua").read_text() + folder.joinpath(name).read_text()


def calls(script: str, key_count: int, each: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the commands of a pipeline that runs the script once for each tuple of keys and arguments.

    Only the first carries the script's text, so that Redis knows it by its digest for the others, at half the cost.
    """
    heads = chain([("EVAL", script, key_count)], repeat(("EVALSHA", _digest(script), key_count)))
    return [(*head, *one) for head, one in zip(heads, each, strict=False)]


@lru_cache(maxsize=16)
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
