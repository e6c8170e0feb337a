"""Whether a text is a secret that stands where its name, or something else, belongs. Pure.

In: what a person typed. Out: what kind of secret it looks like, for a sentence that does not repeat it. It never says
that a text is none: only the kinds of today are known.
"""

from __future__ import annotations

import re
from typing import Final

KINDS: Final = (
    ("a Slack token", re.compile(r"xox[a-z]{1,2}[-.]|xapp-|xwfp-")),
    ("a Slack webhook's address", re.compile(r"hooks\.slack(-gov)?\.com/", re.IGNORECASE)),
    ("an Atlassian token", re.compile(r"AT[A-Z]TT[A-Za-z0-9]|ATBB[A-Za-z0-9]{8}")),
    ("a JSON Web Token", re.compile(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}")),
    ("an AWS access key", re.compile(r"(?<![A-Za-z0-9])(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12}")),
    ("a private key", re.compile(r"-----BEGIN ")),
    ("a GitHub or GitLab token", re.compile(r"gh[opsur]_[A-Za-z0-9]{10}|github_pat_|glpat-")),
    ("a secret", re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=[^0-9]*[0-9])(?!/)[A-Za-z0-9/+]{40,}={0,2}")),
)
"""The last kind is what AWS's secret access keys and Jira Data Center's tokens look like: it must be the whole text."""


def kind_of_secret(text: str) -> str | None:
    """Return what kind of secret a text holds, or looks like; None if it looks like none."""
    for kind, pattern in KINDS[:-1]:
        if pattern.search(text):
            return kind
    kind, whole = KINDS[-1]
    return kind if whole.fullmatch(text) else None
