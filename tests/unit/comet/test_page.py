"""The page's files are all there, each as what it is, and name nothing that is not."""

import posixpath
import re
from importlib import resources
from pathlib import Path

from comet import page

WEB = Path(str(resources.files("comet"))) / "web"
CLIENT = WEB.parents[1] / "clients" / "javascript"


def test_every_file_is_served_with_its_content_and_type() -> None:
    """The page's own files, in sub-folders too. Of the JavaScript client the modules only, and not its types."""
    served = page.load(["room_001"])
    files = {f"/{one.relative_to(WEB).as_posix()}": one for one in WEB.rglob("*") if one.is_file()}
    files |= {f"/client/{one.name}": one for one in (CLIENT / "client").iterdir()}
    files["/client.js"] = CLIENT / "index.js"
    assert served.keys() == files.keys() | {"/"}
    assert served["/"] == served["/index.html"]
    for path, file in files.items():
        assert (served[path].body, served[path].content_type) == (file.read_bytes(), page.TYPES[file.suffix])


def test_the_page_and_the_npm_package_share_one_source() -> None:
    """No copy that could differ: links lead from the page's folder to the package."""
    assert (WEB / "client.js").resolve() == CLIENT / "index.js"
    assert (WEB / "client").resolve() == CLIENT / "client"


def test_each_import_and_each_link_leads_to_a_file() -> None:
    """A name that is not served would show only as a page that does not start."""
    served = page.load(["room_001"])
    texts = {path: re.sub(r"/\*.*?\*/", "", asset.body.decode(), flags=re.DOTALL) for path, asset in served.items()}
    named = [
        posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        for path, text in texts.items()
        for name in re.findall(r'(?:from |href=|src=)"(\.[^"]+)"', text)
    ]
    assert len(named) > 10
    assert [one for one in named if one not in served] == []


def test_the_page_is_told_the_default_rooms() -> None:
    """As text, whatever they are called."""
    served = page.load(["lobby", 'a"b<c'])
    assert b'<meta name="default-rooms" content="lobby,a&quot;b&lt;c">' in served["/"].body
    assert served["/"] == served["/index.html"]
    assert served["/"].headers["ETag"] != page.load([])["/"].headers["ETag"]


def test_the_page_is_told_whether_guests_may_come() -> None:
    """Without guests it does not ask for a name."""
    assert b'<meta name="guests" content="yes">' in page.load([])["/"].body
    assert b'<meta name="guests" content="no">' in page.load([], guests=False)["/"].body
