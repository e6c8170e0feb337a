"""`make image-test`: the Dockerfile really built, and what it gives run as Kubernetes would run it.

In: Debian's buildah and debootstrap, a telegraf on PATH, root. Out: one line a check, exit 1 where one fails; where the
image cannot be built here, the reason, and exit 0. The base image carries the official one's name, and is made here: a
Debian by debootstrap, with tini, procps and the telegraf of PATH. What it shows is what the Dockerfile does to a base;
what it cannot show is InfluxData's own base.

The root of the container is mounted read-only, its user is the image's, and its PID 1 is the image's entrypoint, in
namespaces of its own (unshare); its network is this machine's, where the sandbox listens on loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from keycheck import __version__
from sandbox.world import World
from tests.deployed.telegraf import ROOT

WORK: Final = ROOT / "build" / "image-test"
TAG: Final = "localhost/keycheck:image-test"
NEEDED: Final = ("buildah", "debootstrap", "unshare", "chroot", "telegraf")
STORAGE: Final = (*("--root", str(WORK / "storage"), "--runroot", str(WORK / "run"), "--storage-driver", "vfs"),)
FROM_THE_MACHINE: Final = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pip.conf",
)
"""How this machine reaches its package registries: the base, which is thrown away, reaches them likewise."""
RUN: Final = """
set -eu
root=$1 etc=$2 user=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$etc" "$root/etc/keycheck"
exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"
"""


class CannotBuild(Exception):
    """Why an image cannot be built on this machine."""


def main() -> int:
    started = time.monotonic()
    try:
        why_not()
        base()
        build()
    except CannotBuild as reason:
        print(f"image-test: not done here: {reason}")
        return 0
    container = buildah("from", "--pull-never", TAG).strip()
    try:
        root = Path(buildah("mount", container).strip())
        checks(root, json.loads(buildah("inspect", "--type", "image", TAG)))
    finally:
        buildah("rm", container)
    print(f"image-test: all well, {time.monotonic() - started:.0f} s")
    return 0


def why_not() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise CannotBuild(f"there is no {', no '.join(missing)} on PATH")
    if os.geteuid() != 0:
        raise CannotBuild("it takes root: debootstrap and a chroot do")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        raise CannotBuild("this machine lets nobody have a mount namespace")


def buildah(*arguments: str, log: Path | None = None) -> str:
    """Run buildah with a storage of our own. Raises CannotBuild with its last line."""
    ran = subprocess.run(
        ["buildah", *STORAGE, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if log is not None:
        log.write_text(ran.stdout + ran.stderr, encoding="utf-8")
    if ran.returncode:
        raise CannotBuild(f"buildah {arguments[0]}: {(ran.stderr.strip() or 'no word').splitlines()[-1]}")
    return ran.stdout


def telegraf_version() -> str:
    found = re.search(r"^ARG TELEGRAF_VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def base() -> None:
    """The image that FROM names, made here once; `make clean` throws it away."""
    name = f"docker.io/library/telegraf:{telegraf_version()}"
    if (
        subprocess.run(
            ["buildah", *STORAGE, "inspect", "--type", "image", name], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return
    rootfs = WORK / "rootfs"
    shutil.rmtree(rootfs, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    packages = "--include=ca-certificates,procps,tini"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(rootfs)]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
        raise CannotBuild("debootstrap failed; is Debian's mirror to be reached?")
    for path in FROM_THE_MACHINE:
        if Path(path).exists():
            shutil.copy2(path, rootfs / path[1:])
    shutil.copy2(shutil.which("telegraf") or "", rootfs / "usr/bin/telegraf")
    (rootfs / "etc/telegraf").mkdir(mode=0o750)
    container = buildah("from", "scratch").strip()
    buildah("add", container, str(rootfs), "/")
    buildah("commit", "--rm", container, name)
    shutil.rmtree(rootfs)


def build() -> None:
    """As docker would; a RUN that fails is a failure of the Dockerfile, not a reason to go home."""
    log = WORK / "build.log"
    try:
        buildah(
            *("build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--no-cache", "--tag", TAG, "."),
            log=log,
        )
    except CannotBuild as error:
        print(log.read_text(encoding="utf-8"))
        raise SystemExit(f"image-test: {error}") from None


def checks(root: Path, image: Mapping[str, Any]) -> None:
    config = image["Docker"]["config"]
    say("runs as a number that is not root", config["User"] == "10001:10001", config["User"])
    say("PID 1 is tini", config["Entrypoint"] == ["/usr/bin/tini", "--"], config["Entrypoint"])
    say("has a HEALTHCHECK", config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"])
    labels = config["Labels"]
    say("its label is keycheck's version", labels["org.opencontainers.image.version"] == __version__, labels)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (root / "opt").rglob("*")}
    say("all below /opt is root's", owners == {(0, 0)}, owners)
    modules = [path for path in (root / "opt").rglob("*.py") if path.parent.name != "bin"]
    stale = [path for path in modules if not any((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))]
    say("every module is compiled", modules and not stale, stale[:3])
    say("there is no pip", not list((root / "opt").rglob("pip")), "")
    with World() as world:
        world.aws.add_user("dev_kramer", [197])
        world.aws.add_user("dev_singh", [12])
        etc = world.folder / "etc"
        etc.mkdir()
        (etc / "aws-config").write_text(world.config_file.read_text(encoding="utf-8"), encoding="utf-8")
        world.folder.chmod(0o755)  # the image's user reads what is mounted for it
        for path in (etc, *etc.iterdir()):
            path.chmod(0o755)
        in_the_image(root, etc, config, world)


def in_the_image(root: Path, etc: Path, config: Mapping[str, Any], world: World) -> None:
    sandbox = {name: value for name, value in world.environ.items() if name.startswith(("AWS_E", "NO_PROXY"))}
    environ = dict(one.split("=", 1) for one in config["Env"]) | sandbox

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return in_container(root, etc, config, environ, command)

    entry = "/opt/keycheck/iam-accesskey-check.py"
    ran = run(entry, "--version")
    say("--version", ran.returncode == 0 and __version__ in ran.stdout, ran)
    ran = run(entry, "acme-dev")
    lines = [line.partition(",key=")[0] for line in ran.stdout.splitlines()]
    say("an audit of the sandbox, the root read-only", lines[:2] == ["iam,name=dev_kramer", "iam,name=dev_singh"], ran)
    say("... without a word on stderr", (ran.returncode, ran.stderr) == (0, ""), ran)
    ran = run("telegraf", "config", "check", "--strict-env-handling", "--config", "/etc/telegraf/telegraf.conf")
    say("telegraf config check of the baked-in file", ran.returncode == 0, ran)
    ran = run(*config["Cmd"], "--once")
    say("the image's own command brings data", "aws.iam_run,accountAlias=acme-dev" in ran.stdout, ran)
    ran = run(
        "/bin/sh", "-c", "cat /proc/1/comm; id -u; touch /opt/keycheck/x /etc/x 2>&1 | grep -c Read-only; : > /tmp/x"
    )
    say("tini is PID 1, nothing but /tmp can be written to", ran.stdout.split() == ["tini", "10001", "2"], ran)
    ran = run("/bin/sh", "-c", "find / -xdev -writable ! -type l ! -path '/tmp*' 2>/dev/null | head -3")
    say("its user owns nothing", ran.stdout == "", ran)
    health = config["Healthcheck"]["Test"][1:]
    say("HEALTHCHECK sees no Telegraf where there is none", run(*health).returncode == 1, health)
    ran = run(
        "/bin/sh", "-c", f"telegraf --config /etc/telegraf/telegraf.conf >/dev/null 2>&1 & sleep 1; {' '.join(health)}"
    )
    say("HEALTHCHECK sees the Telegraf that runs", ran.returncode == 0, ran)


def in_container(
    root: Path, etc: Path, config: Mapping[str, Any], environ: Mapping[str, str], command: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """A command as the image would run it: its user, its entrypoint, its environment, its root read-only."""
    return subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--fork", "sh", "-c", RUN, "sh", str(root), str(etc), config["User"]),
            *(f"{name}={value}" for name, value in environ.items()),
            *config["Entrypoint"],
            *command,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def say(what: str, holds: object, seen: object) -> None:
    """One line; where it does not hold, what was seen instead, and the end."""
    if not holds:
        raise SystemExit(f"image-test: NOT {what}: {seen}")
    print(f"image-test: {what}")


if __name__ == "__main__":
    sys.exit(main())
