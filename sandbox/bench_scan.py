"""How long a scan takes, side by side: keycheck, and a loop over the same calls one by one. `make bench`.

Both are whole processes, start-up included, against the sandbox's fake IAM in a process of its own, which answers each
call after a fixed latency. keycheck also labels, formats and checks a line for each access key; the loop only calls.
Rounds alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox.warm_parent import ENTRY

LOOP = """
import boto3, sys
iam = boto3.Session(profile_name="bench").client("iam")
keys = 0
for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1000}):
    for user in page["Users"]:
        for answer in iam.get_paginator("list_access_keys").paginate(UserName=user["UserName"]):
            keys += len(answer["AccessKeyMetadata"])
print(keys)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--latency-ms", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    fake = [sys.executable, "-m", "sandbox.fake_iam", "--users", str(options.users)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*fake, "--latency-ms", str(options.latency_ms)], stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            environ = environment(Path(folder), url)
            ours, loop = [], []
            for _ in range(options.rounds):
                ours.append(timed([sys.executable, str(ENTRY), "bench"], environ, options.users))
                loop.append(timed([sys.executable, "-c", LOOP], environ, options.users))
        finally:
            server.send_signal(signal.SIGTERM)
            served = server.stdout.read().splitlines()[-1]
    report(options, ours, loop, json.loads(served))
    return 0


def environment(folder: Path, url: str) -> dict[str, str]:
    config = folder / "config"
    config.write_text("[profile bench]\naws_access_key_id = bench\naws_secret_access_key = bench\nregion = us-east-1\n")
    return {"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL": url}


def timed(command: list[str], environ: dict[str, str], users: int) -> float:
    """Wall seconds of one whole process; raises where it did not see every access key."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begun
    if f"keys={users}i" not in done.stdout and done.stdout.strip() != str(users):
        raise RuntimeError(f"not every access key was seen: {done.stdout[-300:]} {done.stderr[-300:]}")
    return seconds


def report(
    options: argparse.Namespace, ours: list[float], loop: list[float], served: dict[str, dict[str, int]]
) -> None:
    rows = [("keycheck", ours), ("one by one", loop)]
    sys.stdout.write(
        f"{options.users} users with one access key each, {options.latency_ms:g} ms a call, "
        f"{options.rounds} rounds; {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n"
    )
    for name, seconds in rows:
        each = ", ".join(f"{one:.2f}" for one in seconds)
        sys.stdout.write(f"{name:<12} median {statistics.median(seconds):7.2f} s   ({each})\n")
    ratio = statistics.median(loop) / statistics.median(ours)
    sys.stdout.write(f"ratio        {ratio:.1f} to 1; calls served in all: {served['calls']}\n")


if __name__ == "__main__":
    sys.exit(main())
