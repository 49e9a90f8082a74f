"""The page's files are all there, each as what it is, and name nothing that is not."""

import posixpath
import re
from importlib import resources
from pathlib import Path

from comet import page

WEB = Path(str(resources.files("comet"))) / "web"


def test_every_file_is_there_as_what_it_is() -> None:
    """In sub-folders, too; the npm package's own files are not for browsers."""
    served = page.load(["room_001"])
    files = {f"/{one.relative_to(WEB).as_posix()}": one for one in WEB.rglob("*") if one.is_file()}
    kept_back = {"/package.json", "/README.md"}
    assert served.keys() == files.keys() - kept_back | {"/"}
    assert served["/"] == served["/index.html"]
    for path, file in files.items():
        if path not in kept_back:
            assert (served[path].body, served[path].content_type) == (file.read_bytes(), page.TYPES[file.suffix])


def test_each_import_and_each_link_leads_to_a_file() -> None:
    """A name that is not served would show only as a page that does not start."""
    served = page.load(["room_001"])
    named = [
        posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        for path, asset in served.items()
        for name in re.findall(r'(?:from |href=|src=)"(\.[^"]+)"', asset.body.decode())
    ]
    assert len(named) > 10
    assert [one for one in named if one not in served] == []


def test_the_page_is_told_the_default_rooms() -> None:
    """As text, whatever they are called."""
    served = page.load(["lobby", 'a"b<c'])
    assert b'<meta name="default-rooms" content="lobby,a&quot;b&lt;c">' in served["/"].body
    assert served["/"] == served["/index.html"]
    assert served["/"].headers["ETag"] != page.load([])["/"].headers["ETag"]
