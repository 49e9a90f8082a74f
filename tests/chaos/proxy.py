"""A TCP proxy whose connections can be cut, refused, delayed, and held half-open at any moment.

Every part of the cluster talks to every other through one of its own (cluster.py), so each line can be hurt alone. It
runs in the harness's own loop and costs some 10 us a chunk. A target that is down looks like one that resets.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from testbed.ports import free_port
from tests.chaos.link import Faults, Link

LOOPBACK: Final = "127.0.0.1"
CONNECT_TIMEOUT_S: Final = 5.0


class Proxy:
    """Listens on `port` while inside and connects whoever comes to the target.

    `marks` are what `only` may be told of: a link remembers which of them its client has ever sent.
    """

    def __init__(self, target_port: int, marks: tuple[bytes, ...] = ()) -> None:
        self.target_port = target_port
        self.port = free_port()
        self.accepted = 0
        self._marks = marks
        self._faults = Faults()
        self._links: set[Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many there are at this moment."""
        return len(self._links)

    # -- faults ------------------------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset all connections at both ends now; return how many."""
        hit = [link for link in self._links if link.hit]
        for link in hit:
            link.reset()
        return len(hit)

    def refuse(self, refusing: bool = True) -> None:  # noqa: FBT002 - reads as refuse(False)
        """Reset new connections at once, until told otherwise."""
        self._faults.refusing = refusing

    def delay(self, seconds: float) -> None:
        """Let each chunk wait for so long in either direction, in order; 0 ends it."""
        self._faults.delay_s = seconds
        self._changed()

    def hold(self) -> None:
        """Let nothing pass in either direction and close nothing; new connections are accepted and held."""
        self._faults.holding = True
        self._changed()

    def release(self) -> None:
        """Let pass what was held, and what was closed meanwhile be known."""
        self._faults.holding = False
        self._changed()

    def only(self, mark: bytes | None) -> None:
        """Let faults hit only connections whose client has ever sent the mark, one of `marks`; None: all."""
        if mark is not None and mark not in self._marks:
            raise ValueError(f"the proxy does not look for {mark!r}")
        self._faults.mark = mark
        self._changed()

    def heal(self) -> None:
        """End all faults."""
        self._faults.refusing = self._faults.holding = False
        self._faults.delay_s = 0.0
        self.only(None)

    def _changed(self) -> None:
        for link in list(self._links):
            link.changed()

    # -- its life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._new().client, LOOPBACK, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and cut everything."""
        assert self._server is not None
        self._server.close()
        self.heal()
        for task in self._connecting:
            task.cancel()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await asyncio.sleep(0)  # in the next round of the loop the sockets are closed

    def _new(self) -> Link:
        self.accepted += 1
        link = Link(self._faults, self._marks, self._connect, self._links.discard)
        self._links.add(link)
        return link

    def _connect(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(self._reach(link))
        self._connecting.add(task)  # ours until it is done
        task.add_done_callback(self._connecting.discard)

    async def _reach(self, link: Link) -> None:
        """Connect the link to the target, or cut it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda: link.target, LOOPBACK, self.target_port)
        except OSError:  # TimeoutError is one
            link.reset()
