"""What is wrong with the AWS files is said with the path, the cause, and the line as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from keycheck.services import ServiceError
from keycheck.services.aws_iam import AwsIam

KEYS = "aws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented-secret\n"
PORTAL = "sso_start_url = https://acme.awsapps.com/start\nsso_region = us-east-1\n"
ROLE = "sso_account_id = 123456789012\nsso_role_name = audit\n"
NO_PROFILE = "there is no such AWS profile"


@pytest.fixture(autouse=True)
def _in_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)


def said(profile: str = "p") -> str:
    def go_on() -> None:
        return

    with pytest.raises(ServiceError) as caught:
        AwsIam(profile, go_on, go_on).list_users(None)
    assert caught.value.holds_for_run
    assert "invented-secret" not in f"{caught.value!r}"
    return caught.value.text


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_in_a_path_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, quote: str) -> None:
    """docker's --env-file keeps them."""
    text = f"[profile p]\n{KEYS}" if variable == "AWS_CONFIG_FILE" else f"[p]\n{KEYS}"
    path = write(tmp_path / "aws", text)
    monkeypatch.setenv(variable, f"{quote}{path}{quote}")
    found = said()
    assert f"which {variable} names, cannot be read: its path stands in quotes" in found
    assert found.startswith(NO_PROFILE)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool) -> None:
    if is_named:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-such-config"))
        assert said() == (f"{NO_PROFILE}: {tmp_path}/no-such-config, which AWS_CONFIG_FILE names, is not there")
    else:
        assert said() == f"{NO_PROFILE}: {tmp_path}/.aws/config is not there; {tmp_path}/.aws/credentials is not there"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path))
    assert said() == f"{NO_PROFILE}: {tmp_path}, which AWS_CONFIG_FILE names, cannot be read: is a directory"


def test_a_file_that_cannot_be_parsed_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / ".aws/config", "[profile p]\nregion = us-east-1\n[profile q\n")
    found = said()
    assert found == f"an AWS file cannot be read: {path} cannot be parsed (line 3)"


def test_a_heading_as_the_other_file_has_it_is_shown_as_it_should_be(tmp_path: Path) -> None:
    config = write(tmp_path / ".aws/config", f"[p]\n{KEYS}")
    assert said() == f"{NO_PROFILE}: in {config} the line [p] must be [profile p]"
    config.write_text("[profile q]\nregion = us-east-1\n", encoding="utf-8")
    credentials = write(tmp_path / ".aws/credentials", f"[profile p]\n{KEYS}")
    assert said() == f"{NO_PROFILE}: in {credentials} the line [profile p] must be [p]"
    config.write_text("[profile p]\nregion = us-east-1\n", encoding="utf-8")
    assert said() == f"the profile has no credentials: in {credentials} the line [profile p] must be [p]"


def test_a_profile_in_another_case_is_named(tmp_path: Path) -> None:
    write(tmp_path / ".aws/config", f"[profile Acme-Dev]\n{KEYS}")
    assert (
        said("acme-dev") == f"{NO_PROFILE}: there is a profile 'Acme-Dev' in another case; write it as it stands there"
    )


def test_profiles_of_nearly_that_name_are_named(tmp_path: Path) -> None:
    headings = "".join(f"[{name}]\n{KEYS}" for name in ("profile acme-dev", "profile acme-prod", "profile zoo"))
    config = write(tmp_path / ".aws/config", headings)
    write(tmp_path / ".aws/credentials", f"[acme-div]\n{KEYS}")
    assert said("acme-dve") == f"{NO_PROFILE}: did you mean 'acme-div' or 'acme-dev'?"
    assert said("acme-prdo") == f"{NO_PROFILE}: did you mean 'acme-prod'?"
    assert said("mars").startswith(f"{NO_PROFILE}; look into ~/.aws/config")
    config.write_text(f"[profile q]\n[profile {'x' * 99}]\n{KEYS}", encoding="utf-8")
    assert said("x" * 98) == f"{NO_PROFILE}: did you mean one of nearly that name?"


@pytest.mark.parametrize(
    ("config", "lacks"),
    [
        (f"[profile p]\n{ROLE}sso_start_url = https://acme.awsapps.com/start\n", ("profile p", "sso_region")),
        (f"[profile p]\n{ROLE}sso_region = us-east-1\n", ("profile p", "sso_start_url")),
        (f"[profile p]\n{PORTAL}sso_account_id = 123456789012\n", ("profile p", "sso_role_name")),
        (f"[profile p]\n{PORTAL}sso_role_name = audit\n", ("profile p", "sso_account_id")),
        (f"[profile p]\n{ROLE}", ("profile p", "sso_session")),
        (
            f"[profile p]\n{ROLE}sso_session = acme\n[sso-session acme]\nsso_region = x\n",
            ("sso-session acme", "sso_start_url"),
        ),
        (
            f"[profile p]\n{ROLE}sso_session = acme\n[sso-session acme]\nsso_start_url = https://a.example\n",
            ("sso-session acme", "sso_region"),
        ),
        (
            f"[profile p]\nsso_session = acme\nsso_account_id = 123456789012\n[sso-session acme]\n{PORTAL}",
            ("profile p", "sso_role_name"),
        ),
    ],
)  # fmt: skip
def test_a_line_that_an_sso_profile_lacks_is_shown_as_it_should_be(
    tmp_path: Path, config: str, lacks: tuple[str, str]
) -> None:
    path = write(tmp_path / ".aws/config", config)
    section, name = lacks
    assert f"in {path} the section [{section}] lacks {name}; add a line like: {name} = " in said()


def test_an_sso_session_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / ".aws/config", f"[profile p]\n{ROLE}sso_session = acme\n[sso-session other]\n{PORTAL}")
    assert f"in {path} the section [sso-session acme] is missing, which [profile p] names" in said()


def test_a_web_identity_token_that_is_not_there_is_named(tmp_path: Path) -> None:
    role = "role_arn = arn:aws:iam::123456789012:role/audit\n"
    write(
        tmp_path / ".aws/config", f"[profile p]\nregion = us-east-1\n{role}web_identity_token_file = {tmp_path}/token\n"
    )
    where = f"the web identity token file {tmp_path}/token: no such file or directory"
    assert said() == f"{where}; is the service account's token mounted there (IRSA)?"


@pytest.mark.process
def test_a_credential_process_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / ".aws/config", f"[profile p]\ncredential_process = {tmp_path}/no-such-program\n")
    where = f"{tmp_path}/no-such-program: no such file or directory"
    assert said() == f"the profile's credential_process cannot be run: {where}"


@pytest.mark.process
def test_a_credential_process_that_prints_no_json_is_said(tmp_path: Path) -> None:
    write(tmp_path / ".aws/config", "[profile p]\ncredential_process = /bin/echo hello\n")
    assert said() == "the profile's credential_process /bin/echo hello printed what is no JSON; run it by hand"
