"""The credential report's rows, as live reports and the guide have them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keycheck.credential_report import KeyInReport, NotAReport, UserInReport, read_report

COLUMNS = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
    "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)
CREATED = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST = datetime(2026, 9, 11, 13, 14, 53, tzinfo=UTC)
SECOND = datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)


def line(user_name: str, *slots: tuple[str, str], created: str = "2024-01-02T03:04:05Z") -> str:
    """One row as IAM writes it; a slot is (active, last_rotated)."""
    both = [*slots, ("false", "N/A"), ("false", "N/A")][:2]
    keys = ",".join(f"{active},{rotated},N/A,N/A,N/A" for active, rotated in both)
    arn = f"arn:aws:iam::123456789012:user/{user_name}"
    return f"{user_name},{arn},{created},false,N/A,N/A,N/A,false,{keys},false,N/A,false,N/A"


ROOT = line("<root_account>", created="2019-01-01T00:00:00Z").replace(
    "false,N/A,N/A,N/A", "not_supported,N/A,N/A,N/A", 1
)


def report(*lines: str, columns: str = COLUMNS) -> str:
    return "\n".join([columns, ROOT, *lines])


def test_a_row_says_when_the_user_was_made_and_which_keys_are_active_since_when() -> None:
    """An inactive access key keeps its creation: measured, whatever the guide says."""
    rows = read_report(
        report(
            line("alice", ("true", "2026-09-11T13:14:53Z"), ("false", "2025-02-03T04:05:06+00:00")),
            line("bob"),
            line("carol", ("false", "N/A"), ("true", "2025-02-03T04:05:06Z")),
        )
    )
    assert rows == {
        "alice": UserInReport(CREATED, (KeyInReport(True, FIRST), KeyInReport(False, SECOND)), has_more=False),
        "bob": UserInReport(CREATED, (), has_more=False),
        "carol": UserInReport(CREATED, (KeyInReport(True, SECOND),), has_more=False),
    }


def test_columns_are_found_by_their_names() -> None:
    """The guide's last column, columns of tomorrow, and another order."""
    names = COLUMNS.split(",")
    values = line("alice", ("true", "2026-09-11T13:14:53Z")).split(",")
    pairs = [("new", "x"), *reversed(list(zip(names, values, strict=True))), ("additional_credentials_info", "1 more")]
    rows = read_report(",".join(name for name, _ in pairs) + "\n" + ",".join(value for _, value in pairs) + "\n")
    assert rows == {"alice": UserInReport(CREATED, (KeyInReport(True, FIRST),), has_more=True)}


@pytest.mark.parametrize("nothing", ["", "N/A", " "])
def test_no_more_credentials_is_said_in_several_ways(nothing: str) -> None:
    columns = f"{COLUMNS},additional_credentials_info"
    text = f"{columns}\n{line('alice')},{nothing}"
    assert not read_report(text)["alice"].has_more


def test_guides_upper_case_is_read() -> None:
    (row,) = read_report(report(line("alice", ("TRUE", "2026-09-11T13:14:53Z"), ("FALSE", "N/A")))).values()
    assert row.keys == (KeyInReport(True, FIRST),)


def test_a_name_with_all_that_iam_allows_is_read() -> None:
    """A comma stands between quotes."""
    name = "a,b=c+d.e@f_g-h"
    arn = f'"arn:aws:iam::123456789012:user/{name}"'
    plain = line("NAME", ("true", "2026-09-11T13:14:53Z"))
    quoted = plain.replace("arn:aws:iam::123456789012:user/NAME", arn).replace("NAME", f'"{name}"')
    assert list(read_report(report(quoted))) == [name]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(line("eve", ("yes", "2026-09-11T13:14:53Z")), id="neither true nor false"),
        pytest.param(line("eve", ("true", "N/A")), id="active since never"),
        pytest.param(line("eve", ("true", "no_information")), id="active since a word"),
        pytest.param(line("eve", ("false", "no_information")), id="inactive since a word"),
        pytest.param(line("eve", ("true", "2026-09-11T13:14:53")), id="no time zone"),
        pytest.param(line("eve", ("true", "1970-01-01T00:00:00Z")), id="before AWS"),
        pytest.param(line("eve", ("true", "2026-13-11T13:14:53Z")), id="no such month"),
        pytest.param(line("eve", ("true", "0001-01-01T00:00:00+23:59")), id="before the calendar"),
        pytest.param(line("eve", created="N/A"), id="a user made never"),
        pytest.param(line("eve")[:-30], id="cut off"),
        pytest.param(line("eve") + ",more", id="a value too many"),
        pytest.param(line("eve") + "\n" + line("eve", ("true", "2026-09-11T13:14:53Z")), id="twice"),
        pytest.param(line("eve") + "\n" + line("eve") + "\n" + line("eve"), id="three times"),
    ],
)
def test_a_row_that_cannot_be_meant_costs_its_user_the_row_alone(broken: str) -> None:
    assert list(read_report(report(line("alice"), broken, line("zoe")))) == ["alice", "zoe"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "has no column user", id="empty"),
        pytest.param("<html><body>Sign in</body></html>", "has no column user", id="a login page"),
        pytest.param(
            COLUMNS.replace("user_creation_time", "x"), "has no column user_creation_time", id="a column gone"
        ),
        pytest.param(f"{COLUMNS},access_key_2_active", "has no column access_key_2_active", id="a column twice"),
        pytest.param(f'{COLUMNS}\n"{"x" * 200_000}', "is not CSV", id="a field without end"),
    ],
)
def test_what_is_no_report_is_not_read_as_one_without_users(text: str, reason: str) -> None:
    with pytest.raises(NotAReport, match=reason):
        read_report(text)


def test_root_is_not_a_user() -> None:
    assert read_report(report()) == {}
