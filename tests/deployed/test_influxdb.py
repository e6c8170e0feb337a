"""All the way: an AWS account, keycheck, the real Telegraf with telegraf.conf, a real InfluxDB, and what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from keycheck.metrics import RUN_FIELDS
from sandbox.world import ACCOUNTS, World
from tests.deployed.influxdb import InfluxDb
from tests.deployed.telegraf import Telegraf, check, installed_sample, with_output

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("telegraf")]

USERS = {
    "acme-dev": {"a=b": [10], "ci,deploy": [170], "dev@example.com": [200, 5], "x+y": [0], "n" * 64: [3000]},
    "acme-prod": {"dev_singh": [12]},
}


def test_the_same_access_keys_tags_and_types_come_back_from_influxdb(
    world: World, opt: Path, etc: Path, tmp_path: Path, influxdb: InfluxDb
) -> None:
    made = []
    for profile, users in USERS.items():
        for name, ages in users.items():
            world.aws.add_user(name, ages, account_id=ACCOUNTS[profile])
            keys = world.aws.keys(name, ACCOUNTS[profile])
            made += [(profile, name, key[0][-5:], float(age)) for key, age in zip(keys, ages, strict=True)]
    config = installed_sample(with_output("influxdb"), opt, etc)
    config = config.replace('database = "telegraf"', 'database = "round_trip"')
    environ = {**world.environ, "INFLUX_URL": influxdb.url}
    assert check(tmp_path, config, environ).returncode == 0
    with Telegraf(tmp_path, config, environ, "--once") as telegraf:
        assert telegraf.ended().code == 0, telegraf.log

    def ask(text: str) -> list[dict[str, object]]:
        return influxdb.query(text, "round_trip")

    found = ask('SELECT "age", "accountAlias", "name", "key", "status" FROM "aws.iam"')
    assert sorted((row["accountAlias"], row["name"], row["key"], row["age"]) for row in found) == sorted(made)
    labels = {0.0: "ok", 3000.0: "expired", 5.0: "ok", 10.0: "ok", 12.0: "ok", 170.0: "expiring", 200.0: "expired"}
    assert {row["age"]: row["status"] for row in found} == labels
    assert {row["tagKey"] for row in ask('SHOW TAG KEYS FROM "aws.iam"')} == {"accountAlias", "key", "name", "status"}
    assert ask('SHOW FIELD KEYS FROM "aws.iam"') == [{"fieldKey": "age", "fieldType": "float"}]

    assert {row["tagKey"] for row in ask('SHOW TAG KEYS FROM "aws.iam_run"')} == {"accountAlias"}
    types = {row["fieldKey"]: row["fieldType"] for row in ask('SHOW FIELD KEYS FROM "aws.iam_run"')}
    assert types == {name: kind for name, kind in RUN_FIELDS.items() if name in types}
    assert {"keys", "expired", "incomplete", "duration_seconds"} <= set(types)
    runs = ask('SELECT "keys", "users", "accountAlias" FROM "aws.iam_run"')
    assert sorted((row["accountAlias"], row["users"], row["keys"]) for row in runs) == [
        ("acme-dev", 5, 6),
        ("acme-prod", 1, 1),
    ]
