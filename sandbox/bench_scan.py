"""What a scan costs, side by side: keycheck, a loop, a thread pool, Cloud Custodian. `make bench`.

In: numbers of users, rounds. Out: the first part of docs/benchmarks.md, and its plot. All are whole processes, start-up
included, against the sandbox's fake IAM, which answers each call after a fixed latency. Rounds alternate, so that a
busy machine slows all of them; medians are shown. Calls are counted by the fake, not by who makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from sandbox.fake_iam import FakeIam
from sandbox.warm_parent import ENTRY

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-bench" / "bin"
DOCUMENT, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.png"
MARKS = ("<!-- sandbox.bench_scan writes from here -->", "<!-- sandbox.bench_scan: to here -->")

ONE_IN = 100
"""Of so many users one has an access key that is expiring or expired."""
REPORT_SECONDS = 2.0
"""So long AWS took to make one, measured live; a first run has none."""

COLD, CACHED = "keycheck, first run", "keycheck, with its cache"
LOOP, POOL, REPORT, CUSTODIAN = "one by one", "bare pool of 32", "bare report", "Custodian"
SLOW = frozenset({LOOP, CUSTODIAN})

CLIENT = """
import boto3, sys
from botocore.config import Config
iam = boto3.Session(profile_name="bench").client("iam", config=Config(max_pool_connections=32))
users = [user for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1000})
         for user in page["Users"]]
"""
SCRIPTS = {
    LOOP: CLIENT
    + """
print(sum(len(iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]) for user in users))
""",
    POOL: CLIENT
    + """
from concurrent.futures import ThreadPoolExecutor
def count(user):
    return len(iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"])
with ThreadPoolExecutor(32) as pool:
    print(sum(pool.map(count, users)))
""",
    REPORT: CLIENT
    + """
text = iam.get_credential_report()["Content"].decode()
print(sum(line.split(",")[8] == "true" for line in text.split("\\n")[2:]))
""",
}
POLICY = """
policies:
  - name: stale-access-keys
    resource: aws.iam-access-key
    filters:
      - Status: Active
      - type: value
        key: CreateDate
        value_type: age
        op: ge
        value: 165
"""


@dataclass(frozen=True)
class Measured:
    """One process, to its end."""

    seconds: float
    cpu: float
    peak_mb: float
    calls: Mapping[str, int]
    throttled: int


@dataclass
class Bench:
    """An account in the fake IAM, and what is run against it."""

    iam: FakeIam
    folder: Path
    users: int
    results: dict[str, list[Measured]] = field(default_factory=dict)

    @property
    def stale(self) -> int:
        return len(range(0, self.users, ONE_IN))

    def run(self, tool: str) -> None:
        """Run one of the programs, from the state that it is measured in."""
        cache = self.folder / "cache"
        if tool == COLD:
            shutil.rmtree(cache, ignore_errors=True)
            self.iam.forget_report()
        elif tool in (REPORT, CACHED):
            self.iam.make_report()  # the first run's may not be there yet
        measured = self.measure(self.command(tool), {"cache_dir": str(cache)}, self.is_sound(tool))
        self.results.setdefault(tool, []).append(measured)
        say(f"{self.users:6} users  {tool:25} {measured.seconds:7.2f} s  {sum(measured.calls.values())} calls")

    def command(self, tool: str) -> list[str]:
        if tool in (COLD, CACHED):
            return [sys.executable, str(ENTRY), "bench"]
        if tool == CUSTODIAN:
            policy, out = self.folder / "policy.yml", self.folder / "out"
            policy.write_text(POLICY, encoding="utf-8")
            shutil.rmtree(out, ignore_errors=True)
            options = ["--cache-period", "0", "--profile", "bench", "--region", "us-east-1", "--output-dir", str(out)]
            return [str(TOOLS / "custodian"), "run", *options, str(policy)]
        return [sys.executable, "-c", SCRIPTS[tool]]

    def is_sound(self, tool: str) -> Callable[[str], bool]:
        """Return what says of an output that every access key was seen."""
        if tool == CUSTODIAN:
            return lambda text: f"count:{self.stale} " in text
        if tool in (COLD, CACHED):
            return lambda text: f"keys={self.users}i" in text and "incomplete=0i" in text
        return lambda text: text.strip() == str(self.users)

    def measure(self, command: Sequence[str], more: Mapping[str, str], is_sound: Callable[[str], bool]) -> Measured:
        environ = {**environment(self.folder, self.iam.url), **more}
        self.iam.forget_calls()
        with (self.folder / "output").open("w+", encoding="utf-8") as output:
            begun = perf_counter()
            process = subprocess.Popen(list(command), env=environ, stdout=output, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)
            seconds = perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read()
        if process.returncode != 0 or not is_sound(text):
            raise RuntimeError(f"{command[:3]} did not see every access key: {text[-600:]}")
        throttled = sum(self.iam.throttled.values())
        return Measured(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, dict(self.iam.calls), throttled)


def environment(folder: Path, url: str) -> dict[str, str]:
    config = folder / "config"
    config.write_text("[profile bench]\naws_access_key_id = bench\naws_secret_access_key = bench\nregion = us-east-1\n")
    return {"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL": url}


@contextmanager
def bench_of(users: int, latency_ms: float) -> Iterator[Bench]:
    now = datetime.now(UTC)
    with FakeIam(latency=latency_ms / 1000) as iam, tempfile.TemporaryDirectory() as folder:
        iam.report_seconds = REPORT_SECONDS
        for number in range(users):
            age = 165 + number % 200 if number % ONE_IN == 0 else number * 7 % 150
            iam.add_user(f"user{number:05}", [age], now=now)
        yield Bench(iam, Path(folder), users)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="*", default=[250, 1000, 5000])
    parser.add_argument(
        "--large", type=int, default=50_000, help="keycheck alone, once, without latency; 0: not at all"
    )
    parser.add_argument("--latency-ms", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=3, help="of what takes minutes")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plot")
    options = parser.parse_args()
    found: dict[int, dict[str, list[Measured]]] = {}
    for users in options.users:
        with bench_of(users, options.latency_ms) as bench:
            for number in range(options.rounds):
                for tool in (COLD, CACHED, POOL, REPORT, LOOP, CUSTODIAN):
                    if tool not in SLOW or number < options.slow_rounds:
                        bench.run(tool)
            found[users] = bench.results
    large = {}
    if options.large:
        with bench_of(options.large, 0) as bench:
            for tool in (COLD, CACHED):
                bench.run(tool)
            large = bench.results
    text = "\n".join(document(options, found, large, starts(options.rounds)))
    sys.stdout.write(text + "\n")
    if options.write:
        write(text, *MARKS)
        plot(found)
    return 0


def write(text: str, begins: str, ends: str) -> None:
    """Put a text between two marks of docs/benchmarks.md."""
    whole = DOCUMENT.read_text(encoding="utf-8")
    before, after = whole.split(begins)[0], whole.split(ends)[1]
    DOCUMENT.write_text(f"{before}{begins}\n{text}\n{ends}{after}", encoding="utf-8")


def machine() -> str:
    cores, kind, python = os.cpu_count(), platform.machine(), platform.python_version()
    return f"a virtual machine with {cores} cores ({kind}, Python {python}), on {datetime.now(UTC):%Y-%m-%d}"


def starts(rounds: int) -> tuple[float, float]:
    """Return the median seconds of a bare interpreter, and of --help."""
    commands = ([sys.executable, "-c", "pass"], [sys.executable, str(ENTRY), "--help"])
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(4 * rounds):
        for command, took in zip(commands, seconds, strict=True):
            begun = perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            took.append(perf_counter() - begun)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


# What is written

ALSO = {
    COLD: "labels each access key, prints a checked line for each, looks at the root user, reads the report",
    CACHED: "the same",
    LOOP: "nothing",
    POOL: "nothing",
    REPORT: "lists the users and reads the report, so it knows no access key id",
    CUSTODIAN: "filters by status and age, and writes what it found, with its log, into files",
}


def median(results: Sequence[Measured], what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in results))


def document(
    options: argparse.Namespace,
    found: Mapping[int, Mapping[str, Sequence[Measured]]],
    large: Mapping[str, Sequence[Measured]],
    start: tuple[float, float],
) -> Iterator[str]:
    """Yield the lines of the first part of docs/benchmarks.md."""
    yield f"On {machine()}; {options.latency_ms:g} ms a call."
    yield f"Medians of {options.rounds} rounds, {options.slow_rounds} of what is slow. Each user has one access key, of"
    yield f"which one in {ONE_IN} is expiring or expired. No call was throttled. Custodian is {custodian_version()}"
    yield "with `--cache-period 0`."
    yield ""
    yield "| users | program | wall s | CPU s | peak MB | calls | of which |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for users, results in found.items():
        for tool, measured in results.items():
            yield row(f"{users:,}", tool, measured)
    for tool, measured in large.items():
        yield row(f"{options.large:,}, 0 ms a call, once", tool, measured)
    yield ""
    yield "![Calls and seconds against users, both axes logarithmic](benchmarks.png)"
    yield ""
    yield "What each does beside making its calls:"
    yield ""
    for tool, what in ALSO.items():
        yield f"- {tool}: {what}."
    yield ""
    yield "| what was aimed at | measured |"
    yield "| --- | --- |"
    yield from aims(found, large, start)


def row(users: str, tool: str, measured: Sequence[Measured]) -> str:
    last = Counter(measured[-1].calls)
    kinds = ", ".join(f"{name} {count}" for name, count in last.most_common())
    wall, cpu, peak = (median(measured, what) for what in ("seconds", "cpu", "peak_mb"))
    throttled = sum(one.throttled for one in measured)
    assert throttled == 0
    return f"| {users} | {tool} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {last.total()} | {kinds} |"


def aims(
    found: Mapping[int, Mapping[str, Sequence[Measured]]],
    large: Mapping[str, Sequence[Measured]],
    start: tuple[float, float],
) -> Iterator[str]:
    for users, ours, other, most in ((1000, COLD, POOL, 1.25), (5000, CACHED, REPORT, 1.5)):
        if users in found:
            ratio = median(found[users][ours], "seconds") / median(found[users][other], "seconds")
            yield f"| {users:,} users, {ours}: at most {most} times the {other} | {ratio:.2f} times |"
    yield f"| `--help`: within 100 ms of a bare interpreter | {1000 * (start[1] - start[0]):.0f} ms more |"
    if 5000 in found:
        peak = max(one.peak_mb for tool in (COLD, CACHED) for one in found[5000][tool])
        yield f"| 5,000 users in 150 MB | {peak:.0f} MB |"
    if large:
        peak = max(one.peak_mb for measured in large.values() for one in measured)
        yield f"| 50,000 users in 400 MB | {peak:.0f} MB |"


def custodian_version() -> str:
    requirements = (ROOT / "sandbox" / "bench-requirements.txt").read_text(encoding="utf-8")
    found = re.search(r"^c7n==(\S+)", requirements, re.MULTILINE)
    return "c7n " + (found[1] if found else "of unknown version")


def plot(found: Mapping[int, Mapping[str, Sequence[Measured]]]) -> None:
    tools = {
        tool: [
            [
                users,
                statistics.median(sum(one.calls.values()) for one in results[tool]),
                median(results[tool], "seconds"),
            ]
            for users, results in found.items()
        ]
        for tool in (COLD, CACHED, LOOP, POOL, CUSTODIAN)
    }
    drawing = [str(TOOLS / "python"), str(ROOT / "sandbox" / "bench_plot.py"), str(PLOT)]
    subprocess.run(drawing, input=json.dumps(tools), text=True, check=True)


if __name__ == "__main__":
    sys.exit(main())
