"""`chatroom up`: the whole stack on one machine, from the first check to the last process's end.

Promises: everything that can be checked is checked before anything starts; whatever ends it, nothing that it started is
left behind; a fault is one line with what to change. Neighbours: `stack.py` brings up, `supervisor.py` keeps up.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from functools import partial

from chatroom.config import Options, wants_colour
from chatroom.up import embedded, folder, plan, prometheus
from chatroom.up.guard import Guard
from chatroom.up.output import UP, Console
from chatroom.up.ports import Claims
from chatroom.up.stack import Stack
from chatroom.up.supervisor import Supervisor
from common.errors import StartupError
from common.lifecycle import leaves

KILLED = 128 + signal.SIGINT


class Stopped(Exception):
    """Somebody asked us to stop."""


class Wish:
    """The wish to stop, from a signal or a gone terminal; said twice, everything is killed at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self._why = ""
        self.guard: Guard | None = None

    def ask(self, why: str) -> None:
        """Ask to stop."""
        if not self._event.is_set():
            self._why = why
            self._event.set()

    def ask_from_thread(self, why: str) -> None:
        """Ask to stop, from another thread."""
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self.ask, why)

    def on_signal(self, signum: signal.Signals) -> None:
        """Ask to stop; the second time, end everything at once."""
        if self._event.is_set():
            if self.guard is not None:
                with contextlib.suppress(RuntimeError, ProcessLookupError):  # it may be gone already
                    self.guard.kill_all()
            os._exit(KILLED)
        self.ask(signum.name)

    async def come_true(self) -> None:
        """Wait for it, then raise Stopped with the reason."""
        await self._event.wait()
        raise Stopped(self._why)


def run(options: Options) -> int:
    """Run the stack until it is stopped; return the exit code. A fault is told on standard error."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would report what we report ourselves
    code = 0
    try:
        asyncio.run(_run(options))
    except* Stopped:
        pass
    except* StartupError as group:
        for fault in leaves(group):
            sys.stderr.write("".join(f"chatroom up: {line}\n" for line in str(fault).splitlines()))
            code = max(code, fault.exit_code)
    return code


async def _run(options: Options) -> None:
    wish = Wish(asyncio.get_running_loop())
    _listen_for_signals(wish)
    gone = partial(wish.ask_from_thread, "nobody reads the output")
    with contextlib.closing(Console(sys.stdout.fileno(), colour=wants_colour(), on_gone=gone)) as console:
        console.open()
        services = await _ask_services(options, wish)
        plan.check_ports(services)
        console.expect(
            [*(service.name for service in services), "kafka", "redis", *(["prometheus"] if options.prometheus else [])]
        )
        await _hold(plan.plan(options, services), console, wish)


def _listen_for_signals(wish: Wish) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum is not signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(signum, wish.on_signal, signum)


async def _ask_services(options: Options, wish: Wish) -> list[plan.Service]:
    with Guard() as guard:
        wish.guard = guard
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(wish.come_true())
            services = await plan.ask_services(options, guard.group)
            waiting.cancel()
    return services


async def _hold(chosen: plan.Plan, console: Console, wish: Wish) -> None:
    """Hold what the stack needs (the folder, the guard, ports) while it runs."""
    _check_programs(chosen)
    taken = [service.port(name) for service in chosen.services for name in service.ports]
    with contextlib.ExitStack() as held:
        lock = [held.enter_context(folder.taken(chosen.options.directory))] if chosen.keeps_files else []
        wish.guard = held.enter_context(Guard(lock))
        claims = held.enter_context(Claims(taken))
        async with asyncio.TaskGroup() as tasks:
            supervisor = Supervisor(wish.guard, console, tasks)
            try:
                await _serve(Stack(chosen, claims, supervisor, console), supervisor, wish)
            except* Stopped as group:
                console.line(UP, f"{group.exceptions[0]}: stopping everything")
            finally:
                await supervisor.stop()


def _check_programs(chosen: plan.Plan) -> None:
    """Raise StartupError if a server to start is missing."""
    if chosen.own_redis:
        embedded.redis_program()
    if chosen.own_kafka:
        embedded.kafka_program()
    if chosen.options.prometheus:
        prometheus.program()


async def _serve(stack: Stack, supervisor: Supervisor, wish: Wish) -> None:
    """Bring up, then stay. Raises Stopped when somebody asks to stop, StartupError when it can't be kept up."""
    async with asyncio.TaskGroup() as tasks:
        for work in (stack.bring_up(), supervisor.given_up(), wish.come_true()):
            tasks.create_task(work)
