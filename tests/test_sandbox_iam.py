"""The fake IAM behaves like IAM to a real boto3 client, and fails in the ways it is told to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from keycheck.credential_report import KeyInReport, read_report
from sandbox.fake_iam import FakeIam, FakeKey, about, iam_error, new_access_key_id
from sandbox.http_fake import Fault
from tests.impatience import wait_until

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 23, 8, 0, 0, 500_000, tzinfo=UTC)
AWKWARD_NAME = "a+=,.@_-b"


@cache
def session() -> Any:
    """One for all tests: it takes longer to make than most of them to run."""
    nothing = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return botocore.session.Session(session_vars={"profile": (None, None, None, None), **nothing})


def client(url: str, service: str = "iam", attempts: int = 1, **config: Any) -> Any:
    """A client that reads no configuration of the machine it runs on."""
    return session().create_client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            proxies={},
            **config,
        ),
    )


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, int]:
    """The code and the HTTP status with which a call fails."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def user_names(api: Any, **params: Any) -> list[str]:
    pages = api.get_paginator("list_users").paginate(**params)
    return [user["UserName"] for page in pages for user in page["Users"]]


@pytest.fixture(name="iam")
def running_iam() -> Iterator[FakeIam]:
    with FakeIam() as iam:
        yield iam


@pytest.fixture(name="api")
def client_of_iam(iam: FakeIam) -> Any:
    return client(iam.url)


def test_users_come_in_pages_of_three_and_in_order(iam: FakeIam, api: Any) -> None:
    names = [f"user{number}" for number in range(8)]
    for name in names:
        iam.add_user(name)
    iam.users_per_page = 3
    first = api.list_users()
    assert [user["UserName"] for user in first["Users"]] == names[:3]
    assert first["IsTruncated"] is True
    assert first["Marker"]
    assert user_names(api) == names
    assert iam.calls == {"ListUsers": 4}
    assert [call.params.get("Marker") is None for call in iam.log] == [True, True, False, False]


def test_the_last_page_has_no_marker_even_when_it_is_full(iam: FakeIam, api: Any) -> None:
    for number in range(6):
        iam.add_user(f"user{number}")
    iam.users_per_page = 3
    last = api.list_users(Marker=api.list_users()["Marker"])
    assert len(last["Users"]) == 3
    assert last["IsTruncated"] is False
    assert "Marker" not in last


def test_max_items_counts_and_is_a_hundred_by_default(iam: FakeIam, api: Any) -> None:
    for number in range(120):
        iam.add_user(f"user{number}")
    assert len(api.list_users()["Users"]) == 100
    assert len(api.list_users(MaxItems=5)["Users"]) == 5
    assert len(api.list_users(MaxItems=1000)["Users"]) == 120
    assert len(user_names(api, PaginationConfig={"PageSize": 7})) == 120


def test_short_and_empty_pages_lose_no_user(iam: FakeIam, api: Any) -> None:
    names = [f"user{number}" for number in range(5)]
    for name in names:
        iam.add_user(name)
    iam.users_per_page = [2, 0, 1]
    assert user_names(api) == names
    assert iam.calls["ListUsers"] == 5, "pages of 2, 0, 1, 1, 1"


def test_keys_come_in_pages_of_one(iam: FakeIam, api: Any) -> None:
    user = iam.add_user("dev_kramer", [10, 200, 0], now=NOW)
    iam.keys_per_page = 1
    pages = list(api.get_paginator("list_access_keys").paginate(UserName="dev_kramer"))
    assert [len(page["AccessKeyMetadata"]) for page in pages] == [1, 1, 1]
    shown = [key for page in pages for key in page["AccessKeyMetadata"]]
    assert [key["AccessKeyId"] for key in shown] == [key.access_key_id for key in user.keys]
    assert [key["CreateDate"] for key in shown] == [key.create_date for key in user.keys]


def test_a_marker_is_good_for_its_own_listing_only(iam: FakeIam, api: Any) -> None:
    iam.keys_per_page = 1
    iam.add_user("one", [1, 2])
    iam.add_user("two", [1, 2])
    marker = api.list_access_keys(UserName="one")["Marker"]
    assert refused(api.list_access_keys, UserName="two", Marker=marker) == ("ValidationError", 400)
    assert refused(api.list_users, Marker=marker) == ("ValidationError", 400)
    assert refused(api.list_users, Marker="nonsense") == ("ValidationError", 400)


def test_a_user_looks_like_a_real_one(iam: FakeIam, api: Any) -> None:
    iam.add_user(AWKWARD_NAME, [197.5], now=NOW)
    user = api.list_users()["Users"][0]
    assert user["UserName"] == AWKWARD_NAME
    assert user["Arn"] == f"arn:aws:iam::123456789012:user/{AWKWARD_NAME}"
    assert user["UserId"].startswith("AIDA")
    assert len(user["UserId"]) == 21
    key = api.list_access_keys(UserName=AWKWARD_NAME)["AccessKeyMetadata"][0]
    assert key["UserName"] == AWKWARD_NAME
    assert key["AccessKeyId"].startswith("AKIA")
    assert len(key["AccessKeyId"]) == 20
    assert key["CreateDate"] == datetime(2026, 5, 9, 20, 0, tzinfo=UTC)
    assert user["CreateDate"] < key["CreateDate"]


def test_xml_is_escaped(iam: FakeIam, api: Any) -> None:
    odd = "<b>&'\"x"
    iam.add_user(odd, [1]).tags = {"Slack & co": "<U123>"}
    assert user_names(api) == [odd]
    assert api.list_access_keys(UserName=odd)["AccessKeyMetadata"][0]["UserName"] == odd
    assert api.list_user_tags(UserName=odd)["Tags"] == [{"Key": "Slack & co", "Value": "<U123>"}]
    assert api.get_user(UserName=odd)["User"]["Tags"] == [{"Key": "Slack & co", "Value": "<U123>"}]
    with pytest.raises(ClientError, match="<nobody&>"):
        api.list_access_keys(UserName="<nobody&>")


def test_changes_made_by_the_test_show_at_once(iam: FakeIam, api: Any) -> None:
    """XML is cached by value, so no change can be missed."""
    user = iam.add_user("dev_kramer", [10])
    api.list_access_keys(UserName="dev_kramer")
    user.keys[0].status = "Expired"
    user.keys.append(FakeKey(new_access_key_id(), "Active", NOW))
    shown = api.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"]
    assert [key["Status"] for key in shown] == ["Expired", "Active"]


def test_a_disabled_key_shows_inactive(iam: FakeIam, api: Any) -> None:
    first, second = iam.add_user("dev_kramer", [200, 10]).keys
    for status in ("Inactive", "Active", "Inactive"):
        api.update_access_key(UserName="dev_kramer", AccessKeyId=first.access_key_id, Status=status)
        shown = api.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"]
        assert {key["AccessKeyId"]: key["Status"] for key in shown} == {
            first.access_key_id: status,
            second.access_key_id: "Active",
        }


def test_a_key_can_be_born_inactive(iam: FakeIam, api: Any) -> None:
    iam.add_user("dev_kramer", [200, 10], status="Inactive")
    shown = api.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"]
    assert [key["Status"] for key in shown] == ["Inactive", "Inactive"]


def test_wrong_updates_are_refused_and_change_nothing(iam: FakeIam, api: Any) -> None:
    key = iam.add_user("dev_kramer", [200]).keys[0]
    iam.add_user("someone_else")
    update, key_id = api.update_access_key, key.access_key_id
    missing = ("NoSuchEntity", 404)
    assert refused(update, UserName="someone_else", AccessKeyId=key_id, Status="Inactive") == missing
    assert refused(update, UserName="nobody", AccessKeyId=key_id, Status="Inactive") == missing
    assert refused(update, UserName="dev_kramer", AccessKeyId="AKIA" + "A" * 16, Status="Inactive") == missing
    assert refused(update, UserName="dev_kramer", AccessKeyId=key_id, Status="Bogus") == ("ValidationError", 400)
    assert refused(update, AccessKeyId=key_id, Status="Inactive") == ("ValidationError", 400)
    assert key.status == "Active"


def test_unknown_users_missing_names_and_unknown_actions(iam: FakeIam, api: Any) -> None:
    assert refused(api.list_access_keys, UserName="nobody") == ("NoSuchEntity", 404)
    assert refused(api.list_access_keys) == ("ValidationError", 400)
    assert refused(api.list_user_tags, UserName="nobody") == ("NoSuchEntity", 404)
    assert refused(api.get_user, UserName="nobody") == ("NoSuchEntity", 404)
    assert refused(api.get_access_key_last_used, AccessKeyId="AKIA" + "A" * 16) == ("NoSuchEntity", 404)
    assert refused(api.list_groups) == ("InvalidAction", 400)
    assert [call.status for call in iam.log] == [404, 400, 404, 404, 404, 400]


def test_the_small_calls(iam: FakeIam, api: Any) -> None:
    key = iam.add_user("dev_kramer", [3]).keys[0]
    used = api.get_access_key_last_used(AccessKeyId=key.access_key_id)
    assert used["UserName"] == "dev_kramer"
    assert used["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    assert api.list_account_aliases()["AccountAliases"] == []
    iam.alias = "acme-dev"
    assert api.list_account_aliases()["AccountAliases"] == ["acme-dev"]
    assert api.get_user(UserName="dev_kramer")["User"]["UserName"] == "dev_kramer"
    assert "Tags" not in api.get_user(UserName="dev_kramer")["User"]
    assert client(iam.url, "sts").get_caller_identity()["Account"] == "123456789012"


def test_a_user_deleted_after_the_listing(iam: FakeIam, api: Any) -> None:
    iam.add_user("gone", [1])
    iam.add_user("here", [1])
    iam.delete_user_after_listing("gone")
    assert user_names(api) == ["gone", "here"]
    assert refused(api.list_access_keys, UserName="gone") == ("NoSuchEntity", 404)
    assert len(api.list_access_keys(UserName="here")["AccessKeyMetadata"]) == 1


def test_moving_back_is_exact(iam: FakeIam, api: Any) -> None:
    iam.add_user("dev_kramer", [1], now=NOW)
    before = api.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"][0]["CreateDate"]
    iam.move_back(timedelta(days=2, seconds=1))
    after = api.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"][0]["CreateDate"]
    assert before - after == timedelta(days=2, seconds=1)
    with pytest.raises(ValueError, match="whole seconds"):
        iam.move_back(timedelta(seconds=0.5))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("ExpiredToken", 403),
        ("InvalidClientTokenId", 403),
        ("NoSuchEntity", 404),
        ("LimitExceeded", 409),
        ("Throttling", 400),
        ("ServiceFailure", 500),
    ],
)
def test_an_injected_error_has_the_status_of_aws(iam: FakeIam, api: Any, code: str, status: int) -> None:
    iam.add_user("dev_kramer", [1])
    iam.inject(iam_error(code))
    assert refused(api.list_users) == (code, status)
    iam.heal()
    assert user_names(api) == ["dev_kramer"]


def test_an_error_for_one_user_leaves_the_others(iam: FakeIam, api: Any) -> None:
    key = iam.add_user("closed", [1]).keys[0]
    iam.add_user("open", [1])
    iam.inject(iam_error("AccessDenied", message="no, not you"), about("ListAccessKeys", "closed"))
    assert refused(api.list_access_keys, UserName="closed") == ("AccessDenied", 403)
    assert api.list_access_keys(UserName="open")["AccessKeyMetadata"]
    assert user_names(api) == ["closed", "open"]
    iam.inject(iam_error("ServiceFailure"), about("UpdateAccessKey"))
    update = {"UserName": "closed", "AccessKeyId": key.access_key_id, "Status": "Inactive"}
    assert refused(api.update_access_key, **update) == ("ServiceFailure", 500)
    assert key.status == "Active"


def test_an_error_on_page_two_only(iam: FakeIam, api: Any) -> None:
    for number in range(5):
        iam.add_user(f"user{number}")
    iam.users_per_page = 2
    iam.inject(iam_error("ServiceFailure", status=500), about("ListUsers", page=2), times=1)
    assert refused(user_names, api=api) == ("ServiceFailure", 500)
    assert [call.status for call in iam.log] == [200, 500]
    assert len(user_names(api)) == 5, "it was injected once"


def test_a_token_that_expires_after_three_calls(iam: FakeIam, api: Any) -> None:
    iam.inject(iam_error("ExpiredToken"), about(after=3))
    for _ in range(3):
        api.list_users()
    for _ in range(2):
        assert refused(api.list_users) == ("ExpiredToken", 403)


def test_a_dropped_call_took_effect_and_a_retry_is_answered(iam: FakeIam, api: Any) -> None:
    key = iam.add_user("dev_kramer", [200]).keys[0]
    iam.inject(Fault.drop_after_serving(), about("UpdateAccessKey"), times=1)
    update = {"UserName": "dev_kramer", "AccessKeyId": key.access_key_id, "Status": "Inactive"}
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        api.update_access_key(**update)
    assert key.status == "Inactive"
    assert iam.log[-1].status is None
    iam.inject(Fault.drop_after_serving(), about("ListUsers"), times=1)
    assert user_names(client(iam.url, attempts=2)) == ["dev_kramer"]
    assert iam.calls["ListUsers"] == 2


def test_a_hanging_call_ends_when_the_fake_stops() -> None:
    iam = FakeIam().start()
    iam.add_user("stuck", [1])
    iam.add_user("fine", [1])
    iam.inject(Fault.hang(), about("ListAccessKeys", "stuck"))
    api = client(iam.url)
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(api.list_access_keys, UserName="stuck")
        wait_until(lambda: iam.calls["ListAccessKeys"] == 1)
        assert api.list_access_keys(UserName="fine")["AccessKeyMetadata"]
        assert not hung.done()
        iam.stop()
        with pytest.raises((ConnectionClosedError, HTTPClientError)):
            hung.result(timeout=5)
    assert [call.status for call in iam.log] == [None, 200]


def test_a_read_timeout_sees_a_hang(iam: FakeIam) -> None:
    iam.inject(Fault.hang())
    with pytest.raises(HTTPClientError):
        client(iam.url, read_timeout=0.1).list_users()


def test_throttling_is_exact_and_shared_by_all_clients(iam: FakeIam) -> None:
    iam.rate, iam.burst = 0.001, 6
    codes = []
    for api in (client(iam.url), client(iam.url)):
        for _ in range(5):
            try:
                api.list_users()
                codes.append("ok")
            except ClientError as error:
                codes.append(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}")
    assert codes == ["ok"] * 6 + ["Throttling: Rate exceeded"] * 4
    assert iam.calls == {"ListUsers": 10}
    assert iam.throttled == {"ListUsers": 4}
    assert [call.status for call in iam.log] == [200] * 6 + [400] * 4


def test_the_bucket_refills(iam: FakeIam, api: Any) -> None:
    iam.rate, iam.burst = 0.001, 1
    api.list_users()
    assert refused(api.list_users) == ("Throttling", 400)
    iam.rate = 1000.0
    time.sleep(0.02)
    api.list_users()


def test_calls_wait_out_the_latency_side_by_side(iam: FakeIam) -> None:
    """Judged by how many were waiting at once, not by the clock."""
    threads = 8
    iam.latency = 0.25
    iam.rate, iam.burst = 0.001, 6
    api = client(iam.url)
    together = threading.Barrier(threads)

    def call(_: int) -> bool:
        together.wait()
        try:
            api.list_users()
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        answered = list(pool.map(call, range(threads)))
    assert answered.count(True) == 6, "throttled calls wait as well"
    assert iam.peak_in_flight == threads


def test_counts_can_start_anew(iam: FakeIam, api: Any) -> None:
    api.list_users()
    iam.forget_calls()
    assert iam.calls == {}
    assert iam.log == []
    assert iam.peak_in_flight == 0
    api.list_users()
    assert [(call.number, call.action) for call in iam.log] == [(2, "ListUsers")]


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(minutes=6), timedelta(days=-1)])
def test_the_date_header_can_lie(iam: FakeIam, api: Any, skew: timedelta) -> None:
    iam.clock_skew = skew
    header = api.list_users()["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert header.endswith(" GMT")
    assert abs(parsedate_to_datetime(header) - (datetime.now(UTC) + skew)) < timedelta(seconds=5)


def test_raw_http_in_pieces_and_pipelined(iam: FakeIam) -> None:
    """What boto3 never sends: a head in two packets, two requests in one, a wish to close."""
    iam.add_user("dev_kramer")
    host, port = iam.url.removeprefix("http://").split(":")
    body = b"Action=ListUsers&Version=2010-05-08"
    request = b"POST / HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: %d\r\n\r\n%b" % (len(body), body)
    closing = request.replace(b"Host: x", b"Connection: close")
    iam.latency = 0.01
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.connect()
    connection.sock.sendall(request[:9])
    time.sleep(0.02)
    connection.sock.sendall(request[9:] + request + closing)
    received = b""
    while piece := connection.sock.recv(65536):
        received += piece
    connection.sock.close()
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"<UserName>dev_kramer</UserName>") == 3


def test_it_starts_again_with_its_users() -> None:
    iam = FakeIam()
    iam.add_user("dev_kramer")
    for _ in range(2):
        with iam:
            assert user_names(client(iam.url)) == ["dev_kramer"]
            with pytest.raises(RuntimeError):
                iam.start()
        with pytest.raises(RuntimeError):
            _ = iam.url
    iam.stop()


# The credential report


def test_a_report_is_made_once_and_stays_as_it_was_for_four_hours(iam: FakeIam, api: Any) -> None:
    user = iam.add_user("ann", [10, 20])
    assert refused(api.get_credential_report) == ("ReportNotPresent", 410)
    iam.report_seconds = 60
    assert api.generate_credential_report()["State"] == "STARTED"
    assert api.generate_credential_report()["State"] == "INPROGRESS"
    assert refused(api.get_credential_report) == ("ReportInProgress", 404)
    iam.make_report(timedelta(hours=3))
    report = api.get_credential_report()
    user.keys.pop()
    assert api.generate_credential_report()["State"] == "COMPLETE"
    assert api.get_credential_report()["Content"] == report["Content"]
    iam.move_back(timedelta(hours=1))
    assert refused(api.get_credential_report) == ("ReportExpired", 410)
    iam.report_seconds = 0
    assert api.generate_credential_report()["State"] == "STARTED"
    assert len(read_report(api.get_credential_report()["Content"].decode())["ann"].keys) == 1


def test_what_a_report_says(iam: FakeIam, api: Any) -> None:
    """The root user first, then users without regard to case; of three access keys two, in the order of their ids."""
    user = iam.add_user("b,ob", [1, 2, 3])
    user.keys[0].status = "Inactive"
    iam.add_user("Ann")
    iam.make_report()
    text = api.get_credential_report()["Content"].decode()
    assert [line.split(",")[0] for line in text.split("\n")] == ["user", "<root_account>", "Ann", '"b']
    rows = read_report(text)
    assert (rows["Ann"].keys, rows["Ann"].created_at) == ((), iam.users["Ann"].create_date)
    two = sorted(user.keys, key=lambda key: key.access_key_id)[:2]
    assert rows["b,ob"].keys == tuple(KeyInReport(key.status == "Active", key.create_date) for key in two)


def test_a_renamed_user_keeps_its_id_and_whoever_has_the_name_next_has_another(iam: FakeIam, api: Any) -> None:
    def ids() -> dict[str, str]:
        return {user["UserName"]: user["UserId"] for user in api.list_users()["Users"]}

    iam.add_user("ann")
    before = ids()["ann"]
    iam.rename_user("ann", "anna")
    iam.add_user("ann")
    assert ids()["anna"] == before
    assert ids()["ann"] != before


@pytest.mark.process
def test_two_processes_use_it_at_once(iam: FakeIam, api: Any) -> None:
    """The limit is the account's, whoever calls."""
    iam.rate, iam.burst = 0.001, 30
    calls = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.test_sandbox_iam import call_many, client
print(call_many(client({iam.url!r}), 20))
"""
    other = subprocess.Popen([sys.executable, "-c", calls], stdout=subprocess.PIPE, cwd=ROOT)
    mine = call_many(api, 20)
    theirs, _ = other.communicate(timeout=20)
    assert mine + int(theirs) == 30
    assert iam.calls["ListUsers"] == 40
    assert iam.throttled["ListUsers"] == 10


@pytest.mark.process
def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "sandbox.fake_iam", "--users", "150", "--keys-per-user", "2"]
    command += ["--latency-ms", "1", "--rate", "0.001", "--burst", "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        try:
            api = client(process.stdout.readline().strip())
            names = user_names(api)
            keys = api.list_access_keys(UserName=names[0])["AccessKeyMetadata"]
            assert call_many(api, 3) == 1
        finally:
            process.send_signal(signal.SIGTERM)
        counts = json.loads(process.stdout.readline())
        assert process.wait(5) == 0
    assert len(names) == 150
    assert len(keys) == 2
    assert counts["calls"] == {"ListUsers": 5, "ListAccessKeys": 1}
    assert counts["throttled"] == {"ListUsers": 2}


def call_many(api: Any, count: int) -> int:
    """How many of so many calls are answered and not throttled."""
    answered = 0
    for _ in range(count):
        try:
            api.list_users()
            answered += 1
        except ClientError as error:
            if error.response["Error"]["Code"] != "Throttling":
                raise
    return answered
