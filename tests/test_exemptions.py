"""An exemption is in force to the end of its last day, for whom it names, and for nobody by mistake."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.exemptions import (
    REASON_TAG,
    UNTIL_TAG,
    BadTag,
    ExemptionRule,
    ExemptionsError,
    file_exemption,
    parse_exemptions,
    tag_exemption,
    worth_a_look,
)
from keycheck.model import Exemption
from tests.builders import ACCOUNT, DAY

TODAY = date(2026, 11, 23)
FARTHEST = TODAY + 366 * DAY
PROFILE = "acme-prod"
REPEATABLE = hypothesis_settings(max_examples=150, derandomize=True, deadline=None)
GOOD = {
    "account": '"acme-prod"',
    "user": '"deploy-*"',
    "until": "2027-01-31",
    "reason": '"SEC-99: moves to a role"',
}
RULE = ExemptionRule("acme-prod", "deploy-*", date(2027, 1, 31), "SEC-99: moves to a role")


def table(**changes: str | None) -> str:
    """One good [[exemption]] table as TOML, but for these keys; None leaves one out."""
    pairs = {**GOOD, **changes}
    return "\n".join(["[[exemption]]", *(f"{key} = {value}" for key, value in pairs.items() if value is not None), ""])


def complaint(text: str) -> str:
    with pytest.raises(ExemptionsError) as caught:
        parse_exemptions(text, TODAY)
    return str(caught.value)


# The file


def test_a_good_file_is_read() -> None:
    for text, rules in [
        ("", ()),
        ("# nobody now\n\n", ()),
        ("exemption = []", ()),
        (table(), (RULE,)),
        (table().replace("\n", "\r\n"), (RULE,)),
        (
            table() + table(account='"123456789012"', user='"kramer"'),
            (RULE, ExemptionRule("123456789012", "kramer", RULE.until, RULE.reason)),
        ),
        (table() + table(), (RULE, RULE)),
        (f"exemption = [{{{', '.join((f'{key} = {value}' for key, value in GOOD.items()))}}}]", (RULE,)),
        (table(until="2020-02-29"), (ExemptionRule(RULE.account, RULE.user, date(2020, 2, 29), RULE.reason),)),
        (table(until=str(FARTHEST)), (ExemptionRule(RULE.account, RULE.user, FARTHEST, RULE.reason),)),
        (table(account='" acme-prod "', user='"deploy-*\\t"', reason='"\\n SEC-99: moves to a role"'), (RULE,)),
        (table(reason=f'''"{"ä" * 200}"'''), (ExemptionRule(RULE.account, RULE.user, RULE.until, "ä" * 200),)),
    ]:
        assert parse_exemptions(text, TODAY) == rules


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("exemptions", "line 1: ", id="a word"),
        pytest.param("\n[[exemption]\n", "line 2, column 12: ", id="a bracket forgotten"),
        pytest.param(table(user="deploy-*"), "line 3, column 8: ", id="quotes forgotten"),
        pytest.param(table(until="31.01.2027"), "line 4, column 14: ", id="a date of another land"),
        pytest.param(table(until="2027-02-29"), "line 4, column 9: ", id="a day that there is not"),
        pytest.param(table() + 'user = "a"\n', "line 6, column 11: ", id="a key twice"),
        pytest.param('# one\n[[exemption]]\nuser = """a', "line 3: ", id="quotes without end"),
        pytest.param("exemption = " + "9" * 5000, "line 1: ", id="a number of 5000 digits"),
        pytest.param("exemption = " + "[" * 100_000, "line 1: ", id="brackets without end"),
        pytest.param('user = "\x00"', "line 1, column 9: ", id="NUL byte"),
    ],
)
def test_what_is_no_toml_is_refused_naming_the_line(text: str, place: str) -> None:
    """Only where Python's own parser gives up without a line is it the first."""
    said = complaint(text)
    assert said.startswith(place)
    assert "TOML" in said
    assert "\n" not in said


def test_no_toml_is_said_with_how_to_write_it() -> None:
    assert complaint("x").endswith('stands in quotes: until = 2027-01-31, reason = "SEC-99: moves to a role"')


def test_a_long_key_is_not_repeated() -> None:
    """It may be a secret in the wrong place, as tomllib repeats it where it stands twice."""
    secret = "AKIAIOSFODNN7EXAMPLE"
    for text in (f"[{secret}]\n[{secret}]", f"x = {{{secret} = 1, {secret} = 2}}", f"{secret} = 1", f"[[{secret}]]"):
        assert secret not in complaint(text)
    for changes in ({secret: "1"}, {"user": f'"{secret}"', "reason": None}, {"until": f'"{secret}"'}):
        assert secret not in complaint(table(**changes))


HERE = "exemption 2 (user 'deploy-*'): "


def test_a_mistake_is_said_with_the_exemption_and_how_to_write_it() -> None:
    for text, said in [
        ("version = 1\n" + table(), "'version' at the top of the file: nothing but"),
        ("[[exemptions]]", "'exemptions' at the top of the file: nothing but [[exemption]]"),
        ("[exemption]", "exemption 1: write [[exemption]], with two brackets"),
        ('exemption = "x"', "exemption 1: write [[exemption]], with two"),
        ("exemption = [1]", "exemption 1: not a table; write [[exemption]]"),
        (table() + table(account=None), f"{HERE}account is missing; write account = "),
        (table() + table(user=None), 'exemption 2: user is missing; write user = "deploy-*"'),
        (table() + table(until=None), f"{HERE}until is missing; write until = 2027-01-31"),
        (table() + table(reason=None), f"{HERE}reason is missing; write reason = "),
        ("[[exemption]]", "exemption 1: account is missing"),
        (
            table() + table(till="2027-01-31", until=None),
            f"{HERE}'till' is not known; there are account, user, until, reason",
        ),
        (table() + table(User='"a"'), f"{HERE}'User' is not known"),
        (table() + table(**{"user.name": '"a"', "user": None}), "exemption 2: user is not text"),
        (table() + table(account='""'), f"{HERE}account is blank; write account = "),
        (table() + table(user='" "'), "exemption 2 (user ' '): user is blank; write user = "),
        (table() + table(reason='"\\t"'), f"{HERE}reason is blank; write reason = "),
        (table() + table(account="123456789012"), f"{HERE}account is not text in quotes; write"),
        (table() + table(user="7"), "exemption 2: user is not text in quotes"),
        (table() + table(user='["a", "b"]'), "exemption 2: user is not text in quotes"),
        (table() + table(reason="true"), f"{HERE}reason is not text in quotes"),
        (
            table() + table(until='"2027-01-31"'),
            f"{HERE}until is not a plain date; write until = 2027-01-31, without quotes and without a time",
        ),
        (table() + table(until='""'), f"{HERE}until is not a plain date"),
        (table() + table(until="2027-01-31T10:00:00Z"), f"{HERE}until is not a plain date"),
        (table() + table(until="2027-01-31 10:00:00"), f"{HERE}until is not a plain date"),
        (table() + table(until="10:00:00"), f"{HERE}until is not a plain date"),
        (table() + table(until="20270131"), f"{HERE}until is not a plain date"),
        (
            table() + table(until=str(FARTHEST + DAY)),
            f"{HERE}until is 2027-11-25, more than 366 days after today, 2026-11-23; write an earlier day",
        ),
        (table() + table(until="9999-12-31"), f"{HERE}until is 9999-12-31, more than"),
        (table() + table(reason=f'''"{"a" * 201}"'''), f"{HERE}reason has 201 characters; write at most 200"),
        (table() + table(reason='"a\\nb"'), f"{HERE}reason holds what cannot be printed"),
        (table() + table(reason='"a\\u202eb"'), f"{HERE}reason holds what cannot"),
        (table(user=f'''"{"a" * 65}"''', reason=None), "exemption 1: reason is missing"),
        (table(reason=None) + table(user=None), "exemption 1 (user"),
    ]:
        assert complaint(text).startswith(said)


TOMLISH = st.text("[]exmption=\"'#{}.,: \n\\u0129-TZ\x00\ud800", max_size=40)
VALUES = (
    st.sampled_from([*GOOD.values(), "2027-01-31T00:00:00Z", "07:32:00", "[]", "{}", "nan", "true", '""', "-1", "1e9"])
    | TOMLISH
    | st.text(max_size=20).map("'{}'".format)
    | st.dates().map(str)
)
KEYS = st.sampled_from([*GOOD, "owner"]) | TOMLISH
TABLES = st.dictionaries(KEYS, VALUES).map(lambda changes: table(**changes))
DATES = st.dates()


@given(st.text() | TOMLISH | TABLES | st.lists(TABLES, max_size=3).map("".join), DATES)
@REPEATABLE
def test_any_text_gives_rules_or_an_error_in_one_line(text: str, today: date) -> None:
    try:
        rules = parse_exemptions(text, today)
    except ExemptionsError as error:
        said = str(error)
    else:
        said = ""
        for rule in rules:
            assert rule.account.strip()
            assert rule.user.strip()
            assert 0 < len(rule.reason) <= 200
            assert rule.reason.isprintable()
            assert rule.until - today <= 366 * DAY
    assert "\n" not in said


@given(st.dates(), st.dates(), st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200))
@REPEATABLE
def test_what_is_written_as_toml_is_read_back(until: date, today: date, text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    written = table(account=quoted, user=quoted, until=until.isoformat(), reason=quoted)
    if until - today > 366 * DAY:
        with pytest.raises(ExemptionsError):
            parse_exemptions(written, today)
    else:
        assert parse_exemptions(written, today) == (ExemptionRule(text, text, until, text),)


# Who is exempt by the file


def rule(account: str = PROFILE, user: str = "deploy-*", days: int = 1, reason: str = "SEC-99") -> ExemptionRule:
    return ExemptionRule(account, user, TODAY + days * DAY, reason)


def exempt(*rules: ExemptionRule, user_name: str = "deploy-web") -> Exemption | None:
    return file_exemption(rules, (ACCOUNT, PROFILE), user_name, TODAY)


@pytest.mark.parametrize(
    ("account", "applies"),
    [
        (PROFILE, True),
        (ACCOUNT, True),
        ("acme-dev", False),
        ("210987654321", False),
        ("acme-*", False),
        ("*", False),
        ("Acme-Prod", True),
    ],
)
def test_an_exemption_is_for_one_profile_or_account_and_no_pattern_of_them(account: str, applies: bool) -> None:
    assert (exempt(rule(account)) is not None) is applies


def test_the_user_is_a_name_or_a_pattern_in_any_case() -> None:
    for user, user_name, applies in [
        ("deploy-web", "deploy-web", True),
        ("deploy-web", "deploy-webb", False),
        ("deploy-web", "Deploy-Web", True),
        ("deploy-*", "deploy-", True),
        ("deploy-*", "my-deploy-web", False),
        ("Deploy-*", "deploy-web", True),
        ("*", "anybody@example.com", True),
        ("deploy-?", "deploy-1", True),
        ("deploy-?", "deploy-12", False),
        ("deploy-[0-9]", "deploy-7", True),
        ("deploy-[!0-9]", "deploy-7", False),
        ("a+b.c", "a+b.c", True),
        ("a.c", "abc", False),
        ("[z-a]", "b", False),
        ("[", "[", True),
    ]:
        assert (exempt(rule(user=user), user_name=user_name) is not None) is applies


@pytest.mark.parametrize(("days", "applies"), [(366, True), (1, True), (0, True), (-1, False), (-400, False)], ids=str)
def test_an_exemption_is_in_force_to_the_end_of_its_last_day(days: int, applies: bool) -> None:
    assert exempt(rule(days=days)) == (Exemption(TODAY + days * DAY, "SEC-99") if applies else None)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        pytest.param([], None, id="none"),
        pytest.param([rule(days=3, reason="a"), rule(days=9, reason="b")], "b", id="the later is second"),
        pytest.param([rule(days=9, reason="a"), rule(days=3, reason="b")], "a", id="the later is first"),
        pytest.param([rule(days=9, reason="a"), rule(days=9, reason="b")], "a", id="both on one day: the first"),
        pytest.param([rule(days=-1, reason="a"), rule(days=0, reason="b")], "b", id="one has lapsed"),
        pytest.param([rule(days=-1, reason="a"), rule(days=-2, reason="b")], None, id="both have lapsed"),
        pytest.param(
            [rule(days=9, user="kramer", reason="a"), rule(days=3, reason="b")], "b", id="the later is another user's"
        ),
        pytest.param(
            [rule(days=9, account="acme-dev", reason="a"), rule(days=3, reason="b")], "b", id="the later is elsewhere"
        ),
        pytest.param(
            [rule(PROFILE, days=3, reason="a"), rule(ACCOUNT, days=9, reason="b")], "b", id="by profile and by account"
        ),
        pytest.param(
            [rule(user="deploy-web", days=3, reason="a"), rule(user="*", days=9, reason="b")],
            "b",
            id="a pattern that ends later than the name",
        ),
    ],
)
def test_of_several_exemptions_the_one_that_ends_last_counts(rules: list[ExemptionRule], reason: str | None) -> None:
    found = exempt(*rules)
    assert (found and found.reason) == reason


@given(st.text(min_size=1) | st.text("*?[]!-az\\", min_size=1, max_size=12), st.text("az-[]*+=,.@_", max_size=64))
@REPEATABLE
def test_any_pattern_can_be_compared_with_any_user_name(user: str, user_name: str) -> None:
    found = exempt(rule(user=user), user_name=user_name)
    assert found in (None, Exemption(TODAY + DAY, "SEC-99"))
    assert exempt(rule(user="*"), user_name=user_name) is not None


# Who is exempt by tag

REASON = "SEC-99: moves to a role"


@pytest.mark.parametrize(
    ("until", "reason", "outcome"),
    [
        pytest.param(None, None, None, id="neither"),
        pytest.param("2027-01-31", REASON, Exemption(date(2027, 1, 31), REASON), id="both"),
        pytest.param("2027-01-31", f"  {REASON} ", Exemption(date(2027, 1, 31), REASON), id="blanks around the reason"),
        pytest.param("2026-11-23", REASON, Exemption(TODAY, REASON), id="its last day"),
        pytest.param("2026-11-22", REASON, None, id="lapsed yesterday"),
        pytest.param(str(FARTHEST), REASON, Exemption(FARTHEST, REASON), id="366 days ahead"),
        pytest.param(str(FARTHEST + DAY), REASON, "exempt-until holds 2027-11-25, which is more", id="367 days ahead"),
        pytest.param("9999-12-31", REASON, "exempt-until holds 9999-12-31, which is more than 366", id="for ever"),
        pytest.param("2027-01-31", None, "exempt-until is there, but keycheck:exempt-reason is not", id="no reason"),
        pytest.param(None, REASON, "exempt-reason is there, but keycheck:exempt-until is not", id="no day"),
        pytest.param(None, "", "exempt-reason is there, but keycheck:exempt-until is not", id="no day, blank reason"),
        pytest.param("2027-01-31", "", "exempt-reason is blank", id="no text in the reason"),
        pytest.param("2027-01-31", " \u00a0", "exempt-reason is blank", id="a blank reason"),
        pytest.param("2026-11-22", None, None, id="lapsed, and no reason"),
        pytest.param("2026-11-22", "", None, id="lapsed, and a blank reason"),
        pytest.param(
            "soon", None, "exempt-until holds 'soon', which is no day like 2027-01-31", id="no day, no reason"
        ),
        pytest.param("9999-12-31", "", "exempt-until holds 9999-12-31", id="for ever, and a blank reason"),
    ],
)
def test_an_exemption_by_tag_needs_a_day_and_a_reason(
    until: str | None, reason: str | None, outcome: Exemption | str | None
) -> None:
    """One that has lapsed is none, whatever else is wrong: an unsound one keeps the user's access keys active."""
    given_tags = {UNTIL_TAG: until, REASON_TAG: reason, "team": "platform"}
    found = tag_exemption({name: value for name, value in given_tags.items() if value is not None}, TODAY)
    if isinstance(outcome, str):
        assert isinstance(found, BadTag)
        assert found.why.startswith("the tag keycheck:")
        assert outcome in found.why
    else:
        assert found == outcome


def test_a_day_in_a_tag_is_year_month_and_day_and_nothing_else() -> None:
    for day in [
        "",
        "soon",
        "20270131",
        "2027-W04-7",
        "2027-1-31",
        "2027-01-1",
        "31.01.2027",
        "01/31/2027",
        "2027/01/31",
        "2027-02-29",
        "2027-13-01",
        "0000-01-01",
        " 2027-01-31",
        "2027-01-31 ",
        "2027-01-31\n",
        "2027-01-31T00:00:00Z",
        "+2027-01-31",
        "\u0662\u0660\u0662\u0667-01-31",
        "x" * 256,
    ]:
        found = tag_exemption({UNTIL_TAG: day, REASON_TAG: REASON}, TODAY)
        assert isinstance(found, BadTag)
        assert "which is no day like 2027-01-31" in found.why
        assert len(day) <= 12 or day not in found.why


def test_tags_count_in_any_case_as_iam_takes_them_for_the_same() -> None:
    tags = {"Keycheck:Exempt-Until": "2027-01-31", "KEYCHECK:EXEMPT-REASON": REASON}
    assert tag_exemption(tags, TODAY) == Exemption(date(2027, 1, 31), REASON)
    assert tag_exemption({"exempt-until": "2027-01-31", "exempt-reason": REASON}, TODAY) is None


@given(
    st.dictionaries(
        st.sampled_from([UNTIL_TAG, REASON_TAG, "team"]),
        st.text() | st.text("0129- ", max_size=12) | st.dates().map(str),
    ),
    DATES,
)
@REPEATABLE
def test_any_tags_give_an_exemption_or_none_or_what_is_wrong(tags: dict[str, str], today: date) -> None:
    match tag_exemption(tags, today):
        case Exemption(until=until, reason=reason):
            assert tags[UNTIL_TAG] == str(until)
            assert reason.strip()
            assert timedelta() <= until - today <= 366 * DAY
        case BadTag(why=why):
            assert "\n" not in why
            assert why.startswith("the tag keycheck:exempt-")
        case None:
            assert REASON_TAG not in tags or UNTIL_TAG in tags


# What a person should know of the file


@pytest.mark.parametrize(
    ("account", "user", "until", "says"),
    [
        ("acme-dev", "dev_*", date(2027, 1, 31), []),
        ("ACME-DEV", "Dev_Kramer", date(2027, 1, 31), []),
        (
            "acme-dev",
            "gone",
            date(2027, 1, 31),
            ["is for no user who has an access key; look at its user, or delete it"],
        ),
        ("acme-prod", "gone", date(2027, 1, 31), []),
        ("acme-dev", "dev_*", TODAY - timedelta(days=1), ["is over; delete it"]),
        ("acme-prod", "gone", TODAY - timedelta(days=1), ["is over; delete it"]),
        ("acme-dev", "dev_*", TODAY, ["ends soon; after that day it is given a notice"]),
        ("acme-dev", "dev_*", TODAY + timedelta(days=14), ["ends soon; after that day it is given a notice"]),
        ("acme-dev", "dev_*", TODAY + timedelta(days=15), []),
    ],
)
def test_what_is_over_ends_soon_or_is_about_nobody_is_worth_a_look(
    account: str, user: str, until: date, says: list[str]
) -> None:
    rule = ExemptionRule(account, user, until, "a freeze")
    found = worth_a_look([rule], {"acme-dev": {"dev_kramer"}}, TODAY)
    assert found == [f"exemption 1 (user {user!r}, until {until}) {one}" for one in says]
