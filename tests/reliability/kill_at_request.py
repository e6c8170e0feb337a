"""Cutting a run at one of its requests: the sandbox holds the request while the process gets its signal.

Requests are named as in chains.py. `before`: the request arrived and is not served. `after`: it took effect, and its
answer never leaves.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sandbox.gate import action_of
from sandbox.http_fake import FakeServer, Fault, Request
from sandbox.moto_aws import SECRETS_TABLE
from sandbox.warm_parent import Process, WarmProcess
from sandbox.world import Ran, World
from tests.reliability.chains import CALLS, Moment, name_of_update
from tests.running import sound

JIRA = {
    ("GET", "serverInfo"): "ask which Jira it is",
    ("GET", "myself"): "sign in to Jira",
    ("GET", "field"): "ask for Jira's fields",
    ("POST", "issue"): "create the issue",
}

ABOUT_AN_ISSUE = {
    "comment": {"GET": "look for our comment", "POST": "say it in the issue"},
    "transitions": {"GET": "ask how to close it", "POST": "close it"},
}


def name_of(world: World, server: FakeServer, request: Request, before: Sequence[str] = ()) -> str:
    """What a request is for, in words, after those `before` it; fails for one that nobody has thought of."""
    if server is world.slack:
        return "send the message" if request.path.endswith("/chat.postMessage") else "ask whether an owner is there"
    if server is world.jira:
        return _name_of_jiras(request, before)
    action = action_of(request)
    if action == "Query" and SECRETS_TABLE in request.body.decode():
        return "read a secret"
    if action != "UpdateItem":
        return CALLS[action]
    return name_of_update(str(request.json["UpdateExpression"]))


def _name_of_jiras(request: Request, before: Sequence[str]) -> str:
    path = request.path.rpartition("/rest/api/")[2].split("/", 1)[1]
    if path.startswith("search"):
        asked = str(request.query.get("jql") or request.body.decode())
        return "search by the access key's label" if "keycheck-" in asked else "search all open issues"
    if (asked_for := path.rpartition("/")[2]) in ABOUT_AN_ISSUE:
        return ABOUT_AN_ISSUE[asked_for][request.method]
    if path.startswith("issue/"):
        return "read the issue back" if "create the issue" in before else "look at the recorded issue"
    return JIRA[request.method, path]


class Watch:
    """Numbers all requests of a world in the order in which they arrive, over all servers, from 0."""

    def __init__(self, world: World) -> None:
        self.names: list[str] = []
        self._world = world
        self._lock = threading.Lock()

    @contextmanager
    def over(self, cut: Callable[[int, FakeServer, Request], None]) -> Iterator[None]:
        """While this lasts, `cut` is called with each request's number before the request is served."""
        hooks = {server: self._hook(server, cut) for server in (self._world.gate, self._world.jira, self._world.slack)}
        for server, hook in hooks.items():
            server.before.append(hook)
        try:
            yield
        finally:
            for server, hook in hooks.items():
                server.before.remove(hook)

    def _hook(self, server: FakeServer, cut: Callable[[int, FakeServer, Request], None]) -> Callable[[Request], None]:
        def arrived(request: Request) -> None:
            with self._lock:
                number = len(self.names)
                self.names.append(name_of(self._world, server, request, self.names))
            cut(number, server, request)

        return arrived


def requests_of_a_run(world: World, *arguments: str, **settings: str) -> list[str]:
    """The names of all requests of one undisturbed run, in order."""
    watch = Watch(world)
    with watch.over(lambda *_: None):
        ran = sound(world.run(*arguments, **settings), world)
    assert (ran.code, ran.stderr) == (0, "")
    return watch.names


def signal_and_wait(process: Process, by: signal.Signals) -> None:
    """Send SIGKILL and wait for the end, or send SIGTERM and wait until the run has heard it."""
    process.send_signal(by)
    if by is signal.SIGKILL:
        process.wait(30)
    elif isinstance(process, WarmProcess):
        process.wait_until_heard()


def run_cut(
    world: World, number: int, moment: Moment, by: signal.Signals, *arguments: str, **settings: str
) -> tuple[Ran, str]:
    """Run the script and send it a signal at its request of this number; what it left, and the request's name.

    After SIGKILL at `before` the request is not served. With SIGTERM it is served and answered in either case.
    """
    watch = Watch(world)
    ready = threading.Event()
    started: list[Process] = []

    def hit() -> None:
        ready.wait(30)
        signal_and_wait(started[0], by)

    def cut(arrived: int, server: FakeServer, request: Request) -> None:
        if arrived != number:
            return
        if moment == "before":
            hit()
            if by is signal.SIGKILL:
                server.inject(Fault.drop_before_serving(), lambda one: one.number == request.number, times=1)
        else:

            def served(one: Request) -> None:
                if one.number == request.number:
                    hit()

            server.after.append(served)

    with watch.over(cut), world.popen(*arguments, **settings) as process:
        started.append(process)
        ready.set()
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    for server in (world.gate, world.jira, world.slack):
        server.after.clear()
        server.heal()
    return Ran(process.returncode, stdout, stderr), watch.names[number]
