"""What AWS is asked for by whom, and what helps where it is refused. Data, and the reading of AWS's sentence.

In: an operation's name, AWS's own sentence. Out: words for a person. The operation is the one that AWS names in its
answer: a profile that cannot assume its role is refused sts:AssumeRole, whatever it was to call then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ALLOW_IT = "allow it to the profile's user or role"


@dataclass(frozen=True, slots=True)
class Operation:
    """`service`: as IAM's policies name it. `allow`: what helps where it is refused. `is_sign_in`: botocore calls it
    for the profile's credentials, before anything else. `advice`: by error code, what else can be wrong.
    """

    service: str
    allow: str = ALLOW_IT
    is_sign_in: bool = False
    advice: Mapping[str, str] = field(default_factory=dict)


_ASSUME_ROLE = Operation(
    "sts",
    "let the role's trust policy name the profile's user or role, and allow that one sts:AssumeRole",
    is_sign_in=True,
    advice={
        "ValidationError": "look at role_arn, external_id, role_session_name and duration_seconds of the profile",
        "RegionDisabledException": "STS is not active in the profile's region; activate it in the account, or set "
        "another region",
        "PackedPolicyTooLarge": "the session's tags are too long",
    },
)
_WEB_IDENTITY = Operation(
    "sts",
    "let the role's trust policy name the identity provider, and this service account",
    is_sign_in=True,
    advice={
        "ExpiredTokenException": "the web identity token has expired; whoever writes the file that "
        "AWS_WEB_IDENTITY_TOKEN_FILE or web_identity_token_file names must renew it",
        "InvalidIdentityToken": "the account does not know who issued the web identity token; add that identity "
        "provider (OIDC) to it",
        "IDPRejectedClaim": "the identity provider refuses the web identity token",
        "IDPCommunicationError": "AWS could not reach the identity provider; the next run tries again",
        "ValidationError": "look at role_arn, role_session_name and the web identity token",
    },
)
_SSO = "the SSO user has no such role in that account; look at sso_account_id and sso_role_name"
OPERATIONS: Final[Mapping[str, Operation]] = {
    **dict.fromkeys(
        (
            "ListUsers",
            "ListAccessKeys",
            "ListUserTags",
            "GetAccessKeyLastUsed",
            "GetAccountSummary",
            "GenerateCredentialReport",
            "GetCredentialReport",
            "UpdateAccessKey",
        ),
        Operation("iam"),
    ),
    **dict.fromkeys(
        (
            *("BatchGetItem", "CreateTable", "DescribeTable", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"),
            "UpdateTimeToLive",
        ),
        Operation("dynamodb"),
    ),
    "Decrypt": Operation("kms", "allow it on that key to the profile's user or role"),
    "GetCallerIdentity": Operation("sts"),
    "AssumeRole": _ASSUME_ROLE,
    "AssumeRoleWithWebIdentity": _WEB_IDENTITY,
    "GetRoleCredentials": Operation(
        "sso",
        _SSO,
        is_sign_in=True,
        advice={"ForbiddenException": _SSO, "ResourceNotFoundException": _SSO, "InvalidRequestException": _SSO},
    ),
    "CreateToken": Operation("sso-oauth", "run: aws sso login", is_sign_in=True),
    "CreateOAuth2Token": Operation("signin", "run: aws login", is_sign_in=True),
}

_ORGANIZATION = "ask who manages the organization: no permission of the user or role outweighs it"
DENIERS: Final[Mapping[str, str]] = {
    "service control policy": _ORGANIZATION,
    "resource control policy": _ORGANIZATION,
    "permissions boundary": "widen the boundary of the profile's user or role",
    "session policy": "the session was begun with a policy that is narrower than its role",
    "VPC endpoint policy": "change the policy of the VPC endpoint",
    "role trust policy": "let the role's trust policy name the profile's user or role",
    "resource-based policy": "change the policy of what was asked for, such as the KMS key's",
    "identity-based policy": "change the policies of the profile's user or role",
}
"""Who denies, as AWS's sentence has it, and what helps: IAM User Guide, "Troubleshoot access denied error messages"."""
_KINDS = "|".join(DENIERS)
_DENIED = re.compile(rf"explicit deny in (?:a |an |the )?({_KINDS})", re.IGNORECASE)
_NOT_ALLOWED = re.compile(rf"because no ({_KINDS}) allows", re.IGNORECASE)
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]{2,40}:[A-Za-z]{2,60})\b")
_RESOURCE = re.compile(r"on resource: (arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_/+=,.@:*-]{1,200})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What AWS's sentence says beside its code; empty where it does not."""

    action: str
    resource: str
    denied_by: str
    is_explicit: bool

    def advice(self, allow: str) -> str:
        """Return who denies, if AWS says so, and what helps."""
        if not self.denied_by:
            return allow
        helps = DENIERS[self.denied_by]
        if self.is_explicit:
            return f"an explicit deny in a {self.denied_by}: {helps}"
        return f"no {self.denied_by} allows it: {allow if self.denied_by == 'identity-based policy' else helps}"


def read_refusal(sentence: str) -> Refusal:
    """Read AWS's sentence. Nothing of it is repeated but an action, the ARN of a resource and a kind of policy."""
    action, resource = _ACTION.search(sentence), _RESOURCE.search(sentence)
    explicit, missing = _DENIED.search(sentence), _NOT_ALLOWED.search(sentence)
    found = explicit or missing
    by_name = {kind.casefold(): kind for kind in DENIERS}
    return Refusal(
        action[1] if action else "",
        resource[1].rstrip(".,") if resource else "",
        by_name[found[1].casefold()] if found else "",
        explicit is not None,
    )
