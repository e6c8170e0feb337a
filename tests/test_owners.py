"""The mapping file is read as data: a good one gives who owns whom, any other an error that names the line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import keycheck
from keycheck.model import Addressee
from keycheck.owners import SLACK_ID, Owners, OwnersError, parse_mapping
from tests.builders import ACCOUNT

KRAMER = {"dev_kramer": "U012AB3CD"}
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def complaint(text: str) -> str:
    with pytest.raises(OwnersError) as caught:
        parse_mapping(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        pytest.param("mapping = {}", {}, id="empty"),
        pytest.param('mapping = {"dev_kramer": "U012AB3CD"}', KRAMER, id="one"),
        pytest.param("mapping={'dev_kramer':'U012AB3CD',}", KRAMER, id="other quotes, no spaces"),
        pytest.param(
            '# ours\n\nmapping = {  # here\n    "dev_kramer": "U012AB3CD",  # him\n}\n', KRAMER, id="comments"
        ),
        pytest.param('"""Who owns whom."""\n\nmapping = {"dev_kramer": "U012AB3CD"}', KRAMER, id="docstring"),
        pytest.param('mapping: dict[str, str] = {"dev_kramer": "U012AB3CD"}', KRAMER, id="annotation"),
        pytest.param('mapping: print("no") = {"dev_kramer": "U012AB3CD"}', KRAMER, id="annotation is not run either"),
        pytest.param('mapping = {"dev_kramer": "U012AB3CD", "dev_kramer": "U012AB3CD"}', KRAMER, id="twice the same"),
        pytest.param('mapping = {"a+=,.@_-b": "W0A"}', {"a+=,.@_-b": "W0A"}, id="every character IAM allows"),
        pytest.param(
            'mapping = {"a": "U01", "b": "U01", "c": "C01", "d": "G01", "e": "D01"}',
            {"a": "U01", "b": "U01", "c": "C01", "d": "G01", "e": "D01"},
            id="two users of one person, and every kind of id",
        ),
        pytest.param('mapping = {"dev_kramer":\r\n "U012AB3CD"}\r\n', KRAMER, id="CRLF"),
        pytest.param("mapping = {'dev' '_kramer': ('U012' 'AB3CD')}", KRAMER, id="strings in parts"),
        pytest.param(r'mapping = {"dev_\x6bramer": r"U012AB3CD"}', KRAMER, id="escapes"),
    ],
)
def test_a_good_file_is_read(text: str, mapping: dict[str, str]) -> None:
    assert parse_mapping(text) == mapping


def test_the_file_that_comes_with_keycheck_is_good_and_empty() -> None:
    text = (Path(keycheck.__file__).parent / "slack_ID_mapping.py").read_text(encoding="utf-8")
    assert parse_mapping(text) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("", 1, id="empty file"),
        pytest.param("# nothing\n", 1, id="only a comment"),
        pytest.param('"""Only a docstring."""', 1, id="only a docstring"),
        pytest.param('mapping = {\n "a": "U01" "b": "U02"}', 2, id="comma forgotten"),
        pytest.param('\n\nmapping = {"a": "U01"', 3, id="brace forgotten"),
        pytest.param('\nmapping = {"a": }', 2, id="value forgotten"),
        pytest.param('\n"a": "U01"', 2, id="no dictionary around it"),
        pytest.param('\n{"a": "U01"}', 2, id="no name"),
        pytest.param('\nmappings = {"a": "U01"}', 2, id="another name"),
        pytest.param('\nmapping = other = {"a": "U01"}', 2, id="two names"),
        pytest.param('\nmapping["a"] = "U01"', 2, id="an item"),
        pytest.param('\nmapping |= {"a": "U01"}', 2, id="an update"),
        pytest.param("\nmapping: dict", 2, id="no value"),
        pytest.param("\nmapping = None", 2, id="None"),
        pytest.param('\nmapping = [("a", "U01")]', 2, id="a list"),
        pytest.param('\nmapping = {"a", "U01"}', 2, id="a set"),
        pytest.param('\nmapping = dict(a="U01")', 2, id="a call"),
        pytest.param('\nmapping = {n: "U01" for n in "ab"}', 2, id="a comprehension"),
        pytest.param('\nmapping = {"a": "U01"} | {"b": "U02"}', 2, id="a union"),
        pytest.param('\nif True:\n    mapping = {"a": "U01"}', 2, id="a condition"),
        pytest.param('\nif (mapping := {"a": "U01"}): pass', 2, id="a walrus"),
        pytest.param('mapping = {"a": "U01"}\nmapping = {"b": "U02"}', 2, id="two mappings"),
        pytest.param('mapping = {"a": "U01"}\n\nprint(mapping)', 3, id="a statement after it"),
        pytest.param('mapping = {"a": "U01"}; x = 1', 1, id="a statement beside it"),
        pytest.param('import os\nmapping = {"a": "U01"}', 1, id="an import before it"),
        pytest.param('"""Doc."""\n"""More."""\nmapping = {"a": "U01"}', 2, id="two docstrings"),
        pytest.param('mapping = {\n "a": f"U01{1}"}', 2, id="f-string as id"),
        pytest.param('mapping = {\n f"a": "U01"}', 2, id="f-string as name"),
        pytest.param('mapping = {\n **{"a": "U01"}}', 2, id="dictionary unpacking"),
        pytest.param('mapping = {\n "a": str("U01")}', 2, id="a call as id"),
        pytest.param('mapping = {\n "a": "U" + "01"}', 2, id="a sum as id"),
        pytest.param('mapping = {\n "a": 1}', 2, id="a number as id"),
        pytest.param('mapping = {\n "a": None}', 2, id="None as id"),
        pytest.param('mapping = {\n "a": b"U01"}', 2, id="bytes as id"),
        pytest.param('mapping = {\n "a": ["U01"]}', 2, id="a list as id"),
        pytest.param('mapping = {\n a: "U01"}', 2, id="a bare name"),
        pytest.param('mapping = {\n 1: "U01"}', 2, id="a number as name"),
        pytest.param('mapping = {\n b"a": "U01"}', 2, id="bytes as name"),
        pytest.param('mapping = {\n "a": ""}', 2, id="empty id"),
        pytest.param('mapping = {\n "a":\n  "kramer"}', 3, id="a Slack name, not an id"),
        pytest.param('mapping = {\n "a": "@kramer"}', 2, id="a mention"),
        pytest.param('mapping = {\n "a": "#security"}', 2, id="a channel's name"),
        pytest.param('mapping = {\n "a": "u012ab3cd"}', 2, id="lower case"),
        pytest.param('mapping = {\n "a": "U012AB3CD "}', 2, id="a blank after the id"),
        pytest.param('mapping = {\n "a": "U012AB3CD\\n"}', 2, id="a newline after the id"),
        pytest.param('mapping = {\n "a": "U1"}', 2, id="too short"),
        pytest.param('mapping = {\n "a": "X012AB3CD"}', 2, id="another letter"),
        pytest.param('mapping = {\n "a": "U01",\n "b": "U02",\n "a": "U03"}', 4, id="one user, two ids"),
        pytest.param('mapping = {\n "a": "U01\x00"}', 1, id="NUL byte"),
        pytest.param('mapping = {"a": "U01"}\ud800', 1, id="what is not UTF-8"),
        pytest.param("mapping = " + "(" * 50_000, 1, id="parentheses without end"),
        pytest.param("mapping = " + "[" * 90 + "]" * 90, 1, id="deep"),
        pytest.param("mapping = " + "-" * 100_000 + "1", 1, id="very deep"),
        pytest.param("mapping = " + "1+" * 100_000 + "1", 1, id="very long"),
        pytest.param("mapping = a" + ".a" * 100_000, 1, id="a very long chain"),
    ],
)
def test_any_other_file_is_refused_naming_the_line(text: str, line: int) -> None:
    """Only where Python's own parser gives up without a line is it the first."""
    assert complaint(text).startswith(f"line {line}: ")


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
    assert parse_mapping(annotated) == {"a": "U01"}
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
    assert parse_mapping(f"mapping = {mapping!r}") == mapping


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
        words = str(error)
    else:
        words = ""
        assert all(isinstance(name, str) and SLACK_ID.fullmatch(slack_id) for name, slack_id in mapping.items())
    if words:
        assert words.startswith("line ")
        assert words.removeprefix("line ").split(":")[0].isdigit()


@given(st.dictionaries(st.text(), st.text("ABCU0189", min_size=2, max_size=10).map("U{}".format), max_size=9))
@REPEATABLE
def test_what_is_written_as_python_writes_it_is_read_back(mapping: dict[str, str]) -> None:
    assert parse_mapping(f"mapping = {mapping!a}") == mapping


# Who is told


@pytest.mark.parametrize(
    ("slack_id", "is_person"),
    [("U012AB3CD", True), ("W012AB3CD", True), ("C012AB3CD", False), ("G01", False), ("D01", False)],
)
def test_only_u_and_w_are_people(slack_id: str, is_person: bool) -> None:
    """The full access key id goes to those alone."""
    told = Owners({"dev_kramer": slack_id}, "C0FALLBACK").addressee("dev_kramer", ACCOUNT)
    assert told == Addressee(slack_id, ACCOUNT, is_person=is_person)
    assert not told.is_fallback


@pytest.mark.parametrize("channel", ["C0FALLBACK", "U0FALLBACK", "#security"])
def test_the_fallback_is_told_of_users_in_no_mapping_and_is_never_a_person(channel: str) -> None:
    told = Owners({"dev_kramer": "U01"}, channel).addressee("dev_jones", ACCOUNT)
    assert told == Addressee(channel, ACCOUNT, is_person=False, is_fallback=True)


def test_without_a_fallback_nobody_is_told_of_them() -> None:
    assert Owners({"dev_kramer": "U01"}).addressee("dev_jones", ACCOUNT) is None


def test_user_names_are_compared_as_they_are() -> None:
    """IAM keeps the case, and allows no two users that differ in it alone."""
    owners = Owners({"dev_kramer": "U01"})
    assert owners.addressee("Dev_Kramer", ACCOUNT) is None
    assert owners.addressee("dev_kramer ", ACCOUNT) is None


def test_one_person_is_two_addressees_in_two_accounts() -> None:
    owners = Owners({"dev_kramer": "U01"})
    here, there = owners.addressee("dev_kramer", ACCOUNT), owners.addressee("dev_kramer", "210987654321")
    assert here is not None
    assert there is not None
    assert (here.record_id, there.record_id) == ("slack:123456789012:U01", "slack:210987654321:U01")
