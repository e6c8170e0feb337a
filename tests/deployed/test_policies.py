"""aws/policies and aws/trust allow what the adapters call, on what they call it on, and nothing else.

What AWS's own lists say of each action (policy_sentry has them): its name, the resources and the conditions it takes.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from policy_sentry.querying.actions import get_action_data

from sandbox.gate import action_of
from sandbox.http_fake import Request
from sandbox.world import World
from tests.deployed.telegraf import ROOT
from tests.running import KRAMER, run
from tests.test_readme import rows

AWS = ROOT / "aws"
DOCUMENTS = sorted([*AWS.glob("policies/*.json"), *AWS.glob("trust/*.json")])
GLOBAL_CONDITIONS = re.compile(r"aws:RequestTag/|FILL_IN_OIDC_PROVIDER:")
"""Conditions of every action, and those that an OIDC provider of one's own brings: no action lists them."""


def statements(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = document["Statement"]
    return found


def actions(name: str) -> set[str]:
    """The actions that a file of aws/policies allows."""
    return {action for one in statements(AWS / "policies" / f"{name}.json") for action in one["Action"]}


def operations(module: str, service: str) -> set[str]:
    """What an adapter calls on its client, as IAM names it: `iam:ListUsers`."""
    model = botocore.session.get_session().get_service_model(service)
    methods = {botocore.xform_name(name): name for name in model.operation_names}
    tree = ast.parse((ROOT / "keycheck" / "services" / module).read_text(encoding="utf-8"))
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {
        f"{service}:{methods[one.attr]}"
        for one in called
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Attribute) and one.attr in methods
    }


def test_every_action_that_the_iam_adapter_calls_is_allowed_and_no_other() -> None:
    assert actions("audit") | actions("disable") == operations("aws_iam.py", "iam")
    assert actions("disable") == {"iam:UpdateAccessKey"}


def test_every_action_that_the_state_table_needs_is_allowed_and_no_other() -> None:
    called = operations("state_table.py", "dynamodb") | operations("state_opening.py", "dynamodb")
    assert actions("state-table") == called


@pytest.mark.process
def test_a_run_with_everything_on_calls_nothing_that_its_policies_do_not_allow(world: World) -> None:
    """As the real program calls it, credstash and botocore included; each on the resource that it is allowed on."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    run(world, "acme-dev", send_slack="True", create_jira="True", disable_key="True", exempt_by_tag="True")
    called = {part_of(request): set[str]() for request in world.gate.requests}
    for request in world.gate.requests:
        called[part_of(request)].add(f"{service_of(request)}:{action_of(request)}")
    assert called["credstash"] == actions("credstash")
    assert called["state-table"] <= actions("state-table")
    assert called["iam"] <= actions("audit") | actions("disable")
    assert "iam:UpdateAccessKey" in called["iam"]


def service_of(request: Request) -> str:
    """The service that a request was signed for."""
    found = re.search(r"Credential=[^/]+/\d+/[^/]+/(\w+)/aws4_request", request.headers["authorization"])
    assert found is not None
    return found[1]


def part_of(request: Request) -> str:
    match service_of(request):
        case "dynamodb":
            return "credstash" if b"credential-store" in request.body else "state-table"
        case "kms":
            return "credstash"
        case service:
            return service


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_action_exists_and_takes_the_resource_and_conditions_that_it_is_given(path: Path) -> None:
    for statement in statements(path):
        assert statement["Effect"] == "Allow"
        conditions = {key for one in statement.get("Condition", {}).values() for key in one}
        for action in statement["Action"]:
            service, name = action.split(":")
            known = get_action_data(service, name)
            assert known, f"{action} is no action of AWS"
            listed = [row for row in known[service] if row["action"] == action]
            for resource in resources(statement):
                assert any(takes(row["resource_arn_format"], resource) for row in listed), (action, resource)
            for condition in conditions:
                assert GLOBAL_CONDITIONS.match(condition) or any(
                    condition in row["condition_keys"] for row in listed
                ), (action, condition)


def resources(statement: dict[str, Any]) -> list[str]:
    """None in a trust policy, whose resource is the role that it is on."""
    found = statement.get("Resource", [])
    return [found] if isinstance(found, str) else list(found)


def takes(form: str, resource: str) -> bool:
    """Whether an ARN is of the form that an action takes; `*` alone is taken only where the action takes that."""
    pattern = re.sub(r"\\\$\\\{\w+\\\}", "[^:]+", re.escape(form))
    return form == resource if "*" in (form, resource) else re.fullmatch(pattern, resource) is not None


def test_only_what_cannot_be_narrowed_is_allowed_on_everything() -> None:
    for path in sorted(AWS.glob("policies/*.json")):
        for statement in statements(path):
            if statement["Resource"] == "*":
                reports = {"iam:GenerateCredentialReport", "iam:GetCredentialReport"}
                assert set(statement["Action"]) == {"iam:GetAccountSummary", "iam:ListUsers", *reports}
            assert not any("*" in action for action in statement["Action"])


def test_who_may_take_a_role_is_said_and_is_not_everybody() -> None:
    for path in sorted(AWS.glob("trust/*.json")):
        (statement,) = statements(path)
        ((kind, who),) = statement["Principal"].items()
        assert kind in ("Service", "Federated", "AWS")
        assert "*" not in who
        if kind != "AWS" and path.stem != "ec2":
            assert "Condition" in statement, f"{path.name} must name the namespace and the service account"


def test_the_references_table_of_permissions_names_each_file_and_what_it_allows() -> None:
    listed: dict[str, set[str]] = {}
    for row in rows("Permissions"):
        for file in re.findall(r"\(\.\./aws/policies/([\w-]+)\.json\)", row[1]):
            listed.setdefault(file, set()).update(re.findall(r"`(\w+:\w+)`", row[2]))
    assert listed == {name: actions(name) for name in listed}
    assert set(listed) == {"audit", "disable", "state-table", "credstash", "assume-roles"}
