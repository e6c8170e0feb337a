"""Runs of the entry script from a process that has imported everything already.

    with WarmParent() as warm:
        with warm.start(["acme-dev"], environ) as process:
            stdout, stderr = process.communicate(timeout=60)

Most of what a short run costs is the interpreter's start, the imports and botocore's parsing of its data files. The
warm parent does that once and forks for each run, which is the same program from then on: the entry file is run as
`__main__` in a process of its own pid, with its own signals, its own streams and nothing but the given environment.
What only a real start can show (the order of imports, PYTHON* variables, a signal while starting) needs a real start.

The parent has no threads, and nothing of the process that asks for runs is in it: it is a small process of its own. It
is told of a run over a socket, with the run's streams and a socket for the report on it: the pid, each signal that the
run's handler has dealt with, and how the run ended. It ends, and its runs with it, when the one who started it is gone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, NoReturn, Protocol, Self

ENTRY: Final = Path(__file__).resolve().parent.parent / "keycheck" / "iam-accesskey-check.py"
MESSAGE_BYTES: Final = 150_000
"""Below what a Unix socket takes as one message by default."""
IMPORTED: Final = (
    *("boto3", "botocore.session", "credstash", "jira", "slack_sdk.web", "slack_sdk.errors"),
    *("keycheck.cli", "keycheck.run", "keycheck.services.outside"),
)
"""What a run imports, here or there, and all that these import."""
HEARD: Final = "heard\n"
UNEXPECTED: Final = 70
"""The exit code of a run that left the entry script in another way than it should."""
CLIENTS: Final = ("iam", "dynamodb", "kms", "sts")


class Process(Protocol):
    """What the sandbox and its users need of a running keycheck; subprocess.Popen is one."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[str] | None: ...

    @property
    def stderr(self) -> IO[str] | None: ...

    @property
    def returncode(self) -> int | Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[Any, Any]: ...  # noqa: A002

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class WarmParent:
    """The parent, from here: one for each process that asks. Runs may be started from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.warm_parent", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ENTRY.parent.parent,
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
            )
        self._control = ours
        return self

    def __exit__(self, *_: object) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait(30)

    def start(self, arguments: Sequence[str], environ: Mapping[str, str]) -> WarmProcess:
        """Start a run as the sandbox's World does: from the root folder, with stdin from nowhere."""
        assert self._control is not None, "the warm parent was not entered"
        order = json.dumps({"arguments": list(arguments), "environ": dict(environ)}).encode()
        assert len(order) < MESSAGE_BYTES, "the environment is too large for the warm parent"
        stdout, stdout_there = os.pipe()
        stderr, stderr_there = os.pipe()
        report, report_there = socket.socketpair()
        try:
            with self._lock, report_there:
                socket.send_fds(self._control, [order], [stdout_there, stderr_there, report_there.fileno()])
        finally:
            os.close(stdout_there)
            os.close(stderr_there)
        return WarmProcess(report, stdout, stderr)


class WarmProcess:
    """A run, as subprocess.Popen would show it."""

    def __init__(self, report: socket.socket, stdout: int, stderr: int) -> None:
        self._lock = threading.Lock()
        self._report = report
        self._signals_heard = 0
        self.returncode: int | None = None
        self.stdout: IO[str] | None = os.fdopen(stdout, encoding="utf-8")
        self.stderr: IO[str] | None = os.fdopen(stderr, encoding="utf-8")
        self.pid = int(self._line())

    def _line(self) -> str:
        """One line of the report on this run; empty where nobody is left to write one."""
        text = b""
        while not text.endswith(b"\n") and (byte := self._report.recv(1)):
            text += byte
        return text.decode()

    def _read_report(self, until: Callable[[], bool], timeout: float | None) -> None:
        """Read on until that is so; raises TimeoutExpired. Several threads may."""
        end = None if timeout is None else time.monotonic() + timeout
        while not until():
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._report], [], [], left)[0]:
                raise subprocess.TimeoutExpired("keycheck", timeout or 0)
            with self._lock:
                if until() or not select.select([self._report], [], [], 0)[0]:
                    continue  # another thread was first
                line = self._line()
                if line == HEARD:
                    self._signals_heard += 1
                else:
                    self.returncode = int(line or -signal.SIGKILL)

    def wait_until_heard(self, timeout: float = 30) -> None:
        """Wait until the run's own handler has dealt with a signal, or the run has ended: the kernel has taken a signal
        as soon as it was sent, and on a busy machine the run may go on for a while before it hears of it.
        """
        self._read_report(lambda: self._signals_heard > 0 or self.returncode is not None, timeout)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        self._read_report(lambda: self.returncode is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:  # noqa: A002
        """What it wrote, once it has ended; nothing may be sent to it."""
        assert input is None
        until = None if timeout is None else time.monotonic() + timeout
        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None and not stream.closed]
        texts: dict[IO[str], list[bytes]] = {stream: [] for stream in streams}
        waiting = list(streams)
        while waiting:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = select.select(waiting, [], [], left)[0]
            if not ready:
                raise subprocess.TimeoutExpired("keycheck", timeout or 0)
            for stream in ready:
                if chunk := os.read(stream.fileno(), 65536):
                    texts[stream].append(chunk)
                else:
                    waiting.remove(stream)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))

        def whole(stream: IO[str] | None) -> str:
            return b"".join(texts[stream]).decode("utf-8") if stream is not None and stream in texts else ""

        return whole(self.stdout), whole(self.stderr)

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile, and the report is on its way
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        self._report.close()


# The parent itself


def main(control: socket.socket) -> None:
    """Fork for each run that is asked for; say how each ended. Returns when nobody can ask any more."""
    _warm_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that is meant for the tests' own process group
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    runs: dict[int, socket.socket] = {}
    while True:
        ready = select.select([control.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report_the_ended(runs)
        if control.fileno() in ready:
            order, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 3)
            if not order:
                break
            stdout, stderr, report = descriptors
            pid = os.fork()
            if pid == 0:
                _become(json.loads(order), stdout, stderr, report)
            os.close(stdout)
            os.close(stderr)
            runs[pid] = socket.socket(fileno=report)
            runs[pid].sendall(f"{pid}\n".encode())
    for pid in runs:
        os.kill(pid, signal.SIGKILL)


def _report_the_ended(runs: dict[int, socket.socket]) -> None:
    while runs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with runs.pop(pid) as report, contextlib.suppress(OSError):
            report.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def what_botocore_reads_again() -> list[tuple[type, str, Callable[..., Any]]]:
    """What each session of botocore's reads anew though it never changes, as (class, method, one that remembers): its
    data files, and which services there are, which takes a look into each of 400 folders.
    """
    from botocore.loaders import JSONFileLoader, Loader

    load_file, files = JSONFileLoader.load_file, dict[str, Any]()
    list_services, services = Loader.list_available_services, dict[tuple[str, ...], Any]()

    def load_file_once(self: JSONFileLoader, file_path: str) -> Any:
        if file_path not in files:
            files[file_path] = load_file(self, file_path)
        return files[file_path]

    def list_services_once(self: Loader, type_name: str) -> Any:
        key = (type_name, *self.search_paths)
        if key not in services:
            services[key] = list_services(self, type_name)
        return services[key]

    return [(JSONFileLoader, "load_file", load_file_once), (Loader, "list_available_services", list_services_once)]


def _warm_up() -> None:
    """Import what a run imports, and let botocore parse its data files, which it then remembers."""
    for name in IMPORTED:
        __import__(name)
    import botocore.session

    for owner, name, remembering in what_botocore_reads_again():
        setattr(owner, name, remembering)
    for name in CLIENTS:
        session = botocore.session.Session()
        session.set_credentials("warm", "parent")
        session.create_client(name, "us-east-1", endpoint_url="http://127.0.0.1:1")
    gc.collect()
    gc.freeze()


def _become(order: dict[str, Any], stdout: int, stderr: int, report: int) -> NoReturn:
    """In the child: be the entry script, as if just started, which reports each signal that its handler has seen."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for there, standard in ((nowhere, 0), (stdout, 1), (stderr, 2)):
        os.dup2(there, standard)
    os.dup2(report, 3)
    os.closerange(4, 1024)
    _report_what_is_heard(3)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir("/")
    sys.argv = [str(ENTRY), *order["arguments"]]
    sys.path[0] = str(ENTRY.parent)
    try:
        runpy.run_path(str(ENTRY), run_name="__main__")
    except BaseException:  # noqa: BLE001 - the entry leaves by os._exit; whatever else it does is shown
        traceback.print_exc()
    os._exit(UNEXPECTED)


def _report_what_is_heard(report: int) -> None:
    install = signal.signal

    def install_reporting(number: int, handler: Any) -> Any:
        def reporting(signalled: int, frame: FrameType | None) -> None:
            handler(signalled, frame)
            os.write(report, HEARD.encode())

        return install(number, reporting if callable(handler) else handler)

    signal.signal = install_reporting  # type: ignore[assignment]


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as told:
        main(told)
