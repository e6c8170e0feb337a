"""What every test shares: one moto for all, no environment of the developer's, no way off this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

from keycheck.settings import SETTINGS
from sandbox.fake_iam import FakeIam
from sandbox.moto_aws import MotoAws
from sandbox.world import World


@pytest.fixture(autouse=True)
def _no_environment_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile, endpoint, proxy or setting of the machine reaches a test."""
    ours = {setting.name for setting in SETTINGS}
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.lower().endswith("_proxy") or name in ours:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but loopback fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            raise AssertionError(f"a test connects to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session", autouse=True)
def _botocores_data_is_read_once() -> Iterator[None]:
    """Each session would parse the same big JSON files anew, which is most of what these tests would do."""
    load_file, known = JSONFileLoader.load_file, dict[str, Any]()

    def load_file_once(self: JSONFileLoader, file_path: str) -> Any:
        if file_path not in known:
            known[file_path] = load_file(self, file_path)
        return known[file_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_file_once)
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoAws]:
    """The one moto of the session; reset it, or use `world`, which does."""
    with MotoAws() as aws:
        yield aws


@pytest.fixture
def world(moto: MotoAws) -> Iterator[World]:
    """A fresh sandbox with Jira Cloud, nobody in it, and nothing switched on."""
    with World(aws=moto) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def fake_iam_world(moto: MotoAws) -> Iterator[World]:
    """A world whose IAM is a FakeIam, for what moto does not know; a module's tests share it and leave it empty."""
    with World(aws=moto, iam=FakeIam()) as sandbox:
        yield sandbox
