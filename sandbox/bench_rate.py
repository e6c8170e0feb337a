"""How a scan gets on where AWS limits the rate of calls. `make bench`.

In: nothing. Out: a row for each situation: whole processes against the sandbox's fake IAM, 30 ms a call; users that
were read, wall time, calls that were refused, and what a second program in the same account got done meanwhile.

Beside keycheck: a bare boto3 pool of 16 threads that makes the same calls for 60 s at most, in botocore's modes
standard and adaptive, eight attempts a call. It labels, records and prints nothing.

The second program is a bare boto3 loop that tries no call again, and does not slow down: it takes what it can get.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keycheck.clock import SCAN_SHARE
from sandbox.bench_scan import environment, machine, write
from sandbox.fake_iam import FakeIam, iam_error
from sandbox.warm_parent import ENTRY

MARKS = ("<!-- sandbox.bench_rate writes from here -->", "<!-- sandbox.bench_rate: to here -->")
KEYCHECK = "keycheck"
LATENCY_SECONDS = 0.03
ONE_IN = 7
SECONDS = 100
OTHER = """
import sys, time, boto3
from botocore.config import Config
iam = boto3.Session(profile_name="bench").client("iam", config=Config(retries={"total_max_attempts": 1}))
while True:
    try:
        iam.get_user(UserName="user00001")
    except iam.exceptions.ClientError:
        pass
"""

POOL = """
import sys, time, boto3
from concurrent.futures import ThreadPoolExecutor
from botocore.config import Config
mode, seconds = sys.argv[1], float(sys.argv[2])
ends = time.monotonic() + seconds
config = Config(retries={"mode": mode, "total_max_attempts": 8}, max_pool_connections=16)
iam = boto3.Session(profile_name="bench").client("iam", config=config)
def read(name):
    if time.monotonic() > ends:
        return 0
    try:
        return len(iam.list_access_keys(UserName=name)["AccessKeyMetadata"])
    except Exception:
        return 0
names = [user["UserName"] for page in iam.get_paginator("list_users").paginate() for user in page["Users"]]
with ThreadPoolExecutor(16) as pool:
    print(f"keys={sum(pool.map(read, names))}i")
"""


@dataclass(frozen=True)
class Row:
    """One situation, as it went."""

    what: str
    tool: str
    users: int
    read: int
    seconds: float
    calls: int
    refused: int
    other_per_second: float | None = None

    @property
    def refused_share(self) -> float:
        return self.refused / self.calls


def measure(
    what: str, tool: str, users: int, *, rate: int | None = None, one_in: int = 0, with_other: bool = False
) -> Row:
    """One scan of so many users with one access key each, by keycheck, or by a bare pool in a mode of botocore's."""
    with tempfile.TemporaryDirectory() as folder, FakeIam(rate=rate, burst=rate or 1, latency=LATENCY_SECONDS) as iam:
        for number in range(users):
            iam.add_user(f"user{number:05}", [10])
        if one_in:
            chance = random.Random(one_in)
            iam.inject(iam_error("Throttling"), lambda _: chance.random() < 1 / one_in)
        environ = environment(Path(folder), iam.url) | {"run_timeout_seconds": str(SECONDS)}
        other = subprocess.Popen([sys.executable, "-c", OTHER], env=environ) if with_other else None
        try:
            if other is not None:
                time.sleep(2)
            iam.forget_calls()
            begun = time.perf_counter()
            command = [str(ENTRY), "bench"] if tool == KEYCHECK else ["-c", POOL, tool, str(SECONDS * SCAN_SHARE)]
            done = subprocess.run([sys.executable, *command], env=environ, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - begun
        finally:
            if other is not None:
                other.kill()
                other.wait()
        log = iam.log
        ours = [call for call in log if call.action != "GetUser"]
        theirs = [call for call in log if call.action == "GetUser" and call.status == 200]
        found = re.search(r"keys=(\d+)i", done.stdout)
        refused = sum(call.status == 400 for call in ours)
        per_second = len(theirs) / seconds if with_other else None
        return Row(what, tool, users, int(found[1]) if found else 0, seconds, len(ours), refused, per_second)


SITUATIONS = (
    *("no limit", f"one call in {ONE_IN} refused at random"),
    *("40 calls a second", "40 calls a second, few users", "40 calls a second, beside another program"),
)


def measure_all() -> list[Row]:
    no_limit, at_random, forty, few, beside = SITUATIONS
    return [
        row
        for tool in (KEYCHECK, "standard", "adaptive")
        for row in (
            measure(no_limit, tool, 800),
            measure(at_random, tool, 800, one_in=ONE_IN),
            measure(forty, tool, 1000, rate=40),
            measure(few, tool, 300, rate=40),
            measure(beside, tool, 300, rate=40, with_other=True),
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the second part of docs/benchmarks.md")
    options = parser.parse_args()
    text = "\n".join(document(measure_all()))
    sys.stdout.write(text + "\n")
    if options.write:
        write(text, *MARKS)
    return 0


def document(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the second part of docs/benchmarks.md."""
    yield f"On {machine()}; {LATENCY_SECONDS * 1000:g} ms a call, one round. One access key a user, of which none"
    yield "was listed before."
    yield ""
    yield "| situation | program | users read | time | calls | refused | the other program got |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in sorted(rows, key=lambda row: SITUATIONS.index(row.what)):
        other = "" if row.other_per_second is None else f"{row.other_per_second:.0f} a second"
        read, refused = f"{row.read} of {row.users}", f"{100 * row.refused_share:.1f} %"
        yield f"| {row.what} | {row.tool} | {read} | {row.seconds:.1f} s | {row.calls} | {refused} | {other} |"


if __name__ == "__main__":
    sys.exit(main())
