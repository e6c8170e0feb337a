"""What planning is told beside access keys and records: asked of real adapters over real sockets, and held to this:

what could not be read is never taken for "there is none"; nobody is asked about who needs no attention; and a refusal
costs the one that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from keycheck.accounts import Account
from keycheck.actions import SkipReason
from keycheck.model import Exemption, LabelledKey, LastUse, Level, Owner, OwnerKind, Problem
from keycheck.owners import Known
from keycheck.rules.case import UserFacts
from keycheck.services import ServiceError
from keycheck.services.aws_iam import AwsIam
from keycheck.settings import Settings
from keycheck.user_facts import CALLS_AT_ONCE, UserFactsReader
from keycheck.words.parts import NAMES_SHOWN
from sandbox.fake_iam import FakeIam, about, iam_error
from sandbox.in_memory import HourlyClock
from tests.builders import ACCOUNT, NOW, PROFILE, make_key, make_scan, make_settings

TODAY = NOW.date()
ONE = Account((PROFILE,), make_scan())


@pytest.fixture(scope="module")
def shared_iam() -> Iterator[FakeIam]:
    with FakeIam(account_id=ACCOUNT) as fake:
        yield fake


@pytest.fixture(scope="module")
def adapter(shared_iam: FakeIam, tmp_path_factory: pytest.TempPathFactory) -> AwsIam:
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(
        f"[profile {PROFILE}]\naws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented\n"
        "region = us-east-1\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(config))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        patch.setenv("AWS_ENDPOINT_URL_IAM", shared_iam.url)
        return AwsIam(PROFILE, lambda: None, lambda: None)


@pytest.fixture(name="iam")
def empty_iam(shared_iam: FakeIam) -> FakeIam:
    shared_iam.users.clear()
    shared_iam.heal()
    shared_iam.forget_calls()
    return shared_iam


def settings_for(mapping: Path, **changes: str) -> Settings:
    return make_settings(slack_id_mapping_file=str(mapping), **changes)


def finder_for(settings: Settings, profiles: Sequence[str] = (PROFILE,)) -> UserFactsReader:
    finder = UserFactsReader(settings, HourlyClock(NOW), profiles)
    finder.read_files()
    return finder


def key_of(iam: FakeIam, user_name: str, tags: dict[str, str] | None = None, *, age_days: float = 197) -> LabelledKey:
    """An access key that IAM has too, of a user with these tags."""
    user = iam.add_user(user_name, [age_days])
    user.tags |= tags or {}
    return make_key(user_name, age_days=age_days, access_key_id=user.keys[0].access_key_id)


def facts_of(
    finder: UserFactsReader, keys: Sequence[LabelledKey], lookups: dict[str, str | None] | None = None
) -> dict[str, UserFacts]:
    return dict(finder.facts(Account((PROFILE,), make_scan(keys)), keys, Known(lookups or {})).users)


def texts(finder: UserFactsReader, level: Level = Level.ERROR) -> list[str]:
    return [one.text for one in finder.problems if one.level is level]


# Files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file or directory"),
        (b"mapping = {\n'a': 'U1',\n'\xff': 'U2'}", "line 3: not UTF-8"),
        (b"import os\n", "line 1"),
        (b"#" * 4_000_001, "line 1: more than 4,000,000 bytes"),
    ],
    ids=["absent", "not UTF-8", "a programme", "too long"],
)
def test_a_mapping_that_cannot_be_used_leaves_every_owner_unread(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    """And unread is not unknown: the fallback channel is not told, and nothing is disabled."""
    path = tmp_path / "slack_ids.py"
    if content is not None:
        path.write_bytes(content)
    finder = finder_for(settings_for(path, slack_fallback_channel="C0SECURITY"), ["acme-dev", "acme-prod"])
    assert not finder.is_mapping_usable
    assert facts_of(finder, [make_key()])["dev_kramer"].owner == Owner(OwnerKind.UNREAD)
    assert [one.profile for one in finder.problems] == ["acme-dev", "acme-prod"]
    for text in texts(finder):
        assert text.startswith(f"nobody is nagged: slack_id_mapping_file {path}: ")
        assert why in text


@pytest.mark.parametrize("content", [None, "[[exemption]\n", "[[exemption]]\nuser = 'dev_kramer'\n"])
def test_an_exemptions_file_that_cannot_be_used_holds_every_user(
    tmp_path: Path, mapping: Path, content: str | None
) -> None:
    path = tmp_path / "exemptions.toml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    finder = finder_for(settings_for(mapping, exemptions_file=str(path)))
    users = facts_of(finder, [make_key("dev_kramer"), make_key("dev_costanza", access_key_id="AKIA0000000000000002")])
    assert [(one.not_disabled_because, one.exemption) for one in users.values()] == [
        (SkipReason.EXEMPTIONS_UNREAD, None)
    ] * 2
    (text,) = texts(finder)
    assert text.startswith(f"nothing is disabled: exemptions_file {path}: ")


def test_without_slack_the_mapping_is_not_read(tmp_path: Path) -> None:
    finder = finder_for(settings_for(tmp_path / "absent", send_slack="False"))
    assert finder.problems == []
    assert facts_of(finder, [make_key()])["dev_kramer"].owner.kind is OwnerKind.UNKNOWN


# Tags


def test_tags_are_read_only_of_users_that_the_mapping_does_not_name(
    iam: FakeIam, adapter: AwsIam, mapping: Path
) -> None:
    finder = finder_for(settings_for(mapping))
    keys = [key_of(iam, "dev_kramer"), key_of(iam, "dev_costanza", {"slack_id": "U012COSTANZA"})]
    finder.read_tags(ONE, [adapter], [*keys, make_key("dev_costanza", access_key_id="AKIA0000000000000002")])
    assert [call.params["UserName"] for call in iam.log] == ["dev_costanza"]
    owner = facts_of(finder, keys)["dev_costanza"].owner
    assert owner.addressee is not None
    assert owner.addressee.slack_id == "U012COSTANZA"


@pytest.mark.parametrize("changes", [{"exempt_by_tag": "True"}, {"jira_assign_owner": "True"}])
def test_tags_of_all_are_read_where_they_may_exempt_or_name_an_address(
    iam: FakeIam, adapter: AwsIam, mapping: Path, changes: dict[str, str]
) -> None:
    finder = finder_for(settings_for(mapping, **changes))
    finder.read_tags(ONE, [adapter], [key_of(iam, "dev_kramer")])
    assert iam.calls["ListUserTags"] == 1


@pytest.mark.usefixtures("no_back_off")
def test_tags_that_were_not_read_hold_their_user_and_tell_nobody_else(
    iam: FakeIam, adapter: AwsIam, mapping: Path
) -> None:
    finder = finder_for(settings_for(mapping, slack_fallback_channel="C0SECURITY"))
    keys = [key_of(iam, "dev_costanza"), key_of(iam, "dev_newman")]
    iam.inject(iam_error("ServiceFailure"), about("ListUserTags", "dev_costanza"))
    finder.read_tags(ONE, [adapter], keys)
    users = facts_of(finder, keys)
    assert users["dev_costanza"].not_disabled_because is SkipReason.TAGS_UNREAD
    assert users["dev_costanza"].owner.kind is OwnerKind.UNREAD
    assert users["dev_newman"].not_disabled_because is None
    assert users["dev_newman"].owner.addressee is not None
    (text,) = texts(finder)
    assert text.startswith("the tags of 1 users were not read, so their access keys are not disabled: iam:ListUserTags")
    assert text.endswith(": dev_costanza")


def test_a_refusal_costs_the_one_user_that_it_is_about(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    """However many are asked about at once, and whichever answer comes first."""
    finder = finder_for(settings_for(mapping))
    keys = [key_of(iam, f"user{number:03}") for number in range(60)]
    for number in (0, 30, 59):
        iam.inject(iam_error("AccessDenied"), about("ListUserTags", f"user{number:03}"))
    finder.read_tags(ONE, [adapter], keys)
    held = [name for name, one in facts_of(finder, keys).items() if one.not_disabled_because is not None]
    assert held == ["user000", "user030", "user059"]
    (problem,) = finder.problems
    assert problem.count == 3


def test_after_an_answer_about_the_credentials_nobody_else_is_asked_about(
    iam: FakeIam, adapter: AwsIam, mapping: Path
) -> None:
    finder = finder_for(settings_for(mapping))
    keys = [key_of(iam, f"user{number:03}") for number in range(60)]
    iam.inject(iam_error("ExpiredToken"), about("ListUserTags"))
    finder.read_tags(ONE, [adapter], keys)
    assert iam.calls["ListUserTags"] <= CALLS_AT_ONCE
    assert {one.not_disabled_because for one in facts_of(finder, keys).values()} == {SkipReason.TAGS_UNREAD}


def test_tags_that_nobody_may_read_are_said_once(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping))
    keys = [key_of(iam, f"user{number:03}") for number in range(60)]
    iam.inject(iam_error("AccessDenied"), about("ListUserTags"))
    finder.read_tags(ONE, [adapter], keys)
    assert {one.not_disabled_because for one in facts_of(finder, keys).values()} == {SkipReason.TAGS_UNREAD}
    (problem,) = finder.problems
    assert problem.count == len(keys)
    assert problem.text.count("user0") == NAMES_SHOWN


def test_a_malformed_tag_exempts_nobody_and_holds_the_user(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping, exempt_by_tag="True"))
    key = key_of(iam, "dev_kramer", {"keycheck:exempt-until": "soon", "keycheck:exempt-reason": "because"})
    finder.read_tags(ONE, [adapter], [key])
    facts = facts_of(finder, [key])["dev_kramer"]
    assert (facts.exemption, facts.not_disabled_because) == (None, SkipReason.BAD_EXEMPT_TAG)
    assert facts.owner.kind is OwnerKind.KNOWN
    ((text,), subjects) = texts(finder, Level.WARNING), [one.subject for one in finder.problems]
    assert "does not count" in text
    assert subjects == ["dev_kramer"]


def test_tags_exempt_only_where_the_settings_say_so(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    until = TODAY + timedelta(days=30)
    tags = {"keycheck:exempt-until": until.isoformat(), "keycheck:exempt-reason": "a migration"}
    key = key_of(iam, "dev_costanza", tags)
    for changes, exemption in (({}, None), ({"exempt_by_tag": "True"}, (until, "a migration"))):
        finder = finder_for(settings_for(mapping, **changes))
        finder.read_tags(ONE, [adapter], [key])
        found = facts_of(finder, [key])["dev_costanza"].exemption
        assert (found and (found.until, found.reason)) == exemption


def test_the_file_exempts_a_user_whose_tags_could_not_be_read(
    iam: FakeIam, adapter: AwsIam, mapping: Path, tmp_path: Path
) -> None:
    path = tmp_path / "exemptions.toml"
    until = TODAY + timedelta(days=30)
    rule = (
        f'[[exemption]]\naccount = "{ACCOUNT}"\nuser = "dev_*"\nuntil = {until.isoformat()}\nreason = "a migration"\n'
    )
    path.write_text(rule, encoding="utf-8")
    finder = finder_for(settings_for(mapping, exempt_by_tag="True", exemptions_file=str(path)))
    key = key_of(iam, "dev_costanza")
    iam.inject(iam_error("AccessDenied"), about("ListUserTags"))
    finder.read_tags(ONE, [adapter], [key])
    facts = facts_of(finder, [key])["dev_costanza"]
    assert isinstance(facts.exemption, Exemption)
    assert facts.exemption.until == until


def test_what_one_profile_may_not_read_another_of_the_account_may(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    refused, keys = Mock(), [key_of(iam, "dev_costanza", {"slack_id": "U012COSTANZA"})]
    refused.list_user_tags.side_effect = refused.last_used.side_effect = ServiceError("iam", "any", "it said no")
    finder = finder_for(settings_for(mapping))
    finder.read_tags(ONE, [refused, adapter], keys)
    assert facts_of(finder, keys)["dev_costanza"].owner.kind is OwnerKind.KNOWN
    access_key = keys[0].access_key
    facts = finder.facts(ONE, keys, Known())
    seen = finder.read_uses(PROFILE, facts, [access_key], {access_key.access_key_id: [refused, adapter]})
    assert seen.last_uses == {access_key.access_key_id: LastUse(None)}
    assert finder.problems == []


def test_an_exemption_may_name_any_profile_of_the_account(iam: FakeIam, mapping: Path, tmp_path: Path) -> None:
    path, until = tmp_path / "exemptions.toml", TODAY + timedelta(days=30)
    path.write_text(f'[[exemption]]\naccount = "zz"\nuser = "dev_*"\nuntil = {until}\nreason = "x"\n', encoding="utf-8")
    keys = [key_of(iam, "dev_kramer")]
    for profiles, is_exempt in ((("acme-dev", "zz"), True), (("zz", "acme-dev"), True), (("acme-dev",), False)):
        finder = finder_for(settings_for(mapping, exemptions_file=str(path)), profiles)
        found = finder.facts(Account(profiles, make_scan(keys)), keys, Known()).user("dev_kramer")
        assert (found.exemption is not None) is is_exempt


# Addresses


def test_who_could_not_be_looked_up_is_not_unknown(mapping: Path) -> None:
    finder = finder_for(settings_for(mapping, slack_fallback_channel="C0SECURITY"))
    assert facts_of(finder, [make_key("a@example.com")])["a@example.com"].owner.kind is OwnerKind.UNREAD


def test_only_addresses_on_which_an_owner_depends_are_looked_up(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping))
    keys = [
        key_of(iam, "dev_kramer", {"email": "kramer@example.com"}),
        key_of(iam, "dev_costanza", {"slack_id": "U012COSTANZA", "email": "costanza@example.com"}),
        key_of(iam, "dev_newman", {"email": "Newman@Example.com"}),
        key_of(iam, "elaine@example.com"),
    ]
    finder.read_tags(ONE, [adapter], keys)
    assert finder.emails(ONE, keys) == ("newman@example.com", "elaine@example.com")


def test_where_nobody_is_told_on_slack_nobody_is_looked_up_there(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping, send_slack="False", jira_assign_owner="True"))
    keys = [key_of(iam, "dev_newman", {"email": "newman@example.com"}), key_of(iam, "elaine@example.com")]
    finder.read_tags(ONE, [adapter], keys)
    assert finder.emails(ONE, keys) == ()


# Last uses


def test_a_last_use_is_read_with_its_service_and_region(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping))
    key = key_of(iam, "dev_kramer")
    iam.use_key(key.access_key.access_key_id, NOW - timedelta(hours=1), "s3", "eu-west-1")
    facts = finder.facts(Account((PROFILE,), make_scan([key])), [key], Known())
    seen = finder.read_uses(PROFILE, facts, [key.access_key], {key.access_key.access_key_id: [adapter]})
    assert seen.last_uses == {key.access_key.access_key_id: LastUse(NOW - timedelta(hours=1), "s3", "eu-west-1")}
    assert seen.users == facts.users
    assert iam.calls["GetAccessKeyLastUsed"] == 1


@pytest.mark.usefixtures("no_back_off")
def test_a_last_use_that_was_not_read_is_none_and_is_said_once(iam: FakeIam, adapter: AwsIam, mapping: Path) -> None:
    finder = finder_for(settings_for(mapping))
    keys = [key_of(iam, "dev_kramer"), key_of(iam, "dev_newman")]
    iam.inject(iam_error("ServiceFailure"), about("GetAccessKeyLastUsed"))
    facts = finder.facts(Account((PROFILE,), make_scan(keys)), keys, Known())
    wanted = [key.access_key for key in keys]
    seen = finder.read_uses(PROFILE, facts, wanted, {one.access_key_id: [adapter] for one in wanted})
    assert set(seen.last_uses.values()) == {None}
    assert len(seen.last_uses) == 2
    (problem,) = finder.problems
    assert isinstance(problem, Problem)
    assert problem.text.startswith("the last use of 2 access keys was not read: iam:GetAccessKeyLastUsed")
