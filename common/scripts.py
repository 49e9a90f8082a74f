"""The Lua scripts that deal with a room's log, as Redis is given them. Pure, but for reading the files beside this one.

Neighbours: common/append_script.py asks for append.lua, common/store.py for read.lua.
"""

from importlib import resources


def room_script(name: str) -> str:
    """Return a script's text, with the epochs' part that it needs in front."""
    folder = resources.files("common")
    return folder.joinpath("epoch.lua").read_text() + folder.joinpath(name).read_text()
