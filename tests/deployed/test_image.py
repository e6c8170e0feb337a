"""The Dockerfile, read: what hadolint says, and what it does not look at. `make image-test` builds it for real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keycheck import __version__
from tests.deployed.telegraf import ROOT
from tests.deployed.test_kubernetes import container, pods

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
ENTRY = "/opt/keycheck/iam-accesskey-check.py"


def instruction(name: str, text: str = FINAL) -> str:
    """The one instruction of that name in the stage that becomes the image."""
    (found,) = re.findall(rf"^{name} (.*)$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


@pytest.mark.process
def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    ran = subprocess.run([str(hadolint), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_user_is_a_number_that_is_not_root_and_the_one_that_the_pods_have() -> None:
    """hadolint says nothing where there is no USER at all."""
    user, group = instruction("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    for spec in pods().values():
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (int(user), int(group))


def test_both_stages_are_on_one_base_of_a_fixed_version_whose_digest_can_be_given() -> None:
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert froms == ["docker.io/library/telegraf:${TELEGRAF_VERSION}${TELEGRAF_DIGEST}"] * 2
    assert re.search(r"^ARG TELEGRAF_VERSION=\d+\.\d+\.\d+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^ARG TELEGRAF_DIGEST=$", DOCKERFILE, re.MULTILINE)


def test_python_packages_are_those_whose_hashes_are_known() -> None:
    assert "--require-hashes --requirement /build/requirements.txt" in DOCKERFILE


def test_tini_is_pid_1_and_the_command_is_telegraf_with_the_file_that_is_copied_there() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["/usr/bin/tini", "--"]
    command = json.loads(instruction("CMD"))
    assert command[0] == "telegraf"
    assert f"COPY telegraf.conf {command[-1]}" in FINAL
    assert {f"{mount['mountPath']}/telegraf.conf" for mount in container("Deployment")["volumeMounts"]} >= {command[-1]}


def test_the_entry_is_where_telegraf_conf_looks_for_it_and_can_be_executed() -> None:
    assert "COPY keycheck /opt/keycheck" in DOCKERFILE
    assert "COPY --from=build /opt /opt" in FINAL
    assert f"chmod 0755 {ENTRY}" in DOCKERFILE
    assert f'"{ENTRY}"' in (ROOT / "telegraf.conf").read_text(encoding="utf-8")


def test_the_version_is_keychecks() -> None:
    assert f"ARG KEYCHECK_VERSION={__version__}" in FINAL
    assert f"keycheck:{__version__} ." in DOCKERFILE
    for name in ("title", "description", "version", "licenses", "base.name"):
        assert f"org.opencontainers.image.{name}=" in FINAL


def test_nothing_but_what_is_copied_is_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE))
    assert sent == copied
    assert all((ROOT / path).exists() for path in copied)
