"""All children of `chatroom up`: started as asked for, stopped stage by stage.

It gives up when one of them can't be kept alive.
Why our own and none of the well-kept ones: docs/adr/0004-own-supervisor.md.
"""

import asyncio
import itertools

from chatroom.up.child import Child, ChildContext, Spec
from chatroom.up.guard import Guard
from chatroom.up.output import Console
from common.errors import StartupError

_WATCH_EVERY_S = 1.0


class Supervisor:
    """Owns the children's tasks, within the TaskGroup it is given. Await `given_up()` beside whatever else is done."""

    def __init__(self, guard: Guard, console: Console, tasks: asyncio.TaskGroup) -> None:
        self._guard = guard
        self._tasks = tasks
        self._children: list[Child] = []
        self._reason: StartupError | None = None
        self._over = asyncio.Event()
        self._shared = ChildContext(guard.group, console, self._give_up)

    def start(self, spec: Spec) -> Child:
        """Start a program and keep it running."""
        child = Child(spec, self._shared)
        self._children.append(child)
        self._tasks.create_task(child.run(), name=spec.name)
        return child

    async def forget(self, child: Child) -> None:
        """Stop a child that another one takes the place of."""
        await child.stop()
        self._children.remove(child)

    async def given_up(self) -> None:
        """Wait until something can't be kept alive, then raise the StartupError that says what and why."""
        while not self._over.is_set():
            try:
                async with asyncio.timeout(_WATCH_EVERY_S):
                    await self._over.wait()
            except TimeoutError:
                if not self._guard.alive:
                    self._give_up(StartupError("the guard process of chatroom up was killed: stopping everything"))
        if self._reason is not None:
            raise self._reason

    async def stop(self) -> None:
        """Stop stage after stage, the programs of a stage together. Idempotent."""
        by_stage = sorted(self._children, key=lambda child: child.spec.stage)
        for _, children in itertools.groupby(by_stage, key=lambda child: child.spec.stage):
            async with asyncio.TaskGroup() as tasks:
                for child in children:
                    tasks.create_task(child.stop())

    def _give_up(self, reason: StartupError) -> None:
        """Keep the first reason: what follows from it says less."""
        if self._reason is None:
            self._reason = reason
            self._over.set()
