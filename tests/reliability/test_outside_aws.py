"""Answers of IAM and DynamoDB that are not what either would say, over a real socket, through boto3.

Whatever comes back: ServiceError, or values that the rest can rest on; no access key is active and old, no owner
warned and no table ours on the strength of an answer that does not say so.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape

import botocore.endpoint
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keycheck.actions import Outcomes
from keycheck.credential_report import NEEDED, NotAReport, read_report
from keycheck.labels import label_key
from keycheck.metrics import is_sound, render
from keycheck.model import FIRST_CREATION, AccessKey, Scan, State
from keycheck.report import problem_lines
from keycheck.services import ServiceError
from keycheck.services.aws_iam import AwsIam
from keycheck.services.state_items import HASH_KEY
from keycheck.services.state_table import StateTable
from sandbox.fake_iam import IAM_NAMESPACE
from sandbox.http_fake import Answer
from tests.builders import ACCOUNT, NOW, PROFILE, PatientClock, make_addressee
from tests.reliability.fuzz_inputs import DATES, NASTY_TEXT, AnyServer, as_json, assert_one_line, bodies, examples

TABLE = "iam-access-key-alert"
ACCESS_KEY_ID = "AKIAIOSFODNN7EXVHXVM"
OWNER = make_addressee()
READABLE_ID = re.compile(r"[A-Za-z0-9_]{16,128}", re.ASCII)
"""docs.aws.amazon.com, IAM API Reference, AccessKeyMetadata: minimum 16, maximum 128, pattern [\\w]+."""
READABLE_DATE = re.compile(
    r"\s*\d{4}-?\d\d-?\d\d([T ]\d\d:?\d\d(:?\d\d([.,]\d+)?)?)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?\s*", re.ASCII
)
"""ISO 8601, which IAM writes: nothing that has to be guessed at, as 01/02/03 or 12 have."""
AGE_AT_MOST = 3650
"""The greatest expire_age."""


def go_on() -> None:
    """The clock's answer while there is time."""


def answered(call: Callable[[], Any]) -> Any:
    """What a call gives, or the ServiceError that it ends in; any other exception is a failure of the test."""
    try:
        return call()
    except ServiceError as error:
        refused = error
    assert_one_line(refused.text)
    assert ACCESS_KEY_ID not in refused.text
    assert "invented" not in refused.text
    return refused


@pytest.fixture(scope="module")
def server() -> Iterator[AnyServer]:
    with AnyServer() as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def _botocore_waits_for_nothing() -> Iterator[None]:
    """Between the attempts at an answer of 5xx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _seconds: None))
        yield


@pytest.fixture(scope="module")
def environment(server: AnyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A profile whose AWS is `server`."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(
        f"[profile {PROFILE}]\naws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented\n"
        "region = us-east-1\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(config))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        yield


@pytest.fixture(scope="module")
def iam(environment: None) -> AwsIam:  # noqa: ARG001 - it needs the profile
    return AwsIam(PROFILE, go_on, go_on)


@pytest.fixture(scope="module")
def table(environment: None) -> StateTable:  # noqa: ARG001 - it needs the profile
    return StateTable(PROFILE, None, TABLE, PatientClock())


# IAM

XML = {"Content-Type": "text/xml"}
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\ufffe", "\uffff"]), max_size=20
) | st.sampled_from(["", " ", "\n", "a\nE! forged", "<b/>", "&#10;", "null", "0", "x" * 3000, "\u202eb", "arn:aws:iam"])
ODD_DATES = st.sampled_from(
    [
        *(
            "",
            " ",
            "0",
            "12",
            "-1",
            "1e9",
            "nan",
            "inf",
            "1E+400",
            "9" * 30,
            "May",
            "10:30",
            "today",
            "01/02/03",
            "1999",
        ),
        *("2020-01-01", "2020-01-01T00:00:00", "20200101T000000Z", "2020-01-01 00:00:00 CET", "2020-13-01T00:00:00Z"),
        *("1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"),
        *(
            "9999-12-31T23:59:59-23:59",
            "2199-01-01T00:00:00Z",
            "2020-01-01T00:00:00+99:99",
            "T",
            "2020-W01-1",
            "3 a.m.",
        ),
        *(
            "10000-01-01T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T23:59:60Z",
            "1577836800",
            "1577836800.5",
            "20200101",
        ),
    ]
)
GOOD_KEY = {
    "UserName": "dev_kramer",
    "AccessKeyId": ACCESS_KEY_ID,
    "Status": "Active",
    "CreateDate": "2020-01-01T00:00:00Z",
}
GOOD_USER = {
    "Path": "/",
    "UserName": "dev_kramer",
    "UserId": "AIDAQABCDEFGHIJKLMNOP",
    "Arn": f"arn:aws:iam::{ACCOUNT}:user/dev_kramer",
    "CreateDate": "2020-01-01T00:00:00Z",
}
Fields = dict[str, str | None]


def fields(good: dict[str, str], **odd: st.SearchStrategy[str]) -> st.SearchStrategy[Fields]:
    """A good member with one or two fields missing, empty or odd."""

    def one(name: str) -> st.SearchStrategy[Fields]:
        return (st.none() | odd.get(name, XML_TEXT) | XML_TEXT).map(lambda value: {name: value})

    spoils = st.lists(st.sampled_from(sorted(good)).flatmap(one), max_size=2)
    return spoils.map(lambda found: {**good, **{name: value for one in found for name, value in one.items()}})


def xml(
    action: str, list_name: str, *members: Mapping[str, str | None], tail: str = "<IsTruncated>false</IsTruncated>"
) -> bytes:
    inside = "".join(
        "<member>"
        + "".join(f"<{name}>{escape(text)}</{name}>" for name, text in one.items() if text is not None)
        + "</member>"
        for one in members
    )
    return (
        f'<{action}Response xmlns="{IAM_NAMESPACE}"><{action}Result>{tail}<{list_name}>{inside}</{list_name}>'
        f"</{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def keys_xml(*members: Mapping[str, str | None], **more: str) -> bytes:
    return xml("ListAccessKeys", "AccessKeyMetadata", *members, **more)


def users_xml(*members: Mapping[str, str | None], **more: str) -> bytes:
    return xml("ListUsers", "Users", *members, **more)


MARKUP = re.compile(rb"<[^<>]*>|[^<>]+")


@st.composite
def spoiled_xml(draw: st.DrawFn, valid: bytes) -> bytes:
    """XML with a tag or text dropped, repeated or replaced, cut short, in another namespace; or none at all."""
    parts = MARKUP.findall(valid)
    new = st.sampled_from(
        [b"", b"x", b"<x/>", b"<member>", b"</member>", b"<member/>", b"<!-- -->", b"&nbsp;", b"<![CDATA[x]]>"]
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(parts) - 1))
        how = draw(st.sampled_from(["replace", "drop", "repeat", "rename"]))
        old = parts[at]
        parts[at] = {
            "replace": draw(new),
            "drop": b"",
            "repeat": old * 2,
            "rename": re.sub(rb"\w+", b"Other", old, count=1),
        }[how]
    body = b"".join(parts)
    match draw(st.integers(0, 9)):
        case 0:
            return body[: draw(st.integers(0, len(body)))]
        case 1:
            return body.replace(IAM_NAMESPACE.encode(), draw(st.sampled_from([b"", b"urn:x", b"http://x/&#10;"])))
        case 2:
            return draw(st.sampled_from(NO_XML))
        case 3:
            return (
                draw(st.sampled_from([b"\xef\xbb\xbf", b"\n", b'<?xml version="1.0" encoding="utf-16"?>', b"x"])) + body
            )
    return body


NO_XML = [
    *(b"", b" ", b"{}", b"null", b"<", b"<a>", b"<a/>", b"\x00", b"\xff\xfe<\x00a\x00/\x00>\x00", b"<a>" * 5000),
    b"<!DOCTYPE html><html><body>Log in<br></body></html>",
    b"<html><body>Log in</body></html>",
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>',
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    b"<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>",
]
IAM_STATUSES = st.sampled_from([200] * 8 + [201, 204, 302, 400, 403, 404, 418, 500, 503])
PAGES_OF_KEYS = st.sampled_from(
    [keys_xml(GOOD_KEY), keys_xml(), keys_xml(GOOD_KEY, tail="<IsTruncated>true</IsTruncated><Marker>m</Marker>")]
)
PAGES_OF_USERS = st.sampled_from(
    [users_xml(GOOD_USER), users_xml(), users_xml(GOOD_USER, tail="<IsTruncated>true</IsTruncated><Marker>m</Marker>")]
)


def keys_from(server: AnyServer, iam: AwsIam, *answers: Answer) -> list[AccessKey] | ServiceError | None:
    server.answers = list(answers)
    result = answered(lambda: iam.list_access_keys("dev_kramer", ACCOUNT))
    assert result is None or isinstance(result, ServiceError | list)
    return result


def is_active_and_old(key: AccessKey) -> bool:
    return label_key(key, datetime.now(UTC), expire_age=180, expiring_days=15).label.value == "expired"


@given(IAM_STATUSES, PAGES_OF_KEYS.flatmap(spoiled_xml))
@example(200, keys_xml().replace(b"AccessKeyMetadata", b"Other"))
@example(200, b"<html><body>Log in</body></html>")
@example(200, b"")
@examples(120)
def test_any_answer_to_list_access_keys_is_an_error_or_access_keys(
    server: AnyServer, iam: AwsIam, status: int, body: bytes
) -> None:
    result = keys_from(server, iam, Answer(status, body, XML))
    if isinstance(result, list):
        assert status < 300
        assert b"AccessKeyMetadata>" in body or b"<AccessKeyMetadata" in body
        for key in result:
            assert (key.user_name, key.account_id) == ("dev_kramer", ACCOUNT)
            assert key.create_date.tzinfo is UTC
            assert isinstance(key.access_key_id, str)
            assert isinstance(key.status, str)
            assert key.status != "Active" or b"Active" in body
    elif result is None:
        assert status >= 300
        assert b"NoSuchEntity" in body


@given(IAM_STATUSES, PAGES_OF_USERS.flatmap(spoiled_xml))
@example(200, users_xml().replace(b"Users", b"Other"))
@example(200, users_xml({**GOOD_USER, "Arn": None}))
@examples(120)
def test_any_answer_to_list_users_is_an_error_or_users(
    server: AnyServer, iam: AwsIam, status: int, body: bytes
) -> None:
    server.answers = [Answer(status, body, XML)]
    result = answered(lambda: iam.list_users(None))
    if not isinstance(result, ServiceError):
        users, marker = result
        assert status < 300
        assert b"Users>" in body or b"<Users" in body
        assert marker is None or (isinstance(marker, str) and marker)
        assert all(isinstance(text, str) for user in users for text in (user.user_name, user.account_id, user.user_id))
        assert all(user.created_at.tzinfo is not None for user in users)


REPORT = (
    f"{','.join(NEEDED)}\ndev_kramer,2020-01-01T00:00:00Z,true,2020-01-01T00:00:00Z,false,N/A\n"
    f"<root_account>,2019-01-01T00:00:00Z,false,N/A,false,N/A"
)
REPORT_PARTS = re.compile(r"[^,\n]+|[,\n]")


@st.composite
def spoiled_report(draw: st.DrawFn) -> bytes:
    """The file with a value or a separator dropped, repeated or replaced, or no text at all."""
    parts = REPORT_PARTS.findall(REPORT)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        parts[at] = draw(
            st.sampled_from(["", parts[at] * 2, '"', "TRUE", "N/A", "\0", NASTY_TEXT]) | XML_TEXT | ODD_DATES
        )
    whole = "".join(parts).encode(errors="surrogatepass")
    return draw(st.sampled_from([whole, whole, whole, b"\xff\xfe", b""]))


def report_xml(content: bytes, made: str) -> bytes:
    text = base64.b64encode(content).decode()
    return (
        f'<GetCredentialReportResponse xmlns="{IAM_NAMESPACE}"><GetCredentialReportResult><Content>{text}</Content>'
        f"<ReportFormat>text/csv</ReportFormat><GeneratedTime>{escape(made)}</GeneratedTime></GetCredentialReportResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCredentialReportResponse>"
    ).encode()


@given(
    IAM_STATUSES,
    st.builds(report_xml, spoiled_report(), st.just("2026-11-23T08:00:00Z") | ODD_DATES)
    | spoiled_xml(report_xml(REPORT.encode(), "2026-11-23T08:00:00Z")),
)
@example(200, report_xml(b"\xff", "2026-11-23T08:00:00Z"))
@example(200, report_xml(REPORT.encode(), "2026-11-23T08:00:00Z").replace(b"<Content>", b"<Content>*"))
@examples(200)
def test_any_answer_for_the_credential_report_is_an_error_none_or_rows_that_can_be_compared(
    server: AnyServer, iam: AwsIam, status: int, body: bytes
) -> None:
    server.answers = [Answer(status, body, XML)] * 2
    result = answered(iam.credential_report)
    if result is None or isinstance(result, ServiceError):
        return
    assert result.made_at.tzinfo is not None
    try:
        rows = read_report(result.text)
    except NotAReport as error:
        assert_one_line(str(error))
        return
    for row in rows.values():
        assert len(row.keys) <= 2
        assert all(at >= FIRST_CREATION for at in (row.created_at, *(key.created_at for key in row.keys)))


@given(fields(GOOD_USER, Arn=st.sampled_from(["", "::::", "arn:aws:iam:::user/x", "arn:aws:iam::12:user/x", ACCOUNT])))
@example({**GOOD_USER, "Arn": "::::"})
@example({**GOOD_USER, "Arn": "arn:aws:iam::\n:user/x"})
@examples(120)
def test_the_account_of_a_user_is_twelve_digits(server: AnyServer, iam: AwsIam, member: Fields) -> None:
    """It is half of the name under which an owner's last message is recorded."""
    server.answers = [Answer(200, users_xml(member), XML)]
    result = answered(lambda: iam.list_users(None))
    if not isinstance(result, ServiceError):
        assert all(re.fullmatch(r"[0-9]{12}", user.account_id) for user in result[0])


ODD_IDS = st.sampled_from(
    ["", "A", "VHXVM", "AKIA IOSFODNN7EXVHXVM", f" {ACCESS_KEY_ID} ", f"{ACCESS_KEY_ID}\n", "*" * 20]
)


@given(fields(GOOD_KEY, AccessKeyId=ODD_IDS))
@example({**GOOD_KEY, "AccessKeyId": ""})
@example({**GOOD_KEY, "AccessKeyId": None})
@examples(120)
def test_an_access_key_without_a_readable_id_is_never_active_and_old(
    server: AnyServer, iam: AwsIam, member: Fields
) -> None:
    result = keys_from(server, iam, Answer(200, keys_xml(member), XML))
    for key in result if isinstance(result, list) else ():
        assert not overdue(key) or READABLE_ID.fullmatch(key.access_key_id)


def overdue(key: AccessKey) -> bool:
    """Active and old, said without label_key, which has a test of its own below."""
    return key.is_active and key.create_date < datetime.now(UTC) - timedelta(days=180)


@given(fields(GOOD_KEY, CreateDate=ODD_DATES))
@example({**GOOD_KEY, "CreateDate": "0"})
@example({**GOOD_KEY, "CreateDate": "1999"})
@example({**GOOD_KEY, "CreateDate": "01/02/03"})
@example({**GOOD_KEY, "CreateDate": ""})
@example({**GOOD_KEY, "CreateDate": None})
@examples(120)
def test_an_access_key_without_a_readable_date_is_never_active_and_old(
    server: AnyServer, iam: AwsIam, member: Fields
) -> None:
    result = keys_from(server, iam, Answer(200, keys_xml(member), XML))
    for key in result if isinstance(result, list) else ():
        assert not overdue(key) or READABLE_DATE.fullmatch(member["CreateDate"] or "")


@given(fields(GOOD_KEY, Status=st.sampled_from(["active", "ACTIVE", " Active", "Active ", "Inactive", "Expired", "1"])))
@examples(80)
def test_an_access_key_without_a_readable_status_is_never_active(
    server: AnyServer, iam: AwsIam, member: Fields
) -> None:
    result = keys_from(server, iam, Answer(200, keys_xml(member), XML))
    for key in result if isinstance(result, list) else ():
        assert not key.is_active or member["Status"] == "Active"


@given(
    fields(GOOD_KEY, CreateDate=ODD_DATES | st.datetimes().map(lambda at: f"{at.isoformat()}Z")),
    st.sampled_from([0, 180, AGE_AT_MOST]),
)
@example({**GOOD_KEY, "CreateDate": "9999-12-31T00:00:00Z"}, 180)
@example({**GOOD_KEY, "CreateDate": "0001-01-01T00:00:00Z"}, AGE_AT_MOST)
@examples(120)
def test_every_access_key_that_is_taken_can_be_labelled_and_measured(
    server: AnyServer, iam: AwsIam, member: Fields, expire_age: int
) -> None:
    """One that could not would cost the metrics of all others."""
    result = keys_from(server, iam, Answer(200, keys_xml(member), XML))
    for key in result if isinstance(result, list) else ():
        labelled = label_key(key, datetime.now(UTC), expire_age=expire_age, expiring_days=15)
        assert 0 <= labelled.age_days < 800_000
        (line, _) = render(Scan(PROFILE, (key,), user_count=1), (labelled,), Outcomes(), 1.0, NOW).lines
        assert is_sound(line)


@given(st.lists(fields(GOOD_USER, UserName=XML_TEXT), max_size=3), st.lists(fields(GOOD_KEY), max_size=3))
@examples(120)
def test_no_name_out_of_iam_forges_a_line_on_either_stream(
    server: AnyServer, iam: AwsIam, users: list[Fields], members: list[Fields]
) -> None:
    server.answers = [Answer(200, users_xml(*users), XML)]
    listed = answered(lambda: iam.list_users(None))
    found = keys_from(server, iam, Answer(200, keys_xml(*members), XML))
    if isinstance(listed, ServiceError) or not isinstance(found, list):
        return
    keys = [
        AccessKey(key.access_key_id, user.user_name, user.account_id, key.status, key.create_date)
        for user in listed[0]
        for key in found
    ]
    labelled = tuple(label_key(key, datetime.now(UTC), expire_age=180, expiring_days=15) for key in keys)
    rendered = render(Scan(PROFILE, tuple(keys), user_count=len(users)), labelled, Outcomes(), 1.0, NOW)
    assert len(rendered.lines) == len(keys) + 1
    assert all(is_sound(line) and not any(c < " " for c in line) for line in rendered.lines)
    for line in problem_lines(rendered.problems, verbose=True):
        assert line.count(b"\n") == 1
        assert line[:-1].decode().isprintable()


@given(XML_TEXT, XML_TEXT, st.sampled_from([400, 403, 404, 409, 418, 500]), DATES)
@example("AccessDenied\nE! forged", NASTY_TEXT, 403, "Mon, 23 Nov 2026 12:00:00 GMT")
@example("x", "x", 400, f"Mon, 23 Nov 2026 12:00:00 +{'9' * 20}")
@examples(120)
def test_any_error_code_and_any_date_of_iams_end_in_one_line(
    server: AnyServer, iam: AwsIam, code: str, message: str, status: int, date: str
) -> None:
    safe = "".join(c for c in message if c.isprintable())
    body = f"<ErrorResponse><Error><Code>{escape(code)}</Code><Message>{escape(safe)}</Message></Error></ErrorResponse>"
    server.answers = [Answer(status, body.encode(), {**XML, "Date": date})]
    result = answered(lambda: iam.list_users(None))
    assert isinstance(result, ServiceError)
    assert result.text.isprintable()
    assert len(safe) < 8 or safe not in result.text, "AWS's own words are left out: they may name anything"


@given(DATES)
@example(f"Mon, 23 Nov 2026 12:00:00 +{'9' * 20}")
@examples(80)
def test_a_date_that_says_nothing_costs_no_answer(server: AnyServer, iam: AwsIam, date: str) -> None:
    """Only one that names another time ends the run, in a line that says by how much."""
    result = keys_from(server, iam, Answer(200, keys_xml(GOOD_KEY), {**XML, "Date": date}))
    if isinstance(result, ServiceError):
        assert "this machine's clock is" in result.text
        assert "minutes" in result.text


# DynamoDB

AMZ_JSON = {"Content-Type": "application/x-amz-json-1.0"}
KEY_ITEM: dict[str, Any] = {
    HASH_KEY: {"S": ACCESS_KEY_ID},
    "account_id": {"S": ACCOUNT},
    "user_name": {"S": "dev_kramer"},
    "told_at": {"N": "1795435200"},
    "issue_key": {"S": "SEC-7"},
    "issue_filings": {"L": [{"N": "1795435200"}]},
    "issue_claim": {"S": "0123"},
    "issue_claim_until": {"N": "1795435200"},
}
ADDRESSEE_ITEM: dict[str, Any] = {
    HASH_KEY: {"S": OWNER.record_id},
    "messaged_at": {"N": "1795435200"},
    "not_before": {"N": "1795435200"},
    "server_errors": {"N": "1"},
    "message_claim": {"S": "0123"},
    "message_claim_until": {"N": "1795435200"},
}
ITEMS = {"Responses": {TABLE: [KEY_ITEM, ADDRESSEE_ITEM]}, "UnprocessedKeys": {}}
NUMBERS: list[Any] = [
    *(
        "",
        " ",
        "x",
        "1e3",
        "1.5",
        "-1",
        "0",
        "-9" * 9,
        "9" * 12,
        "9" * 30,
        "9" * 5000,
        "nan",
        "inf",
        "0x1",
        "1_0",
        "\u0661",
    ),
    *(0, -1, 1.5, 10**30, True, None, [], {}, "253402300799", "253402300800", "-62135596800", "-62135596801"),
]


def one_item(item: dict[str, Any]) -> bytes:
    return as_json({"Responses": {TABLE: [item]}, "UnprocessedKeys": {}})


def read(server: AnyServer, table: StateTable, *answers: bytes, status: int = 200) -> State | ServiceError:
    server.answers = [
        *(Answer(status, answer, AMZ_JSON) for answer in answers),
        Answer(200, as_json({"Responses": {}}), AMZ_JSON),
    ]
    result = answered(lambda: table.read([ACCESS_KEY_ID], [OWNER]))
    assert isinstance(result, ServiceError | State)
    return result


def assert_sound(state: State) -> None:
    instants: list[Any] = []
    for record in state.keys.values():
        assert record.issue_key is None or isinstance(record.issue_key, str)
        instants += [record.told_at, record.issue_claim_until, *record.issue_filings]
    for addressed in state.addressees.values():
        assert type(addressed.server_errors) is int
        instants += [addressed.messaged_at, addressed.not_before, addressed.claim_until]
    for instant in instants:
        assert instant is None or (isinstance(instant, datetime) and instant.tzinfo is UTC)


@given(bodies(ITEMS), st.sampled_from([200] * 6 + [400, 403, 404, 413, 500, 503]))
@example(one_item({HASH_KEY: {"S": 5}, "told_at": {"N": "x"}}), 200)
@example(one_item({HASH_KEY: {"S": 5}}), 200)
@example(one_item({HASH_KEY: {"S": [1]}}), 200)
@example(one_item({HASH_KEY: {"N": "5"}}), 200)
@example(one_item({**KEY_ITEM, "told_at": {"NULL": True}}), 200)
@example(one_item({**KEY_ITEM, "issue_filings": {"L": {"N": "5"}}}), 200)
@example(as_json({"Responses": {TABLE: 5}}), 200)
@example(as_json({"Responses": None}), 200)
@example(as_json({"__type": 5}), 400)
@example(as_json({"__type": NASTY_TEXT}), 400)
@examples(250)
def test_any_answer_to_batch_get_item_is_an_error_or_sound_records(
    server: AnyServer, table: StateTable, body: bytes, status: int
) -> None:
    result = read(server, table, body, status=status)
    if isinstance(result, State):
        assert_sound(result)


NAMES_OF_INSTANTS = ["told_at", "issue_claim_until"]
NAMES_OF_AN_ADDRESSEES_INSTANTS = ["messaged_at", "not_before", "message_claim_until"]


@given(
    st.sampled_from([*NAMES_OF_INSTANTS, *NAMES_OF_AN_ADDRESSEES_INSTANTS, "server_errors"]), st.sampled_from(NUMBERS)
)
@examples(120)
def test_an_item_whose_number_is_none_is_unreadable(
    server: AnyServer, table: StateTable, name: str, number: object
) -> None:
    """It costs only what it is about: the other item is read."""
    spoiled_item: dict[str, Any] = {**(KEY_ITEM if name in KEY_ITEM else ADDRESSEE_ITEM), name: {"N": number}}
    other: dict[str, Any] = ADDRESSEE_ITEM if name in KEY_ITEM else KEY_ITEM
    result = read(server, table, as_json({"Responses": {TABLE: [spoiled_item, other]}, "UnprocessedKeys": {}}))
    assert isinstance(result, State)
    assert_sound(result)
    spoiled_name, other_name = spoiled_item[HASH_KEY]["S"], other[HASH_KEY]["S"]
    known = {*result.keys, *result.addressees}
    assert other_name in known
    assert (spoiled_name in known) != (spoiled_name in result.unreadable)
    if not (isinstance(number, str) and re.fullmatch(r"\s*[+-]?\d[\d_]*\s*", number)) and not isinstance(
        number, int | float
    ):
        assert spoiled_name in result.unreadable


ISSUE_KEYS = [
    "",
    " ",
    "-",
    "x",
    "../../myself",
    "SEC-7?x",
    "SEC-7\n",
    NASTY_TEXT,
    "x" * 300,
    5,
    ["SEC-7"],
    {"a": 1},
    "SEC-7",
]


@given(st.sampled_from(ISSUE_KEYS) | st.text(max_size=8))
@example("")
@example("../../myself")
@examples(80)
def test_a_recorded_issue_that_could_be_none_does_not_count_as_a_warning(
    server: AnyServer, table: StateTable, issue_key: object
) -> None:
    """What is not one is no issue, and the key goes into the address that is asked for it."""
    result = read(server, table, one_item({HASH_KEY: {"S": ACCESS_KEY_ID}, "issue_key": {"S": issue_key}}))
    assert isinstance(result, State)
    record = result.key(ACCESS_KEY_ID)
    could_be_one = isinstance(issue_key, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*-[0-9]+", issue_key, re.ASCII)
    assert (record.issue_key is not None) == bool(could_be_one)
    assert could_be_one or ACCESS_KEY_ID in result.unreadable


DESCRIBED: dict[str, dict[str, Any]] = {
    "Table": {
        "TableName": TABLE,
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": HASH_KEY, "AttributeType": "S"}],
    }
}


def is_ours(body: bytes) -> bool:
    """Whether the answer says that the table has our hash key alone, a string, and can be used."""
    text = body.decode("utf-8", "replace")
    return all(f'"{word}"' in text for word in (HASH_KEY, "HASH", "S")) and ('"ACTIVE"' in text or '"UPDATING"' in text)


@given(
    bodies(DESCRIBED, {"Table": {**DESCRIBED["Table"], "TableStatus": "CREATING"}}),
    st.sampled_from([200] * 6 + [400, 500]),
)
@example(as_json({"Table": {**DESCRIBED["Table"], "KeySchema": [None]}}), 200)
@example(as_json({"Table": {**DESCRIBED["Table"], "AttributeDefinitions": [{"AttributeName": ["x"]}]}}), 200)
@example(as_json({"Table": {**DESCRIBED["Table"], "TableStatus": NASTY_TEXT}}), 200)
@example(as_json({"Table": {**DESCRIBED["Table"], "TableStatus": ["ACTIVE"]}}), 200)
@example(as_json({"Table": {}}), 200)
@example(b"{}", 200)
@example(b"", 200)
@examples(120)
def test_any_answer_to_describe_table_is_an_error_or_a_table_of_our_shape(
    server: AnyServer, table: StateTable, body: bytes, status: int
) -> None:
    """It is asked again where the table is being made; then it is there, in another shape."""
    another = as_json({"Table": {**DESCRIBED["Table"], "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}})
    server.answers = [Answer(status, body, AMZ_JSON), Answer(200, another, AMZ_JSON)]
    is_there = answered(lambda: table.open(create=False))
    if not isinstance(is_there, ServiceError):
        assert status == 200 if is_there else status == 400
        assert is_there == is_ours(body)
