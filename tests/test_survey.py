"""What is read before planning: each service only when needed, and what could not be read is never "there is none"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keycheck.accounts import Account, accounts_of
from keycheck.labels import label_key
from keycheck.model import LabelledKey, OwnerKind, State
from keycheck.scan import Scanner
from keycheck.services import ServiceError
from keycheck.settings import SWITCHES, parse
from keycheck.survey import Ground, Survey, Surveyor
from sandbox.in_memory import HourlyClock, MemoryAccount
from tests.builders import ACCOUNT, DAY, EVERYTHING, NOW, PROFILE, make_access_key
from tests.opened import Opened

OLD, YOUNG = make_access_key(age=197 * DAY), make_access_key("dev_jones", age=3 * DAY, access_key_id="AKIA0000000YOUNG")


class Surveyed:
    """One survey of an account, scanned by each of the profiles."""

    def __init__(
        self, outside: Opened, mapping: Path, *profiles: str, is_dry_run: bool = False, **environ: str
    ) -> None:
        self.outside = outside
        settings = parse({**EVERYTHING, **environ}, mapping)
        clock = HourlyClock(NOW)
        clock.set_timeout(60)
        names = profiles or (PROFILE,)
        scanner = Scanner(names, outside.open_iam, clock, settings)
        scanner.run()
        self.accounts = accounts_of(scanner.scans())
        self.surveyor = Surveyor(names, settings, clock, outside, scanner, is_dry_run=is_dry_run)

    def labelled(self, account: Account) -> tuple[LabelledKey, ...]:
        return tuple(label_key(key, NOW, expire_age=180, expiring_days=15) for key in account.scan.keys)

    def ground(self) -> Ground:
        return self.surveyor.ground(self.accounts, {one.profile: self.labelled(one) for one in self.accounts})

    def survey(self) -> Survey:
        return self.surveyor.survey(self.ground(), frozenset({"AKIAOFTHEENVIRONMENT"}))

    def said(self) -> list[str]:
        return [problem.text for problem in self.surveyor.problems]


@pytest.fixture
def account() -> MemoryAccount:
    return MemoryAccount(ACCOUNT, NOW, keys={one.access_key_id: one for one in (OLD, YOUNG)})


def refused(service: str) -> ServiceError:
    return ServiceError(service, "open", "it said no")


# First what may be counted


def test_with_nothing_on_no_table_is_opened(account: MemoryAccount, mapping: Path) -> None:
    off: dict[str, Any] = dict.fromkeys(SWITCHES, "False")
    one = Surveyed(Opened(account), mapping, **off)
    ground = one.ground()
    assert (ground.state, ground.claims, ground.due) == (State(), None, {})
    assert one.outside.opened == [f"iam {PROFILE}"]


def test_only_users_whose_access_keys_need_attention_are_asked_about(account: MemoryAccount, mapping: Path) -> None:
    facts = Surveyed(Opened(account), mapping).ground().facts[PROFILE]
    assert set(facts.users) == {"dev_kramer"}
    assert facts.user("dev_kramer").owner.kind is OwnerKind.KNOWN
    assert facts.user("dev_jones").owner.kind is OwnerKind.UNREAD, "of whom nothing is known, nothing is disabled"


def test_a_table_that_cannot_be_used_is_no_empty_one(account: MemoryAccount, mapping: Path) -> None:
    one = Surveyed(Opened(account, errors={"claims": refused("dynamodb")}), mapping)
    ground = one.ground()
    assert (ground.state, ground.claims) == (None, None)
    assert one.said() == [
        "nothing is filed, sent or disabled without state: it said no (aws_dynamodb_profile_name=acme-state)"
    ]


def test_an_exemptions_file_that_cannot_be_read_holds_everybody(
    account: MemoryAccount, mapping: Path, tmp_path: Path
) -> None:
    one = Surveyed(Opened(account), mapping, exemptions_file=str(tmp_path / "missing.toml"))
    assert one.ground().facts[PROFILE].user("dev_kramer").not_disabled_because is not None
    assert one.said()[0].startswith("nothing is disabled: exemptions_file")


@pytest.mark.parametrize("profiles", [("one", "two"), ("two", "one")])
def test_two_profiles_of_one_account_are_one_account(
    account: MemoryAccount, mapping: Path, profiles: tuple[str, str]
) -> None:
    one = Surveyed(Opened(account), mapping, *profiles)
    ground = one.ground()
    assert list(ground.facts) == list(ground.due) == ["one"]
    assert ground.facts["one"].sees_whole_account


# Then what is only needed for acting


def test_jira_is_asked_for_all_open_issues_once(account: MemoryAccount, mapping: Path) -> None:
    one = Surveyed(Opened(account), mapping)
    assert one.survey().known.open_issues == {}
    assert one.outside.opened == [f"iam {PROFILE}", "claims", "messages", "issues"]


def test_a_jira_that_cannot_be_asked_has_not_no_issues(account: MemoryAccount, mapping: Path) -> None:
    one = Surveyed(Opened(account, errors={"issues": refused("Jira")}), mapping)
    survey = one.survey()
    assert (survey.issues, survey.known.open_issues) == (None, None)
    assert one.said() == ["no issues are filed: it said no"]


def test_a_jira_that_is_not_needed_is_not_asked(account: MemoryAccount, mapping: Path) -> None:
    account.keys = {YOUNG.access_key_id: YOUNG}
    one = Surveyed(Opened(account), mapping)
    assert one.survey().known.open_issues is None
    assert "issues" not in one.outside.opened


def test_what_this_run_depends_on_is_known_before_anything_is_planned(account: MemoryAccount, mapping: Path) -> None:
    assert Surveyed(Opened(account), mapping).survey().known.own_access_key_ids >= {"AKIAOFTHEENVIRONMENT"}


def test_slack_is_opened_once_and_said_once(account: MemoryAccount, mapping: Path) -> None:
    one = Surveyed(Opened(account, errors={"messages": refused("Slack")}), mapping)
    assert [one.surveyor.messages([PROFILE]) for _ in range(3)] == [None] * 3
    assert one.outside.opened.count("messages") == 1
    assert one.said() == ["nobody is nagged: it said no"]


def test_a_mapping_file_that_cannot_be_used_names_nobody(account: MemoryAccount, mapping: Path) -> None:
    mapping.write_text("mapping = None\n", encoding="utf-8")
    one = Surveyed(Opened(account), mapping)
    survey = one.survey()
    assert not survey.known.slack_is_usable
    assert one.ground().facts[PROFILE].user("dev_kramer").owner.kind is OwnerKind.UNREAD


def test_a_dry_run_makes_no_table_and_says_that_one_would_be_made(account: MemoryAccount, mapping: Path) -> None:
    asked: list[Any] = []

    class NoTable:
        own_access_key_ids: frozenset[str] = frozenset()

        def open(self, *, create: bool) -> bool:
            asked.append(create)
            return False

    outside = Opened(account)
    outside.open_claims = NoTable  # type: ignore[method-assign, assignment]
    one = Surveyed(outside, mapping, is_dry_run=True)
    ground = one.ground()
    assert (ground.state, asked) == (State(), [False, False])
    assert one.surveyor.dry_run_lines == [(PROFILE, "would create the table iam-access-key-alert")]
