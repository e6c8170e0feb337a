"""Users and access keys out of IAM: every page, every access key, and Inactive for the one that was named.

boto3 itself, over real sockets, against the sandbox's IAM, which pages, throttles and drops as AWS does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keycheck.clock import Stopped
from keycheck.credential_report import read_report
from keycheck.listing import ListedUser
from keycheck.model import FIRST_CREATION, AccessKey, LastUse
from keycheck.services import Failure, ServiceError
from keycheck.services.aws_iam import CONCURRENT_CALLS, AwsIam
from keycheck.services.aws_session import PACED_ATTEMPTS
from sandbox.fake_iam import IAM_NAMESPACE, FakeIam, FakeKey, about, iam_error, new_access_key_id
from sandbox.http_fake import Answer, FakeServer, Fault, Request
from tests.builders import ACCOUNT, NOW, PROFILE


def go_on() -> None:
    """The clock's answer while there is time."""


def stop() -> None:
    raise Stopped


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AwsIam]:
    """The adapter, pointed at a URL."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(
        f"[profile {PROFILE}]\naws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented\n"
        "region = us-east-1\n",
        encoding="utf-8",
    )

    def connected(url: str, check_read: Callable[[], None] = go_on, check_write: Callable[[], None] = go_on) -> AwsIam:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CONFIG_FILE", str(config))
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
            patch.setenv("AWS_ENDPOINT_URL_IAM", url)
            return AwsIam(PROFILE, check_read, check_write)

    return connected


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeIam]:
    with FakeIam(account_id=ACCOUNT, keys_per_page=1) as fake:
        yield fake


@pytest.fixture(scope="module")
def iam(shared: FakeIam, connect: Callable[..., AwsIam]) -> AwsIam:
    """One for most tests: making its clients takes longer than they do."""
    return connect(shared.url)


@pytest.fixture
def fake(shared: FakeIam) -> FakeIam:
    """What `iam` talks to: nobody in it, three users and one access key a page."""
    shared.users.clear()
    shared.users_per_page = 3
    shared.heal()
    shared.forget_calls()
    return shared


def all_users(iam: AwsIam) -> list[tuple[str, str]]:
    users, marker = iam.list_users(None)
    found = list(users)
    while marker is not None:
        users, marker = iam.list_users(marker)
        found += users
    return [(user.user_name, user.account_id) for user in found]


def keys_of(iam: AwsIam, user_name: str) -> Sequence[AccessKey]:
    keys = iam.list_access_keys(user_name, ACCOUNT)
    assert keys is not None
    return keys


# Users


def test_users_of_all_pages_are_listed_with_the_account_of_their_arn(fake: FakeIam, iam: AwsIam) -> None:
    names = [f"user{number}" for number in range(8)]
    for name in names:
        fake.add_user(name)
    assert all_users(iam) == [(name, ACCOUNT) for name in names]
    assert fake.calls["ListUsers"] == 3


def test_short_and_empty_pages_do_not_end_the_list(fake: FakeIam, iam: AwsIam) -> None:
    """IAM may return fewer than asked, even none, while there are more: only IsTruncated and Marker count."""
    fake.users_per_page = [2, 0, 1, 0, 0, 4]
    names = [f"user{number}" for number in range(7)]
    for name in names:
        fake.add_user(name)
    assert [name for name, _ in all_users(iam)] == names


@pytest.mark.usefixtures("fake")
def test_an_account_without_users_is_an_empty_list(iam: AwsIam) -> None:
    assert iam.list_users(None) == ([], None)


def test_a_user_with_a_path_and_odd_characters_keeps_name_and_account(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("a+=,.@_-b").path = "/people/dev/"
    assert all_users(iam) == [("a+=,.@_-b", ACCOUNT)]


def test_users_of_another_partition_have_their_account_too(connect: Callable[..., AwsIam]) -> None:
    with FakeIam(account_id=ACCOUNT, partition="aws-us-gov") as fake:
        fake.add_user("dev_kramer")
        assert all_users(connect(fake.url)) == [("dev_kramer", ACCOUNT)]


def test_a_page_that_fails_is_an_error_and_not_the_end(fake: FakeIam, iam: AwsIam) -> None:
    for number in range(7):
        fake.add_user(f"user{number}")
    fake.inject(iam_error("AccessDenied"), about("ListUsers", page=2))
    _, marker = iam.list_users(None)
    with pytest.raises(ServiceError, match="iam:ListUsers was refused"):
        iam.list_users(marker)


def test_a_user_has_the_id_and_the_second_of_their_creation(fake: FakeIam, iam: AwsIam) -> None:
    made = fake.add_user("dev_kramer")
    (user,), _ = iam.list_users(None)
    assert (user.user_id, user.created_at) == (made.user_id, made.create_date)


@pytest.mark.parametrize("changes", [{"user_id": ""}, {"create_date": datetime(1970, 1, 1, tzinfo=UTC)}])
def test_a_user_without_a_sound_id_or_date_is_listed_and_nobody_who_was_listed_before(
    fake: FakeIam, iam: AwsIam, changes: dict[str, Any]
) -> None:
    made = fake.add_user("dev_kramer")
    for name, value in changes.items():
        setattr(made, name, value)
    (user,), _ = iam.list_users(None)
    assert user == ListedUser("dev_kramer", ACCOUNT, "", FIRST_CREATION)


# The credential report


def test_the_report_is_what_iam_has(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [10])
    fake.make_report(timedelta(hours=1))
    report = iam.credential_report()
    assert report is not None
    assert list(read_report(report.text)) == ["dev_kramer"]
    assert timedelta(minutes=59) < datetime.now(UTC) - report.made_at < timedelta(minutes=61)


@pytest.mark.parametrize("code", ["ReportNotPresent", "ReportExpired", "ReportInProgress"])
def test_without_a_report_to_be_had_there_is_none_and_no_error(fake: FakeIam, iam: AwsIam, code: str) -> None:
    fake.inject(code, action="GetCredentialReport")
    assert iam.credential_report() is None


def test_a_report_is_asked_for(fake: FakeIam, iam: AwsIam) -> None:
    fake.make_report(timedelta(hours=5))
    assert iam.credential_report() is None
    iam.request_credential_report()
    assert iam.credential_report() is not None


@pytest.mark.parametrize("code", ["Throttling", "LimitExceeded", "AccessDenied", "ServiceFailure"])
@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("GetCredentialReport", AwsIam.credential_report),
        ("GenerateCredentialReport", AwsIam.request_credential_report),
    ],
)
def test_whatever_is_refused_about_the_report_costs_two_calls_at_most(
    fake: FakeIam, iam: AwsIam, action: str, ask: Callable[[AwsIam], object], code: str
) -> None:
    """Its own throttling is harsh, and nothing is lost without it."""
    fake.inject(code, action=action)
    with pytest.raises(ServiceError, match=f"iam:{action} "):
        ask(iam)
    assert fake.calls[action] <= 2


# Access keys


def test_access_keys_of_all_pages_are_listed_also_the_third(fake: FakeIam, iam: AwsIam) -> None:
    """A race in AWS allows more than two."""
    user = fake.add_user("dev_kramer", [197, 10, 0, 5])
    keys = keys_of(iam, "dev_kramer")
    assert [key.access_key_id for key in keys] == [key.access_key_id for key in user.keys]
    assert {(key.user_name, key.account_id) for key in keys} == {("dev_kramer", ACCOUNT)}
    assert fake.calls["ListAccessKeys"] == 4


def test_every_call_names_the_user(fake: FakeIam, iam: AwsIam) -> None:
    """Without a name IAM takes the caller, and refuses temporary credentials."""
    fake.add_user("dev_kramer", [1, 2])
    keys_of(iam, "dev_kramer")
    assert [call.params["UserName"] for call in fake.log] == ["dev_kramer", "dev_kramer"]


def test_a_user_without_access_keys_has_none(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer")
    assert list(keys_of(iam, "dev_kramer")) == []


def test_a_user_who_is_gone_between_the_calls_is_none_and_no_error(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [1])
    fake.delete_user_after_listing("dev_kramer")
    assert all_users(iam) == [("dev_kramer", ACCOUNT)]
    assert iam.list_access_keys("dev_kramer", ACCOUNT) is None


def test_a_user_who_is_gone_between_two_pages_is_none_too(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [1, 2])
    fake.inject(iam_error("NoSuchEntity"), about("ListAccessKeys", page=2))
    assert iam.list_access_keys("dev_kramer", ACCOUNT) is None


@pytest.mark.parametrize("page", [1, 2])
def test_a_page_of_access_keys_that_fails_is_an_error(fake: FakeIam, iam: AwsIam, page: int) -> None:
    fake.add_user("dev_kramer", [1, 2])
    fake.inject(iam_error("AccessDenied"), about("ListAccessKeys", page=page))
    with pytest.raises(ServiceError, match="iam:ListAccessKeys was refused"):
        iam.list_access_keys("dev_kramer", ACCOUNT)


@pytest.mark.parametrize("status", ["Active", "Inactive", "Expired", "Quarantined"])
def test_a_status_is_kept_as_aws_says_it_and_only_active_is_active(fake: FakeIam, iam: AwsIam, status: str) -> None:
    fake.add_user("dev_kramer", [1], status=status)
    (key,) = keys_of(iam, "dev_kramer")
    assert (key.status, key.is_active) == (status, status == "Active")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_dates_are_aware_utc_wherever_the_machine_is(
    fake: FakeIam, iam: AwsIam, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    fake.add_user("dev_kramer", [197], now=NOW)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        (key,) = keys_of(iam, "dev_kramer")
    time.tzset()
    assert key.create_date == NOW - timedelta(days=197)
    assert key.create_date.tzinfo is UTC


class OddPages(FakeServer):
    """An IAM whose every page says that there is more. `marker`: what each names as the next one's; None is nothing."""

    def __init__(self, marker: str | None) -> None:
        super().__init__()
        self._marker = marker

    def serve(self, request: Request) -> Answer:
        action = "ListUsers" if b"Action=ListUsers" in request.body else "ListAccessKeys"
        name = "Users" if action == "ListUsers" else "AccessKeyMetadata"
        marker = "" if self._marker is None else f"<Marker>{self._marker}</Marker>"
        page = f"<{name}/><IsTruncated>true</IsTruncated>{marker}"
        xml = f'<{action}Response xmlns="{IAM_NAMESPACE}"><{action}Result>{page}</{action}Result></{action}Response>'
        return Answer(200, xml, {"Content-Type": "text/xml"})


@pytest.mark.parametrize(
    "read",
    [lambda iam: iam.list_access_keys("dev_kramer", ACCOUNT), all_users],
    ids=["ListAccessKeys", "ListUsers"],
)
@pytest.mark.parametrize(("marker", "calls"), [("again", 2), (None, 1), ("", 1)], ids=["repeated", "absent", "empty"])
def test_a_page_that_leads_nowhere_is_an_error_and_no_endless_loop(
    connect: Callable[..., AwsIam], read: Callable[[AwsIam], object], marker: str | None, calls: int
) -> None:
    with OddPages(marker) as server:
        with pytest.raises(ServiceError, match="says that there is more, but not where"):
            read(connect(server.url))
        assert len(server.requests) == calls


# Tags, last uses, the root user


def test_the_tags_of_all_pages_are_read_of_the_named_user_alone(fake: FakeIam, iam: AwsIam) -> None:
    tags = {f"tag{number:03}": f"value {number}" for number in range(101)}
    fake.add_user("dev_kramer").tags |= tags
    fake.add_user("dev_costanza").tags["slack_id"] = "U012COSTANZA"
    assert iam.list_user_tags("dev_kramer") == tags
    assert fake.calls["ListUserTags"] == 2
    assert {call.params["UserName"] for call in fake.log} == {"dev_kramer"}


def test_a_user_without_tags_has_none_and_one_who_is_gone_is_none(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer")
    assert iam.list_user_tags("dev_kramer") == {}
    fake.delete_user_after_listing("dev_kramer")
    assert iam.list_user_tags("dev_kramer") is None


@pytest.mark.parametrize("page", [1, 2])
def test_a_page_of_tags_that_fails_is_an_error_and_never_fewer_tags(fake: FakeIam, iam: AwsIam, page: int) -> None:
    fake.add_user("dev_kramer").tags |= {f"tag{number:03}": "" for number in range(101)}
    fake.inject(iam_error("AccessDenied"), about("ListUserTags", page=page))
    with pytest.raises(ServiceError, match="iam:ListUserTags was refused"):
        iam.list_user_tags("dev_kramer")


def test_a_last_use_says_when_by_which_service_and_where(fake: FakeIam, iam: AwsIam) -> None:
    used, other = fake.add_user("dev_kramer", [197, 10]).keys
    fake.use_key(used.access_key_id, NOW, "dynamodb", "us-east-1")
    first, second = keys_of(iam, "dev_kramer")
    assert iam.last_used(first) == LastUse(NOW, "dynamodb", "us-east-1")
    assert iam.last_used(second) == LastUse(None, "N/A", "N/A")
    asked = [call.params["AccessKeyId"] for call in fake.log if call.action == "GetAccessKeyLastUsed"]
    assert asked == [used.access_key_id, other.access_key_id]


def test_the_last_use_of_another_users_access_key_is_an_error(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [197])
    other = fake.add_user("dev_costanza", [300]).keys[0]
    wrong = AccessKey(other.access_key_id, "dev_kramer", ACCOUNT, "Active", NOW)
    with pytest.raises(ServiceError, match="about another user"):
        iam.last_used(wrong)


@pytest.mark.usefixtures("no_back_off")
@pytest.mark.parametrize("code", ["AccessDenied", "ServiceFailure"])
def test_a_last_use_that_cannot_be_read_is_an_error_and_not_never(fake: FakeIam, iam: AwsIam, code: str) -> None:
    fake.add_user("dev_kramer", [197])
    (key,) = keys_of(iam, "dev_kramer")
    fake.inject(iam_error(code), about("GetAccessKeyLastUsed"))
    with pytest.raises(ServiceError, match="iam:GetAccessKeyLastUsed") as caught:
        iam.last_used(key)
    assert key.access_key_id not in caught.value.text


def test_the_root_users_access_keys_are_counted(fake: FakeIam, iam: AwsIam) -> None:
    fake.root_access_keys = 2
    try:
        assert iam.root_access_keys() == 2
    finally:
        fake.root_access_keys = 0
    assert iam.root_access_keys() == 0
    fake.inject(iam_error("AccessDenied"), about("GetAccountSummary"))
    with pytest.raises(ServiceError, match="iam:GetAccountSummary was refused"):
        iam.root_access_keys()


# Set Inactive


def test_only_the_named_access_key_becomes_inactive(fake: FakeIam, iam: AwsIam) -> None:
    user, other = fake.add_user("dev_kramer", [197, 10]), fake.add_user("dev_costanza", [300])
    key = keys_of(iam, "dev_kramer")[0]
    assert iam.deactivate(key) is True
    assert [one.status for one in user.keys] == ["Inactive", "Active"]
    assert [one.status for one in other.keys] == ["Active"]
    (call,) = [call for call in fake.log if call.action == "UpdateAccessKey"]
    assert call.params == {
        "UserName": "dev_kramer",
        "AccessKeyId": user.keys[0].access_key_id,
        "Status": "Inactive",
    }


def test_disabling_again_is_harmless(fake: FakeIam, iam: AwsIam) -> None:
    user = fake.add_user("dev_kramer", [197])
    (key,) = keys_of(iam, "dev_kramer")
    assert [iam.deactivate(key), iam.deactivate(key)] == [True, True]
    assert user.keys[0].status == "Inactive"


def test_an_access_key_of_another_user_stays_as_it_is(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [197])
    other = fake.add_user("dev_costanza", [300])
    wrong = AccessKey(other.keys[0].access_key_id, "dev_kramer", ACCOUNT, "Active", NOW)
    assert iam.deactivate(wrong) is False
    assert other.keys[0].status == "Active"


def test_an_access_key_or_user_that_is_gone_is_false(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [197])
    (key,) = keys_of(iam, "dev_kramer")
    fake.users["dev_kramer"].keys = [FakeKey(new_access_key_id(), "Active", datetime.now(UTC))]
    assert iam.deactivate(key) is False
    fake.delete_user_after_listing("dev_kramer")
    assert iam.deactivate(key) is False
    assert fake.users["dev_kramer"].keys[0].status == "Active"


def test_an_answer_that_was_lost_is_asked_for_again(fake: FakeIam, iam: AwsIam) -> None:
    """To repeat UpdateAccessKey is harmless, so botocore may."""
    user = fake.add_user("dev_kramer", [197])
    (key,) = keys_of(iam, "dev_kramer")
    fake.inject(Fault.drop_after_serving(), about("UpdateAccessKey"), times=1)
    assert iam.deactivate(key) is True
    assert fake.calls["UpdateAccessKey"] == 2
    assert user.keys[0].status == "Inactive"


def test_a_refusal_to_disable_is_an_error(fake: FakeIam, iam: AwsIam) -> None:
    user = fake.add_user("dev_kramer", [197])
    (key,) = keys_of(iam, "dev_kramer")
    fake.inject(iam_error("AccessDenied"), about("UpdateAccessKey"))
    with pytest.raises(ServiceError) as caught:
        iam.deactivate(key)
    assert "iam:UpdateAccessKey was refused (AccessDenied)" in caught.value.text
    assert key.access_key_id not in caught.value.text
    assert user.keys[0].status == "Active"


def test_reads_and_writes_ask_a_clock_of_their_own(fake: FakeIam, connect: Callable[..., AwsIam]) -> None:
    """A scan is over before the run is."""
    user = fake.add_user("dev_kramer", [197])
    key = AccessKey(user.keys[0].access_key_id, "dev_kramer", ACCOUNT, "Active", NOW)
    scan_is_over = connect(fake.url, check_read=stop)
    for read in (lambda: scan_is_over.list_users(None), lambda: scan_is_over.list_access_keys("dev_kramer", ACCOUNT)):
        with pytest.raises(Stopped):
            read()
    assert scan_is_over.deactivate(key) is True
    user.keys[0].status = "Active"
    run_is_over = connect(fake.url, check_write=stop)
    assert len(run_is_over.list_users(None)[0]) == 1
    with pytest.raises(Stopped):
        run_is_over.deactivate(key)
    assert user.keys[0].status == "Active"
    assert fake.calls["UpdateAccessKey"] == 1


def test_out_of_time_after_an_answer_was_lost_a_disabling_is_unknown(
    fake: FakeIam, connect: Callable[..., AwsIam]
) -> None:
    """Nothing sent is nothing done (above); between two attempts, nobody knows: here it was done."""
    user = fake.add_user("dev_kramer", [197])
    key = AccessKey(user.keys[0].access_key_id, "dev_kramer", ACCOUNT, "Active", NOW)
    checks = iter([go_on, stop])

    def check() -> None:
        next(checks)()

    fake.inject(Fault.drop_after_serving(), about("UpdateAccessKey"), times=1)
    with pytest.raises(ServiceError) as caught:
        connect(fake.url, check_write=check).deactivate(key)
    assert caught.value.failure is Failure.UNKNOWN
    assert (fake.calls["UpdateAccessKey"], user.keys[0].status) == (1, "Inactive")


# Throttled


def test_nothing_is_lost_where_iam_throttles(connect: Callable[..., AwsIam]) -> None:
    """IAM's limit is the account's, shared and unknown: here 40 calls a second, asked by 16 threads at once."""
    names = [f"user{number:03}" for number in range(60)]
    with FakeIam(rate=40, burst=10) as fake:
        for name in names:
            fake.add_user(name, [1])
        iam = connect(fake.url)
        with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
            found = list(pool.map(lambda name: keys_of(iam, name), names))
        assert [len(keys) for keys in found] == [1] * len(names)
        assert [keys[0].user_name for keys in found] == names
        assert fake.throttled["ListAccessKeys"] > 0, "the limit was reached"
        assert fake.calls["ListAccessKeys"] < 5 * len(names), "and no call was tried over and over"


# Where AWS throttles


def test_what_is_throttled_is_tried_again_until_it_is_served(fake: FakeIam, iam: AwsIam) -> None:
    fake.add_user("dev_kramer", [10])
    fake.inject(iam_error("Throttling"), about("ListAccessKeys"), times=20)
    keys = iam.list_access_keys("dev_kramer", ACCOUNT)
    assert keys is not None
    assert (len(keys), fake.calls["ListAccessKeys"]) == (1, 21)


def test_what_is_throttled_for_ever_is_given_up_with_what_helps(fake: FakeIam, iam: AwsIam) -> None:
    fake.inject(iam_error("Throttling"))
    with pytest.raises(ServiceError, match="share this limit"):
        iam.list_users(None)
    assert fake.calls["ListUsers"] == PACED_ATTEMPTS


def test_a_throttled_disabling_was_surely_not_done(fake: FakeIam, iam: AwsIam) -> None:
    (key,) = fake.add_user("dev_kramer", [200]).keys
    fake.inject(iam_error("Throttling"), about("UpdateAccessKey"), times=10)
    (seen,) = iam.list_access_keys("dev_kramer", ACCOUNT) or ()
    assert iam.deactivate(seen)
    assert (key.status, fake.calls["UpdateAccessKey"]) == ("Inactive", 11)
