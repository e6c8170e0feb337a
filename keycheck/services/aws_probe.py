"""Who an AWS profile is, and what it may do, for --check: nothing here is called by a run that acts.

In: a profile. Out: who it is, how far this machine's clock is off, whether it may disable; or ServiceError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from keycheck.services import ServiceError
from keycheck.services.aws_errors import aws_errors
from keycheck.services.aws_session import Calls, make_client, open_session

CALLS = Calls(attempts=2, mode="standard", connections=2, read_timeout=5, connect_timeout=3, silences=2)
ASSUMED = re.compile(r"arn:([a-z-]+):sts::([0-9]{12}):assumed-role/([^/]+)/.*")


@dataclass(frozen=True, slots=True)
class Who:
    """`arn`: as STS names it. `clock_off_seconds`: this machine's clock against AWS's; None if AWS did not say."""

    arn: str
    clock_off_seconds: float | None


class AwsProbe:
    """One profile."""

    def __init__(
        self,
        profile: str,
        check: Callable[[], None],
        seconds_left: Callable[[], float],
        utc_now: Callable[[], datetime],
    ) -> None:
        self._profile = profile
        self._check = check
        self._utc_now = utc_now
        self._session = open_session(profile, "sts", seconds_left)

    def who(self) -> Who:
        client = make_client(self._session, "sts", CALLS, self._check)
        with aws_errors("sts", "GetCallerIdentity", self._profile):
            answer = client.get_caller_identity()
            said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
            off = None if said is None else (self._utc_now() - parsedate_to_datetime(said)).total_seconds()
            return Who(str(answer["Arn"]), off)

    def may_disable(self, arn: str) -> bool | None:
        """Return whether it may call iam:UpdateAccessKey on users, as IAM's simulator says; None if that may not be
        asked, or IAM does not know the caller (a role with a path).
        """
        assumed = ASSUMED.fullmatch(arn)
        source = f"arn:{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}" if assumed else arn
        found = re.match(r"arn:([a-z-]+):[a-z]+::([0-9]{12}):", arn)
        if found is None:
            return None
        client = make_client(self._session, "iam", CALLS, self._check)
        try:
            with aws_errors("iam", "SimulatePrincipalPolicy", self._profile):
                answer = client.simulate_principal_policy(
                    PolicySourceArn=source,
                    ActionNames=["iam:UpdateAccessKey"],
                    ResourceArns=[f"arn:{found[1]}:iam::{found[2]}:user/any-user"],
                )
                (result,) = answer["EvaluationResults"]
                organization = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
                return bool(result["EvalDecision"] == "allowed" and organization)
        except ServiceError:
            return None
