"""What AWS says of a refusal, by the operation in its answer: each row of the table, and each kind of policy."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keycheck.services import Failure
from keycheck.services.aws_errors import CREDENTIAL_CODES, PERMISSION_CODES, answered
from keycheck.services.aws_operations import DENIERS, OPERATIONS, read_refusal

SERVICES = Path(__file__).resolve().parents[2] / "keycheck" / "services"
ROLE = "arn:aws:iam::210987654321:role/audit"
WHO = "User: arn:aws:iam::123456789012:user/secret-name is not authorized to perform:"


def client_error(operation: str, code: str, message: str = "", status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def said(operation: str, code: str, message: str = "") -> str:
    error = answered("iam", "ListUsers", client_error(operation, code, message))
    assert "secret-name" not in error.text
    assert error.failure is Failure.REFUSED
    return error.text


def test_every_operation_that_the_adapters_call_is_in_the_table() -> None:
    called = set()
    for name in ("aws_iam", "state_table", "secrets"):
        for node in ast.walk(ast.parse((SERVICES / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                words = node.attr.split("_")
                called.add("".join(word.capitalize() for word in words))
    known = {name for name in called if name in OPERATIONS}
    assert {"ListUsers", "ListAccessKeys", "UpdateAccessKey", "UpdateItem", "BatchGetItem"} <= known


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_operation_in_the_answer_decides_and_not_the_call_we_made(operation: str) -> None:
    row = OPERATIONS[operation]
    call = f"{row.service}:{operation}"
    assert said(operation, "AccessDenied") == f"{call} was refused (AccessDenied); {row.allow}"
    assert said(operation, "Throttling") == (
        f"{call} failed (Throttling, HTTP 400): all programs in the account share this limit, and keycheck slowed down "
        "already; the next run tries again"
    )
    expired = "ExpiredTokenException"
    if expired not in row.advice:
        assert said(operation, expired) == f"{CREDENTIAL_CODES[expired]} ({expired} on {call})"
    for code, advice in row.advice.items():
        assert said(operation, code) == f"{call} failed ({code}): {advice}"
    for code in (*PERMISSION_CODES, "Throttling", *row.advice):
        error = answered("iam", "ListUsers", client_error(operation, code))
        assert error.holds_for_run is row.is_sign_in
        assert error.code == code


def test_a_role_that_cannot_be_assumed_is_named_with_its_trust_policy() -> None:
    text = said("AssumeRole", "AccessDenied", f"{WHO} sts:AssumeRole on resource: {ROLE}")
    assert text == (
        f"sts:AssumeRole was refused (AccessDenied) on {ROLE}; let the role's trust policy name the profile's user or "
        "role, and allow that one sts:AssumeRole"
    )


@pytest.mark.parametrize("kind", DENIERS)
def test_who_denies_is_said(kind: str) -> None:
    """IAM User Guide, "Troubleshoot access denied error messages": the sentences have these forms."""
    article = "an" if kind[0] in "aeiou" else "a"
    denied = (
        f"{WHO} iam:ListUsers on resource: arn:aws:iam::123456789012:user/ with an explicit deny in {article} {kind}"
    )
    text = said("ListUsers", "AccessDenied", denied)
    assert text == f"iam:ListUsers was refused (AccessDenied); an explicit deny in a {kind}: {DENIERS[kind]}"
    missing = f"{WHO} iam:ListUsers because no {kind} allows the iam:ListUsers action"
    text = said("ListUsers", "AccessDenied", missing)
    assert text.startswith(f"iam:ListUsers was refused (AccessDenied); no {kind} allows it: ")


def test_a_policys_own_arn_behind_its_kind_changes_nothing() -> None:
    sentence = (
        f"{WHO} iam:ListUsers with an explicit deny in a service control policy: arn:aws:organizations::1:policy/p"
    )
    assert "explicit deny in a service control policy: ask who manages" in said("ListUsers", "AccessDenied", sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "Access Denied",
        "not authorized to perform: rm -rf on resource: arn:aws:iam::123456789012:role/x y\nE! forged",
        "on resource: arn:aws:iam::123456789012:role/" + "x" * 5000,
        "not authorized to perform: <script>:Alert",
        "with an explicit deny in a friendly policy",
    ],
)
def test_of_a_sentence_of_another_form_nothing_that_could_spoil_a_line_is_taken(sentence: str) -> None:
    found = read_refusal(sentence)
    for part in (found.action, found.resource, found.denied_by):
        assert re.fullmatch(r"[A-Za-z0-9_/+=,.@:* -]{0,300}", part)
