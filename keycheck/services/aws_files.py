"""Why botocore found no profile, or no credentials, in the AWS files: the path, the cause, the line as it should be.

In: a profile. Out: a sentence, or None if the files are not to blame. botocore passes over a file that it may not read,
and over a heading that it does not expect, as if they were not there. No value out of a file is repeated.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from configparser import Error as NotParsed
from configparser import RawConfigParser
from dataclasses import dataclass

from keycheck.words.parts import shown

SSO_PROFILE = ("sso_account_id", "sso_role_name")
SSO_PORTAL = ("sso_start_url", "sso_region")
CANNOT_BE_PARSED = "cannot be parsed"
NEAR = 0.75
"""How alike two names are that one could be typed for the other: difflib's ratio."""
EXAMPLES = {
    "sso_account_id": "123456789012",
    "sso_role_name": "SecurityAudit",
    "sso_start_url": "https://acme.awsapps.com/start",
    "sso_region": "eu-central-1",
    "sso_session": "acme",
}


@dataclass(frozen=True, slots=True)
class AwsFile:
    """One of the two files. `trouble`: why it could not be read; empty if it was. `is_named`: a variable names it."""

    variable: str
    path: str
    is_named: bool
    trouble: str
    sections: Mapping[str, Mapping[str, str]]


def why_not(profile: str) -> str | None:
    """Return what is wrong with the AWS files, as far as it is about this profile."""
    import botocore.session

    core = botocore.session.get_session()  # which knows what the variables name
    config = _read("AWS_CONFIG_FILE", core.get_config_variable("config_file"), "~/.aws/config")
    credentials = _read(
        "AWS_SHARED_CREDENTIALS_FILE", core.get_config_variable("credentials_file"), "~/.aws/credentials"
    )
    is_known = profile == "default" or f"profile {profile}" in config.sections or profile in credentials.sections
    return (
        _headings(profile, config, credentials)
        or _unreadable(config, credentials)
        or (_missing(config, credentials) if not is_known else None)
        or (_nearest(profile, config, credentials) if not is_known else None)
        or _sso(profile, config)
    )


def has_default(config_file: str, credentials_file: str) -> bool:
    """Return whether one of the two has a [default], which the AWS CLI takes where no profile is named."""
    files = _read("AWS_CONFIG_FILE", config_file, ""), _read("AWS_SHARED_CREDENTIALS_FILE", credentials_file, "")
    return any("default" in file.sections for file in files)


def _read(variable: str, given: str, default: str) -> AwsFile:
    """Read a file as botocore does, `~` and variables in its path included."""
    path = os.path.expandvars(os.path.expanduser(given))  # noqa: PTH111 - as botocore does
    sections: dict[str, Mapping[str, str]] = {}
    trouble = ""
    if len(given) > 1 and given[0] == given[-1] and given[0] in "'\"":
        trouble = "its path stands in quotes, which are part of it here; leave them out"
    else:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - likewise
                parser = RawConfigParser(default_section="", strict=False)
                parser.read_string(file.read())
            sections = {" ".join(name.split()): dict(parser.items(name)) for name in parser.sections()}
        except OSError as error:
            trouble = (error.strerror or type(error).__name__).lower()
        except NotParsed as error:
            line = getattr(error, "lineno", None) or next((one[0] for one in getattr(error, "errors", ())), None)
            trouble = f"{CANNOT_BE_PARSED}{f' (line {line})' if line else ''}"
    return AwsFile(variable, path, given != default, trouble, sections)


def _headings(profile: str, config: AwsFile, credentials: AwsFile) -> str | None:
    if profile == "default":
        return None
    as_in_credentials, as_in_config = profile in config.sections, f"profile {profile}" in credentials.sections
    if as_in_credentials and f"profile {profile}" not in config.sections:
        return f"in {config.path} the line [{profile}] must be [profile {profile}]"
    if as_in_config and profile not in credentials.sections:
        return f"in {credentials.path} the line [profile {profile}] must be [{profile}]"
    return None


def _unreadable(*files: AwsFile) -> str | None:
    """Return what is in the way of a file that is there; one that is not is told only where nothing else explains."""
    troubles = [
        f"{_named(one)} {'' if one.trouble.startswith(CANNOT_BE_PARSED) else 'cannot be read: '}{one.trouble}"
        for one in files
        if one.trouble and one.trouble != "no such file or directory"
    ]
    return "; ".join(troubles) or None


def _missing(*files: AwsFile) -> str | None:
    missing = [one for one in files if one.trouble == "no such file or directory"]
    named = [one for one in missing if one.is_named]
    if len(missing) < len(files) and not any(one.variable == "AWS_CONFIG_FILE" for one in named):
        return None
    return "; ".join(f"{_named(one)} is not there" for one in named or missing)


def _named(file: AwsFile) -> str:
    return f"{file.path}, which {file.variable} names," if file.is_named else file.path


def _nearest(profile: str, config: AwsFile, credentials: AwsFile) -> str | None:
    """Return the profiles that are there under nearly that name; botocore tells cases apart."""
    headings = [name for name in config.sections if name == "default" or name.startswith("profile ")]
    names = list(dict.fromkeys([*(name.removeprefix("profile ") for name in headings), *credentials.sections]))
    for name in names:
        if name.casefold() == profile.casefold():
            return f"there is a profile {shown(name, 'of that name')} in another case; write it as it stands there"
    near = difflib.get_close_matches(profile, names, n=3, cutoff=NEAR)
    if near:
        return f"did you mean {' or '.join(shown(name, 'one of nearly that name') for name in near)}?"
    return None


def _sso(profile: str, config: AwsFile) -> str | None:
    """Return which line of an SSO profile is missing, and where."""
    heading = "default" if profile == "default" else f"profile {profile}"
    own = config.sections.get(heading, {})
    if not any(name in own for name in ("sso_session", *SSO_PROFILE, *SSO_PORTAL)):
        return None
    session = own.get("sso_session")
    if session is None and not any(name in own for name in SSO_PORTAL):
        return _add("sso_session", heading, config)
    for name in SSO_PROFILE:
        if name not in own:
            return _add(name, heading, config)
    if session is None:
        return next((_add(name, heading, config) for name in SSO_PORTAL if name not in own), None)
    section = f"sso-session {session}"
    if section not in config.sections:
        return f"in {config.path} the section [{_safe(section)}] is missing, which [{heading}] names as its sso_session"
    return next((_add(name, section, config) for name in SSO_PORTAL if name not in config.sections[section]), None)


def _add(name: str, heading: str, config: AwsFile) -> str:
    return f"in {config.path} the section [{_safe(heading)}] lacks {name}; add a line like: {name} = {EXAMPLES[name]}"


def _safe(heading: str) -> str:
    return re.sub(r"[^\w .:/@+=-]", "?", heading)[:80]
