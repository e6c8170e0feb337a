"""The mapping file is read as data: a good one gives who owns whom, any other an error that names the line.

And who is told of a user, by mapping, tags and e-mail, in each pair of rules that can meet.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import keycheck
from keycheck.model import Addressee, Owner, OwnerKind
from keycheck.owners import (
    SLACK_ID,
    IamUser,
    Known,
    MappingFile,
    Named,
    Owners,
    OwnersError,
    Presence,
    SlackName,
    of_nobody,
    parse_mapping,
    parse_slack_name,
    tag_problem,
)
from tests.builders import ACCOUNT

KRAMER = {"dev_kramer": SlackName("U012AB3CD")}
PROFILE = "acme-prod"
OTHER_ACCOUNT = "210987654321"
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def complaint(text: str) -> str:
    """What is wrong with a file, or with its one wrong entry."""
    try:
        (problem,) = parse_mapping(text).problems
    except OwnersError as error:
        return str(error)
    return problem


def test_a_good_file_is_read() -> None:
    for text, mapping in [
        ("mapping = {}", {}),
        ('mapping = {"dev_kramer": "U012AB3CD"}', KRAMER),
        ("mapping={'dev_kramer':'U012AB3CD',}", KRAMER),
        ('# ours\n\nmapping = {  # here\n    "dev_kramer": "U012AB3CD",  # him\n}\n', KRAMER),
        ('"""Who owns whom."""\n\nmapping = {"dev_kramer": "U012AB3CD"}', KRAMER),
        ('mapping: dict[str, str] = {"dev_kramer": "U012AB3CD"}', KRAMER),
        ('mapping: print("no") = {"dev_kramer": "U012AB3CD"}', KRAMER),
        ('mapping = {"dev_kramer": "U012AB3CD", "dev_kramer": "U012AB3CD"}', KRAMER),
        ('mapping = {"a+=,.@_-b": "W0A"}', {"a+=,.@_-b": SlackName("W0A")}),
        (
            'mapping = {"a": "U01", "b": "U01", "c": "C01", "d": "G01", "e": "D01"}',
            {
                user: SlackName(slack_id)
                for user, slack_id in zip("abcde", ["U01", "U01", "C01", "G01", "D01"], strict=True)
            },
        ),
        (
            'mapping = {"a": "C012AB3CD S012AB3CD", "b": "G01 S01"}',
            {"a": SlackName("C012AB3CD", "S012AB3CD"), "b": SlackName("G01", "S01")},
        ),
        (
            'mapping = {"acme-prod/a": "U01", "123456789012/a": "U02", "x/y/a": "U03", "a": "U04"}',
            {
                "acme-prod/a": SlackName("U01"),
                "123456789012/a": SlackName("U02"),
                "x/y/a": SlackName("U03"),
                "a": SlackName("U04"),
            },
        ),
        ('mapping = {"dev_kramer":\r\n "U012AB3CD"}\r\n', KRAMER),
        ("mapping = {'dev' '_kramer': ('U012' 'AB3CD')}", KRAMER),
        ('mapping = {"dev_\\x6bramer": r"U012AB3CD"}', KRAMER),
    ]:
        assert parse_mapping(text) == MappingFile(mapping)


def test_the_file_that_comes_with_keycheck_is_good_and_empty() -> None:
    text = (Path(keycheck.__file__).parent / "slack_ID_mapping.py").read_text(encoding="utf-8")
    assert parse_mapping(text) == MappingFile({})


def test_any_other_file_is_refused_naming_the_line() -> None:
    """Only where Python's own parser gives up without a line is it the first."""
    for text, line in [
        ("", 1),
        ("# nothing\n", 1),
        ('"""Only a docstring."""', 1),
        ('mapping = {\n "a": "U01" "b": "U02"}', 2),
        ('\n\nmapping = {"a": "U01"', 3),
        ('\nmapping = {"a": }', 2),
        ('\n"a": "U01"', 2),
        ('\n{"a": "U01"}', 2),
        ('\nmappings = {"a": "U01"}', 2),
        ('\nmapping = other = {"a": "U01"}', 2),
        ('\nmapping["a"] = "U01"', 2),
        ('\nmapping |= {"a": "U01"}', 2),
        ("\nmapping: dict", 2),
        ("\nmapping = None", 2),
        ('\nmapping = [("a", "U01")]', 2),
        ('\nmapping = {"a", "U01"}', 2),
        ('\nmapping = dict(a="U01")', 2),
        ('\nmapping = {n: "U01" for n in "ab"}', 2),
        ('\nmapping = {"a": "U01"} | {"b": "U02"}', 2),
        ('\nif True:\n    mapping = {"a": "U01"}', 2),
        ('\nif (mapping := {"a": "U01"}): pass', 2),
        ('mapping = {"a": "U01"}\nmapping = {"b": "U02"}', 2),
        ('mapping = {"a": "U01"}\n\nprint(mapping)', 3),
        ('mapping = {"a": "U01"}; x = 1', 1),
        ('import os\nmapping = {"a": "U01"}', 1),
        ('"""Doc."""\n"""More."""\nmapping = {"a": "U01"}', 2),
        ('mapping = {\n "a": f"U01{1}"}', 2),
        ('mapping = {\n f"a": "U01"}', 2),
        ('mapping = {\n **{"a": "U01"}}', 2),
        ('mapping = {\n "a": str("U01")}', 2),
        ('mapping = {\n "a": "U" + "01"}', 2),
        ('mapping = {\n "a": 1}', 2),
        ('mapping = {\n "a": None}', 2),
        ('mapping = {\n "a": b"U01"}', 2),
        ('mapping = {\n "a": ["U01"]}', 2),
        ('mapping = {\n a: "U01"}', 2),
        ('mapping = {\n 1: "U01"}', 2),
        ('mapping = {\n b"a": "U01"}', 2),
        ('mapping = {\n "a": ""}', 2),
        ('mapping = {\n "a":\n  "kramer"}', 3),
        ('mapping = {\n "a": "@kramer"}', 2),
        ('mapping = {\n "a": "#security"}', 2),
        ('mapping = {\n "a": "u012ab3cd"}', 2),
        ('mapping = {\n "a": "U012AB3CD "}', 2),
        ('mapping = {\n "a": "U012AB3CD\\n"}', 2),
        ('mapping = {\n "a": "U1"}', 2),
        ('mapping = {\n "a": "X012AB3CD"}', 2),
        ('mapping = {\n "a": "U01",\n "b": "U02",\n "a": "U03"}', 4),
        ('mapping = {\n "x/a": "U01",\n "x/a": "U03"}', 3),
        ('mapping = {\n "a": "C01 S01",\n "a": "C01 S02"}', 3),
        ('mapping = {\n "a": "C01",\n "a": "C01 S02"}', 3),
        ('mapping = {\n "/a": "U01"}', 2),
        ('mapping = {\n "acme-prod/": "U01"}', 2),
        ('mapping = {\n " / a": "U01"}', 2),
        ('mapping = {\n "/": "U01"}', 2),
        ('mapping = {\n "a": "U01 S01"}', 2),
        ('mapping = {\n "a": "W01 S01"}', 2),
        ('mapping = {\n "a": "D01 S01"}', 2),
        ('mapping = {\n "a": "S01"}', 2),
        ('mapping = {\n "a": "C01  S01"}', 2),
        ('mapping = {\n "a": "C01\\tS01"}', 2),
        ('mapping = {\n "a": "C01 S01 "}', 2),
        ('mapping = {\n "a": "C01 S01\\n"}', 2),
        ('mapping = {\n "a": "C01 S1"}', 2),
        ('mapping = {\n "a": "C01 S01 S02"}', 2),
        ('mapping = {\n "a": "C01 U01"}', 2),
        ('mapping = {\n "a": "S01 C01"}', 2),
        ('mapping = {\n "a": "U01\x00"}', 1),
        ('mapping = {"a": "U01"}\ud800', 1),
        ("mapping = " + "(" * 50000, 1),
        ("mapping = " + "[" * 90 + "]" * 90, 1),
        ("mapping = " + "-" * 100000 + "1", 1),
        ("mapping = " + "1+" * 100000 + "1", 1),
        ("mapping = a" + ".a" * 100000, 1),
    ]:
        assert complaint(text).startswith(f"line {line}: ")


def test_a_wrong_entry_costs_its_own_user_and_each_is_named_with_its_line() -> None:
    text = """mapping = {
 "ana": "U0ANA",
 "ben": "ben@example.com",
 "acme-prod/cay": 5,
 "/dan": "U0DAN",
 "eve": "U0EVE", "eve": "U0OTHER",
 "acme-prod/": "U0NOBODY",
}"""
    found = parse_mapping(text)
    bad = {name for name, one in found.entries.items() if one is None}
    assert bad == {"ben", "acme-prod/cay", "dan", "eve", "acme-prod/"}
    assert [one.split(":")[0] for one in found.problems] == ["line 3", "line 4", "line 5", "line 6", "line 7"]
    owners = Owners(found.entries, fallback_channel="C0FALLBACK")
    for user_name, kind in (("ana", KNOWN), ("ben", UNREAD), ("cay", UNREAD), ("dan", UNREAD), ("fay", UNKNOWN)):
        user = IamUser(("acme-prod",), ACCOUNT, user_name)
        assert owners.resolve(user, {}, Known(), tags_were_read=True).kind is kind, user_name


@pytest.mark.parametrize("first", ["1", "None", "...", "b'x'", "True"])
def test_only_a_string_before_the_mapping_is_a_docstring(first: str) -> None:
    assert complaint(f'{first}\nmapping = {{"a": "U01"}}').startswith("line ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'there is no mapping in it; write it like mapping = {"dev_kramer": "U012AB3CD"}'),
        ("mapping = None", 'expected mapping = {"dev_kramer": "U012AB3CD"}'),
        ("mapping = {}\nx = 1", "nothing but one mapping may stand in this file, and it is not executed"),
        ('mapping = {"a": 1}', "user name and Slack id must both be plain strings in quotes"),
        ('mapping = {"a": "bob"}', "'bob' is not a Slack id; those look like U012AB3CD"),
        ('mapping = {"a": "U01", "a": "U02"}', "'a' stands twice in the mapping, with different Slack ids"),
        ('mapping = {"a": "U01 S01"}', "a user group (S...) goes beside the id of a channel (C... or G...) alone"),
        ('mapping = {"/a": "U01"}', """'/a' is neither a user name nor a profile or an account id"""),
    ],
)
def test_the_complaint_says_what_to_do(text: str, words: str) -> None:
    assert words in complaint(text)


def test_a_file_with_side_effects_leaves_none(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for text in (
        f'open({str(trace)!r}, "w")\nmapping = {{}}',
        f'mapping = {{"a": open({str(trace)!r}, "w")}}',
        f'mapping = {{open({str(trace)!r}, "w"): "U01"}}',
        f'import pathlib\npathlib.Path({str(trace)!r}).touch()\nmapping = {{"a": "U01"}}',
        f'mapping = {{"a": f"{{open({str(trace)!r}, chr(119))}}"}}',
        f'mapping = {{**open({str(trace)!r}, "w")}}',
    ):
        complaint(text)
    annotated = f'mapping: open({str(trace)!r}, "w") = {{"a": "U01"}}'
    assert parse_mapping(annotated) == MappingFile({"a": SlackName("U01")})
    assert not trace.exists()


def test_a_deep_file_is_refused_in_a_thread_too() -> None:
    """Where keycheck reads it; a thread's stack is smaller."""
    complaints: list[str] = []
    thread = threading.Thread(target=lambda: complaints.append(complaint("mapping = " + "-" * 100_000 + "1")))
    thread.start()
    thread.join()
    assert len(complaints) == 1


def test_a_large_mapping_is_read() -> None:
    mapping = {f"user{number}": f"U{number:08}" for number in range(5000)}
    read = parse_mapping(f"mapping = {mapping!r}").entries
    assert {user: name.slack_id for user, name in read.items() if name is not None} == mapping


PYTHONISH = st.text("mapping={}\"':,U012 \n()[]#\\\x00\ud800f*+-", max_size=40)
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.text() | PYTHONISH | PYTHONISH.map("mapping = {{{}}}".format) | LITERALS.map("mapping = {!r}".format))
@REPEATABLE
def test_any_text_gives_a_mapping_or_an_error_that_names_a_line(text: str) -> None:
    try:
        mapping = parse_mapping(text)
    except OwnersError as error:
        said = [str(error)]
    else:
        assert all(isinstance(user, str) for user in mapping.entries)
        assert all(name is None or SLACK_ID.fullmatch(name.slack_id) for name in mapping.entries.values())
        assert (None in mapping.entries.values()) is bool(mapping.problems)
        said = list(mapping.problems)
    for words in said:
        assert words.startswith("line ")
        assert words.removeprefix("line ").split(":")[0].isdigit()


NAMES = st.text().filter(lambda text: "/" not in text)
REST = st.text("ABCU0189", min_size=2, max_size=10)
TEXTS = REST.map("U{}".format) | st.tuples(REST, REST).map(lambda two: "C{} S{}".format(*two))


@given(st.dictionaries(NAMES, TEXTS, max_size=9))
@REPEATABLE
def test_what_is_written_as_python_writes_it_is_read_back(mapping: dict[str, str]) -> None:
    read = parse_mapping(f"mapping = {mapping!a}").entries
    assert {user: " ".join(filter(None, (one.slack_id, one.group))) for user, one in read.items() if one} == mapping


# Slack names and tags


def test_a_slack_name_is_an_id_or_a_channel_with_a_group() -> None:
    for text, name in [
        ("U012AB3CD", SlackName("U012AB3CD")),
        ("W01", SlackName("W01")),
        ("C01", SlackName("C01")),
        ("G01", SlackName("G01")),
        ("D01", SlackName("D01")),
        ("C012AB3CD S012AB3CD", SlackName("C012AB3CD", "S012AB3CD")),
        ("G01 S01", SlackName("G01", "S01")),
        ("U01 S01", None),
        ("W01 S01", None),
        ("D01 S01", None),
        ("S01", None),
        ("C01 C02", None),
        ("C01 ", None),
        (" C01", None),
        ("C01 S1", None),
        ("C01\n", None),
        ("C01 S01\n", None),
        ("u01", None),
        ("@kramer", None),
        ("", None),
    ]:
        assert parse_slack_name(text) == name


@given(st.text() | st.text("UWCGDS01 ", max_size=9))
@REPEATABLE
def test_any_text_is_a_slack_name_or_none(text: str) -> None:
    name = parse_slack_name(text)
    if name is not None:
        assert text == (name.slack_id if name.group is None else f"{name.slack_id} {name.group}")
        assert name.group is None or name.slack_id[0] in "CG"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (None, None),
        ({}, None),
        ({"Slack-ID": "kramer"}, None),
        ({"slack_id": "U01"}, None),
        ({"slack_id": "C01 S01"}, None),
        ({"slack_id": "kramer"}, "the tag slack_id holds 'kramer', which is no Slack id, and is passed over; "),
        ({"slack_id": ""}, "the tag slack_id holds '', which"),
        ({"slack_id": "123456789abc"}, "the tag slack_id holds '123456789abc', which"),
        ({"slack_id": "123456789abcd"}, "the tag slack_id holds a value of 13 characters, which"),
        ({"slack_id": "U01 S01"}, "a user group (S...) goes beside the id of a channel"),
        ({"slack_id": "a\nb"}, r"holds 'a\nb', which"),
    ],
    ids=ascii,
)
def test_a_malformed_slack_tag_is_said(tags: dict[str, str] | None, words: str | None) -> None:
    problem = tag_problem(tags, "slack_id")
    assert (problem is None) if words is None else (problem is not None and words in problem)


@given(st.text(st.characters(min_codepoint=33), min_size=13))
@REPEATABLE
def test_a_long_slack_tag_is_never_repeated(value: str) -> None:
    assert value not in (tag_problem({"slack_id": value}, "slack_id") or "")


# E-mails


@pytest.mark.parametrize(
    "email",
    ["kramer@example.com", "a@b.c", "first.last+aws@mail.example.co.uk", "k_r-a=m@example.com", "'a&b'@example.com"],
)
def test_a_plausible_e_mail_is_a_candidate_from_the_tag_and_as_user_name(email: str) -> None:
    assert Owners({}, email_tag="email").email_of("dev_kramer", {"email": email}) == (email,)
    assert Owners({}, email_tag="email").email_of(email, None) == (email,)


def test_what_is_no_plausible_e_mail_is_no_candidate() -> None:
    for text in [
        "",
        "kramer",
        "@example.com",
        "kramer@",
        "kramer@example",
        "kramer.x@example",
        "kramer@.",
        "kramer@example.",
        "kramer@@example.com",
        "a@b@example.com",
        "kramer @example.com",
        "kramer@example.com ",
        "kramer@example.com\n",
        "kramer@example.com\t",
        "kr\u00e4mer@example.com",
        "kramer@ex\u0430mple.com",
        "kramer@example.com\x7f",
        "kramer@example.com, jones@example.com",
        f"{'a' * 243}@example.com",
    ]:
        assert Owners({}, email_tag="email").email_of("dev_kramer", {"email": text}) == ()
        assert Owners({}, email_tag="email").email_of(text, {}) == ()


def test_an_e_mail_of_254_characters_is_the_longest() -> None:
    email = f"{'a' * 242}@example.com"
    assert len(email) == 254
    assert Owners({}, email_tag="email").email_of("dev_kramer", {"email": email}) == (email,)


@pytest.mark.parametrize(
    ("user_name", "tags", "emails"),
    [
        ("k@example.com", {"email": "team@example.com"}, ("team@example.com", "k@example.com")),
        ("K@Example.com", {"email": "k@example.COM"}, ("k@example.com",)),
        ("K@Example.com", {"email": "kramer"}, ("k@example.com",)),
        ("k@example.com", {"Email": "team@example.com"}, ("team@example.com", "k@example.com")),
        ("k@example.com", {"owner": "team@example.com"}, ("k@example.com",)),
        ("k@example.com", None, ("k@example.com",)),
        ("dev_kramer", {"email": "Team@Example.com"}, ("team@example.com",)),
    ],
)
def test_the_tags_e_mail_goes_before_the_user_names_in_lower_case_and_each_once(
    user_name: str, tags: dict[str, str] | None, emails: tuple[str, ...]
) -> None:
    assert Owners({}, email_tag="email").email_of(user_name, tags) == emails


def test_the_tag_with_the_e_mail_is_the_one_of_the_settings() -> None:
    tags = {"email": "a@example.com", "owner": "b@example.com"}
    assert Owners({}, email_tag="owner").email_of("dev_kramer", tags) == ("b@example.com",)


# Whom the mapping names

EVERYWHERE, IN_PROFILE, IN_ACCOUNT = SlackName("U0EVERY"), SlackName("U0PROFILE"), SlackName("U0ACCOUNT")


@pytest.mark.parametrize(
    ("scopes", "name"),
    [
        (["", "acme-prod/", "123456789012/"], IN_ACCOUNT),
        (["acme-prod/", "123456789012/"], IN_ACCOUNT),
        (["", "123456789012/"], IN_ACCOUNT),
        (["", "acme-prod/"], IN_PROFILE),
        (["acme-prod/"], IN_PROFILE),
        ([""], EVERYWHERE),
        ([], None),
    ],
    ids=str,
)
def test_the_accounts_entry_goes_before_the_profiles_and_that_before_the_plain_one(
    scopes: list[str], name: SlackName | None
) -> None:
    entries = {"": EVERYWHERE, "acme-prod/": IN_PROFILE, "123456789012/": IN_ACCOUNT}
    owners = Owners({f"{scope}dev_kramer": entries[scope] for scope in scopes})
    assert owners.mapped(IamUser((PROFILE,), ACCOUNT, "dev_kramer")) == name


def test_an_entry_for_one_profile_or_account_says_nothing_of_others() -> None:
    owners = Owners({"acme-prod/dev_kramer": IN_PROFILE, "123456789012/dev_kramer": IN_ACCOUNT, "x/y/dev": EVERYWHERE})
    assert owners.mapped(IamUser(("acme-dev",), OTHER_ACCOUNT, "dev_kramer")) is None
    assert owners.mapped(IamUser(("acme-dev",), ACCOUNT, "dev_kramer")) == IN_ACCOUNT
    assert owners.mapped(IamUser((PROFILE,), OTHER_ACCOUNT, "dev_kramer")) == IN_PROFILE
    assert owners.mapped(IamUser(("x/y",), ACCOUNT, "dev")) == EVERYWHERE
    assert owners.mapped(IamUser(("y",), ACCOUNT, "dev")) is None


def test_an_entry_for_any_profile_of_an_account_names_its_owner_whatever_their_order() -> None:
    owners = Owners({"dev-readonly/deploy": IN_PROFILE, "zz/deploy": EVERYWHERE, "deploy": IN_ACCOUNT})
    for profiles in (("acme-dev", "dev-readonly", "zz"), ("zz", "dev-readonly", "acme-dev")):
        assert owners.mapped(IamUser(profiles, ACCOUNT, "deploy")) == IN_PROFILE
    assert owners.mapped(IamUser(("acme-dev",), ACCOUNT, "deploy")) == IN_ACCOUNT


def test_names_are_compared_without_case_as_iam_compares_them() -> None:
    """IAM keeps the case, and allows no two users that differ in it alone."""
    for entry in ("dev_kramer", "DEV_kramer", f"{PROFILE.upper()}/Dev_Kramer", f"{ACCOUNT}/dev_KRAMER"):
        owners = Owners({entry: EVERYWHERE})
        assert owners.mapped(IamUser((PROFILE,), ACCOUNT, "Dev_Kramer")) == EVERYWHERE
        assert owners.mapped(IamUser((PROFILE,), ACCOUNT, "dev_kramer ")) is None


def test_a_user_named_in_two_cases_with_different_ids_is_named_twice() -> None:
    found = parse_mapping('mapping = {"dev_kramer": "U012AB3CD", "Dev_Kramer": "U0OTHER"}')
    assert found.entries == {"dev_kramer": None}
    assert "stands twice" in found.problems[0]
    same = parse_mapping('mapping = {"dev_kramer": "U012AB3CD", "Dev_Kramer": "U012AB3CD"}')
    assert (same.entries, same.problems) == ({"dev_kramer": SlackName("U012AB3CD")}, ())


# Who is told

KNOWN, UNKNOWN, UNREAD = OwnerKind.KNOWN, OwnerKind.UNKNOWN, OwnerKind.UNREAD
FALLBACK = "C0FALLBACK"
MAPPED = {"dev_kramer": SlackName("U0MAPPED")}
BY_SLACK, BY_EMAIL = {"slack_id": "U0TAG"}, {"email": "Team@example.com"}
BY_BOTH = {**BY_SLACK, **BY_EMAIL}
BAD_TAG = {"slack_id": "kramer"}
TEAM, MAIL = "team@example.com", "k@example.com"
MANY: dict[str, str | None] = {TEAM: "U0TEAM", MAIL: "U0MAIL"}


def resolve(
    owners: Owners,
    user_name: str = "dev_kramer",
    *,
    tags: dict[str, str] | None = None,
    tags_were_read: bool = True,
    lookups: dict[str, str | None] | None = None,
    presences: dict[str, Presence] | None = None,
    tells_on_slack: bool = True,
    assigns: bool = False,
    account_id: str = ACCOUNT,
) -> Owner:
    owners = replace(owners, slack_tag="slack_id", email_tag="email", tells_on_slack=tells_on_slack, assigns=assigns)
    user = IamUser((PROFILE,), account_id, user_name)
    return owners.resolve(user, tags, Known(lookups or {}, presences or {}), tags_were_read=tags_were_read)


def person(slack_id: str) -> Addressee:
    return Addressee(slack_id, ACCOUNT, is_person=True)


NOBODYS = Addressee(FALLBACK, ACCOUNT, is_person=False, is_fallback=True)


@pytest.mark.parametrize(
    ("user_name", "mapping", "tags", "lookups", "slack_id"),
    [
        pytest.param("dev_kramer", MAPPED, {}, {}, "U0MAPPED", id="the mapping alone"),
        pytest.param("dev_kramer", MAPPED, BY_SLACK, {}, "U0MAPPED", id="the mapping before the Slack tag"),
        pytest.param("dev_kramer", MAPPED, BAD_TAG, {}, "U0MAPPED", id="the mapping before a malformed Slack tag"),
        pytest.param("dev_kramer", MAPPED, BY_EMAIL, MANY, "U0MAPPED", id="the mapping before the e-mail tag"),
        pytest.param("dev_kramer", MAPPED, BY_EMAIL, {}, "U0MAPPED", id="the mapping needs no look-up"),
        pytest.param(MAIL, {MAIL: SlackName("U0MAPPED")}, {}, MANY, "U0MAPPED", id="the mapping before the user name"),
        pytest.param("dev_kramer", {}, BY_SLACK, {}, "U0TAG", id="the Slack tag alone"),
        pytest.param("dev_kramer", {}, BY_BOTH, MANY, "U0TAG", id="the Slack tag before the e-mail tag"),
        pytest.param("dev_kramer", {}, BY_BOTH, {}, "U0TAG", id="the Slack tag needs no look-up"),
        pytest.param(MAIL, {}, BY_SLACK, MANY, "U0TAG", id="the Slack tag before the user name"),
        pytest.param("dev_kramer", {}, BY_EMAIL, MANY, "U0TEAM", id="the e-mail tag alone"),
        pytest.param(MAIL, {}, BY_EMAIL, MANY, "U0TEAM", id="the e-mail tag before the user name"),
        pytest.param(MAIL, {}, BY_EMAIL, {TEAM: "U0TEAM"}, "U0TEAM", id="then the user name needs no look-up"),
        pytest.param("dev_kramer", {}, {**BAD_TAG, **BY_EMAIL}, MANY, "U0TEAM", id="past a malformed Slack tag"),
        pytest.param(MAIL, {}, BY_EMAIL, {TEAM: None, MAIL: "U0MAIL"}, "U0MAIL", id="past an e-mail unknown to Slack"),
        pytest.param(MAIL, {}, {"email": "team"}, MANY, "U0MAIL", id="past a tag that holds no e-mail"),
        pytest.param(MAIL, {}, BAD_TAG, MANY, "U0MAIL", id="past a malformed Slack tag to the user name"),
        pytest.param(MAIL.upper(), {}, {}, MANY, "U0MAIL", id="the user name in lower case"),
        pytest.param(MAIL, {}, None, MANY, "U0MAIL", id="the user name of a user that is gone"),
    ],
)
def test_the_first_that_names_somebody_on_slack_decides(
    user_name: str,
    mapping: dict[str, SlackName],
    tags: dict[str, str] | None,
    lookups: dict[str, str | None],
    slack_id: str,
) -> None:
    owner = resolve(Owners(mapping, FALLBACK), user_name, tags=tags, lookups=lookups)
    assert owner == Owner(KNOWN, person(slack_id))
    assert owner.identity == slack_id


@pytest.mark.parametrize(
    ("user_name", "tags", "lookups"),
    [
        pytest.param("dev_kramer", {}, {}, id="no tag"),
        pytest.param("dev_kramer", None, {}, id="a user that is gone"),
        pytest.param("dev_kramer", BAD_TAG, {}, id="a malformed Slack tag"),
        pytest.param("dev_kramer", {"email": "team"}, {}, id="a tag that holds no e-mail"),
        pytest.param("dev_kramer", BY_EMAIL, {TEAM: None}, id="an e-mail that Slack does not know"),
        pytest.param(MAIL, {}, {MAIL: None}, id="a user name that Slack does not know"),
        pytest.param(MAIL, BY_EMAIL, {TEAM: None, MAIL: None}, id="nor either"),
        pytest.param("dev_kramer", {"SLACK-ID": "U01", "e-mail": TEAM}, {TEAM: "U0TEAM"}, id="tags of other names"),
    ],
)
def test_where_nobody_is_named_the_fallback_is_told(
    user_name: str, tags: dict[str, str] | None, lookups: dict[str, str | None]
) -> None:
    owner = resolve(Owners({}, FALLBACK), user_name, tags=tags, lookups=lookups)
    assert owner == Owner(UNKNOWN, NOBODYS)
    assert owner.identity == FALLBACK, "told means told to the channel that is the fallback now"
    assert resolve(Owners({}), user_name, tags=tags, lookups=lookups).identity == "unknown"
    assert resolve(Owners({}), user_name, tags=tags, lookups=lookups) == Owner(UNKNOWN)


@pytest.mark.parametrize(
    ("user_name", "tags", "lookups"),
    [
        pytest.param("dev_kramer", BY_EMAIL, {}, id="the tag's"),
        pytest.param(MAIL, {}, {TEAM: "U0TEAM"}, id="the user name"),
        pytest.param(MAIL, BY_EMAIL, {MAIL: "U0MAIL"}, id="the tag's, though the user name was"),
        pytest.param(MAIL, BY_EMAIL, {TEAM: None}, id="the user name, after a tag's that Slack does not know"),
        pytest.param("dev_kramer", {**BAD_TAG, **BY_EMAIL}, {}, id="the tag's, after a malformed Slack tag"),
    ],
)
def test_where_an_e_mail_that_would_decide_was_not_looked_up_nobody_else_is_told(
    user_name: str, tags: dict[str, str], lookups: dict[str, str | None]
) -> None:
    for fallback in [None, FALLBACK]:
        assert resolve(Owners({}, fallback), user_name, tags=tags, lookups=lookups) == Owner(UNREAD)
        assigned = resolve(Owners({}, fallback), user_name, tags=tags, lookups=lookups, assigns=True)
        assert assigned == Owner(UNREAD, email=TEAM if "email" in tags else MAIL)


@pytest.mark.parametrize(
    ("mapping", "tells_on_slack", "assigns", "owner"),
    [
        pytest.param({}, True, False, Owner(UNREAD), id="Slack"),
        pytest.param({}, True, True, Owner(UNREAD), id="Slack and assigning"),
        pytest.param({}, False, True, Owner(UNREAD), id="assigning"),
        pytest.param({}, False, False, Owner(UNKNOWN), id="neither: tags do not matter"),
        pytest.param(MAPPED, True, False, Owner(KNOWN, person("U0MAPPED")), id="mapped, Slack"),
        pytest.param(MAPPED, True, True, Owner(KNOWN, person("U0MAPPED")), id="mapped, Slack and assigning"),
        pytest.param(MAPPED, False, True, Owner(UNREAD), id="mapped, assigning"),
        pytest.param(MAPPED, False, False, Owner(UNKNOWN, is_mapped=True), id="mapped, neither"),
    ],
)
def test_without_tags_only_the_mapping_names_an_owner(
    mapping: dict[str, SlackName], tells_on_slack: bool, assigns: bool, owner: Owner
) -> None:
    """Not even a user name that is an e-mail does: the tag's would go before it."""
    for fallback in [None, FALLBACK]:
        for user_name in ["dev_kramer", MAIL]:
            owners = Owners({user_name: MAPPED["dev_kramer"]} if mapping else {}, fallback)
            found = resolve(
                owners, user_name, tags_were_read=False, lookups=MANY, tells_on_slack=tells_on_slack, assigns=assigns
            )
            assert found == owner


@pytest.mark.parametrize(
    ("user_name", "tags", "email"),
    [
        ("dev_kramer", {}, None),
        ("dev_kramer", BY_SLACK, None),
        ("dev_kramer", {"email": "team"}, None),
        ("dev_kramer", BY_EMAIL, TEAM),
        (MAIL, {}, MAIL),
        (MAIL, BY_BOTH, TEAM),
        (MAIL, None, MAIL),
    ],
    ids=str,
)
def test_without_slack_the_owner_is_whom_the_issue_can_be_assigned_to(
    user_name: str, tags: dict[str, str] | None, email: str | None
) -> None:
    """Nobody is told on Slack then, and nothing needs to be looked up there."""
    for mapped in [False, True]:
        owners = Owners({user_name: SlackName("U0MAPPED")} if mapped else {}, FALLBACK)
        assigned = resolve(owners, user_name, tags=tags, tells_on_slack=False, assigns=True)
        kind, is_own = (UNKNOWN, False) if email is None else (KNOWN, True)
        assert assigned == Owner(kind, email=email, is_email_own=is_own, is_mapped=mapped)
        assert assigned.identity == (email or "unknown")
        assert resolve(owners, user_name, tags=tags, tells_on_slack=False) == Owner(UNKNOWN, is_mapped=mapped)


@pytest.mark.parametrize(
    ("user_name", "mapping", "tags", "addressee", "email"),
    [
        pytest.param("dev_kramer", MAPPED, BY_EMAIL, person("U0MAPPED"), TEAM, id="mapping, e-mail tag"),
        pytest.param("dev_kramer", MAPPED, {}, person("U0MAPPED"), None, id="mapping, no e-mail"),
        pytest.param("dev_kramer", {}, BY_BOTH, person("U0TAG"), TEAM, id="Slack tag, e-mail tag"),
        pytest.param(MAIL, {}, BY_SLACK, person("U0TAG"), MAIL, id="Slack tag, user name"),
        pytest.param(MAIL, {}, BY_EMAIL, person("U0TEAM"), TEAM, id="e-mail tag, user name"),
    ],
)
def test_an_owner_on_slack_is_assigned_the_issue_too_by_the_first_e_mail(
    user_name: str, mapping: dict[str, SlackName], tags: dict[str, str], addressee: Addressee, email: str | None
) -> None:
    owner = resolve(Owners(mapping, FALLBACK), user_name, tags=tags, lookups=MANY, assigns=True)
    is_own = addressee.slack_id == "U0TEAM"
    assert owner == Owner(KNOWN, addressee, email=email, is_email_own=is_own), "else it may be somebody else's"
    assert owner.identity == addressee.slack_id


def test_the_e_mail_that_is_assigned_is_the_first_though_slack_knows_the_second() -> None:
    owner = resolve(Owners({}), MAIL, tags=BY_EMAIL, lookups={TEAM: None, MAIL: "U0MAIL"}, assigns=True)
    assert owner == Owner(KNOWN, person("U0MAIL"), email=TEAM)


def test_an_owner_with_an_e_mail_alone_is_known_and_the_fallback_hears_of_it() -> None:
    facts: dict[str, str | None] = {TEAM: None}
    assert resolve(Owners({}, FALLBACK), tags=BY_EMAIL, lookups=facts, assigns=True) == Owner(
        KNOWN, NOBODYS, email=TEAM, is_email_own=True
    )
    assert resolve(Owners({}), tags=BY_EMAIL, lookups=facts, assigns=True) == Owner(
        KNOWN, email=TEAM, is_email_own=True
    )
    assert resolve(Owners({}, FALLBACK), tags=BY_EMAIL, lookups=facts) == Owner(UNKNOWN, NOBODYS)


GONE, UNSURE, RETRIED = Presence("deleted"), Presence(is_sure=False), Presence(is_sure=False, is_retry=True)


@pytest.mark.parametrize("slack_id", ["U0MAPPED", "C0TEAM"])
@pytest.mark.parametrize("fallback", [FALLBACK, None])
def test_whoever_cannot_be_told_for_good_is_nobody_and_others_hear_why(slack_id: str, fallback: str | None) -> None:
    owners = Owners({"dev_kramer": SlackName(slack_id)}, fallback)
    owner = resolve(owners, presences={slack_id: GONE}, tags=BY_EMAIL, assigns=True)
    assert (owner.kind, owner.addressee) == (UNKNOWN, NOBODYS if fallback else None)
    assert owner.trouble == f"the owner named for it, {slack_id}, has left Slack"
    assert (owner.email, owner.is_email_own) == (TEAM, False), "whose address that is nobody knows"


@pytest.mark.parametrize("presence", [UNSURE, RETRIED], ids=["unsure", "tried again"])
def test_whoever_may_still_be_there_is_told_and_nothing_rests_on_it(presence: Presence) -> None:
    owner = resolve(Owners(MAPPED, FALLBACK), presences={"U0MAPPED": presence})
    assert (owner.kind, owner.addressee, owner.is_unsure) == (KNOWN, person("U0MAPPED"), True)
    assert owner.is_retry is presence.is_retry
    assert owner.identity == "U0MAPPED", "so that what was given before stays"


def test_one_who_is_gone_by_an_address_is_nobody_too() -> None:
    owner = resolve(Owners({}, FALLBACK), MAIL, tags={}, lookups={MAIL: "U0MAIL"}, presences={"U0MAIL": GONE})
    assert (owner.kind, owner.addressee) == (UNKNOWN, NOBODYS)


def test_another_group_in_the_same_channel_was_not_told() -> None:
    def identity(name: SlackName) -> str:
        return resolve(Owners({"dev_kramer": name})).identity

    assert len({identity(SlackName("C0TEAM", group)) for group in ("S0A", "S0B", None)}) == 3


def test_a_team_is_told_in_its_channel_with_its_group() -> None:
    channel = Addressee("C0TEAM", ACCOUNT, is_person=False)
    mapping = {"dev_kramer": SlackName("C0TEAM", "S0TEAM")}
    assert resolve(Owners(mapping)) == Owner(KNOWN, channel, "S0TEAM")
    assert resolve(Owners(mapping), tags_were_read=False) == Owner(KNOWN, channel, "S0TEAM")
    assert resolve(Owners({}), tags={"slack_id": "C0TEAM S0TEAM"}) == Owner(KNOWN, channel, "S0TEAM")
    assert resolve(Owners({}), tags={"slack_id": "C0TEAM"}) == Owner(KNOWN, channel)


@pytest.mark.parametrize(
    ("slack_id", "is_person"),
    [("U012AB3CD", True), ("W012AB3CD", True), ("C012AB3CD", False), ("G01", False), ("D01", False)],
)
def test_only_u_and_w_are_people(slack_id: str, is_person: bool) -> None:
    """The full access key id goes to those alone."""
    told = Owner(KNOWN, Addressee(slack_id, ACCOUNT, is_person=is_person))
    assert resolve(Owners({"dev_kramer": SlackName(slack_id)}, FALLBACK)) == told
    assert resolve(Owners({}, FALLBACK), tags={"slack_id": slack_id}) == told
    assert resolve(Owners({}, FALLBACK), MAIL, lookups={MAIL: slack_id}) == told


@pytest.mark.parametrize("channel", [FALLBACK, "U0FALLBACK", "#security"])
def test_the_fallback_is_never_a_person(channel: str) -> None:
    told = resolve(Owners({"dev_kramer": SlackName("U01")}, channel), "dev_jones", tags={}).addressee
    assert told == Addressee(channel, ACCOUNT, is_person=False, is_fallback=True)


@pytest.mark.parametrize("channel", [FALLBACK, "U0FALLBACK"])
@pytest.mark.parametrize("key", ["dev_kramer", "acme-prod/dev_kramer", "123456789012/dev_kramer"])
def test_a_fallback_that_owns_users_is_one_addressee(channel: str, key: str) -> None:
    """Two would be two messages to the same channel, of which one loses the claim in each run."""
    owners = Owners({key: SlackName(channel)}, channel)
    own, nobodys = resolve(owners), resolve(owners, "dev_jones", tags={})
    tagged = resolve(owners, "dev_smith", tags={"slack_id": channel})
    assert own.addressee == Addressee(channel, ACCOUNT, is_person=False)
    assert own.addressee == nobodys.addressee == tagged.addressee
    assert (own.kind, nobodys.kind, tagged.kind) == (KNOWN, UNKNOWN, KNOWN)


@pytest.mark.parametrize(
    ("user_name", "tags", "lookups"),
    [
        pytest.param("dev_kramer", {"slack_id": FALLBACK}, {}, id="by tag"),
        pytest.param("dev_kramer", {"slack_id": f"{FALLBACK} S0TEAM"}, {}, id="by tag, with a group"),
        pytest.param(MAIL, {}, {MAIL: FALLBACK}, id="by look-up"),
    ],
)
def test_a_fallback_that_tags_and_look_ups_name_is_one_addressee_too(
    user_name: str, tags: dict[str, str], lookups: dict[str, str | None]
) -> None:
    """Only the mapping is known before the first user is resolved; so it is told as the fallback, the same for all."""
    owners = Owners({}, FALLBACK)
    assert resolve(owners, user_name, tags=tags, lookups=lookups) == Owner(UNKNOWN, NOBODYS)
    assert resolve(owners, "dev_jones", tags={}) == Owner(UNKNOWN, NOBODYS)


def test_a_fallback_that_owns_users_is_not_told_of_those_whom_an_e_mail_reaches() -> None:
    """A message to it is a warning to its own users' owner, and would be taken for one to the other."""
    owners = Owners({"dev_jones": SlackName(FALLBACK)}, FALLBACK)
    owner = resolve(owners, tags=BY_EMAIL, lookups={TEAM: None}, assigns=True)
    assert owner == Owner(KNOWN, email=TEAM, is_email_own=True)
    assert owner.identity == TEAM


def test_one_person_is_two_addressees_in_two_accounts() -> None:
    owners = Owners({"dev_kramer": SlackName("U01")})
    here, there = resolve(owners).addressee, resolve(owners, account_id=OTHER_ACCOUNT).addressee
    assert here is not None
    assert there is not None
    assert (here.record_id, there.record_id) == ("slack:123456789012:U01", "slack:210987654321:U01")


TAG_VALUES = st.sampled_from(["U0TAG", "C0TEAM S0TEAM", FALLBACK, "kramer", "", TEAM, MAIL, "a b"])
TAGS = st.dictionaries(st.sampled_from(["slack_id", "email", "other"]), TAG_VALUES)
FOUND = st.none() | st.sampled_from(["U0TEAM", "W0TEAM", FALLBACK, ""])


@given(
    st.dictionaries(
        st.sampled_from(["dev_kramer", MAIL, "other"]), st.sampled_from([SlackName("U01"), SlackName(FALLBACK)])
    ),
    st.none() | st.just(FALLBACK),
    st.sampled_from(["dev_kramer", MAIL]),
    st.none() | TAGS,
    st.booleans(),
    st.dictionaries(st.sampled_from([TEAM, MAIL]), FOUND),
    st.booleans(),
    st.booleans(),
)
@hypothesis_settings(REPEATABLE, max_examples=400)
def test_whatever_is_known_no_owner_contradicts_itself(
    mapping: dict[str, SlackName],
    fallback: str | None,
    user_name: str,
    tags: dict[str, str] | None,
    tags_were_read: bool,
    lookups: dict[str, str | None],
    tells_on_slack: bool,
    assigns: bool,
) -> None:
    owners = Owners(mapping, fallback)
    owner = resolve(
        owners,
        user_name,
        tags=tags,
        tags_were_read=tags_were_read,
        lookups=lookups,
        tells_on_slack=tells_on_slack,
        assigns=assigns,
    )
    if not tells_on_slack or owner.kind is UNREAD:
        assert owner.addressee is None
    if not assigns or not tags_were_read:
        assert owner.email is None
    if not tells_on_slack and not assigns:
        assert owner == Owner(UNKNOWN, is_mapped=owner.is_mapped)
    if owner.kind is KNOWN:
        assert owner.email is not None or (owner.addressee is not None and not owner.addressee.is_fallback)
    if owner.kind is UNKNOWN:
        assert not owner.is_email_own
        assert owner.addressee is None or owner.addressee.slack_id == fallback
    if owner.addressee is not None and owner.addressee.slack_id == fallback:
        assert not owner.addressee.is_person
        assert owner.addressee.is_fallback == (SlackName(FALLBACK) not in mapping.values())


# Who is named, for people who look


@pytest.mark.parametrize(
    ("mapping", "user_name", "tags", "expected"),
    [
        ({"dev": SlackName("U0DEV")}, "dev", {"slack_id": "U0TAG"}, Named("U0DEV", "mapping file")),
        ({"dev": None}, "dev", {"slack_id": "U0TAG"}, Named("U0TAG", "tag slack_id")),
        ({}, "dev", {"email": "Dev@Example.com"}, Named("dev@example.com", "tag email")),
        ({}, "dev", {"slack_id": "nonsense", "email": "dev@example.com"}, Named("dev@example.com", "tag email")),
        ({}, "Dev@example.com", {}, Named("dev@example.com", "user name")),
        ({}, "dev", {}, Named("C0FALLBACK", "fallback channel")),
        ({}, "dev", None, Named()),
        ({"dev": SlackName("U0DEV")}, "dev", None, Named("U0DEV", "mapping file")),
    ],
)
def test_who_is_named_and_by_what(
    mapping: dict[str, SlackName | None], user_name: str, tags: dict[str, str] | None, expected: Named
) -> None:
    owners = Owners(mapping, "C0FALLBACK", "slack_id", "email")
    user = IamUser(("acme-dev",), ACCOUNT, user_name)
    assert owners.named(user, tags, tags_were_read=tags is not None) == expected
    if tags is not None and expected.source != "fallback channel":
        told = replace(owners, tells_on_slack=False).named(user, tags, tags_were_read=True)
        assert told == expected, "whichever channel is on"


def test_with_slack_off_nobody_hears_instead() -> None:
    owners = Owners({}, "C0FALLBACK", "slack_id", "email", tells_on_slack=False)
    assert owners.named(IamUser(("acme-dev",), ACCOUNT, "dev"), {}, tags_were_read=True) == Named()


@pytest.mark.parametrize(
    ("entry", "is_of_nobody"),
    [
        ("dev_kramer", False),
        ("DEV_Kramer", False),
        ("gone", True),
        ("acme-dev/gone", True),
        ("acme-dev/dev_kramer", False),
        (f"{ACCOUNT}/gone", True),
        ("acme-other/gone", False),
        ("acme-prod/dev_kramer", True),
    ],
)
def test_entries_for_users_who_have_no_access_key(entry: str, is_of_nobody: bool) -> None:
    users = {"acme-dev": {"dev_kramer"}, ACCOUNT: {"dev_kramer"}, "acme-prod": {"svc"}}
    assert of_nobody([entry], users) == ([entry] if is_of_nobody else [])
