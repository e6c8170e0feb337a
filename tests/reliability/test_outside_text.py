"""Texts from outside: mapping file, settings, Retry-After, Date, AWS's error codes, and what is printed of them.

Each is read soundly or refused in one clear line; nothing is executed, nothing hangs, no secret is repeated.
"""

from __future__ import annotations

import json
import string
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from keycheck.actions import Outcomes
from keycheck.clock import RunClock
from keycheck.metrics import is_sound, render
from keycheck.model import Level, Problem, Scan
from keycheck.owners import SLACK_ID, MappingFile, OwnersError, SlackName, parse_mapping
from keycheck.report import LINE_BYTES, problem_lines
from keycheck.services import ServiceError
from keycheck.services.aws_errors import ClockOff, aws_errors
from keycheck.services.aws_session import check_clock
from keycheck.services.health import LONGEST_RETRY_AFTER, retry_after
from keycheck.settings import SETTINGS, Settings, SettingsError, parse
from keycheck.user_facts import FILE_BYTES, UserFactsReader
from tests.builders import EVERYTHING, NOW, make_access_key, make_key, make_settings
from tests.reliability.fuzz_inputs import DATES, NASTY_TEXT, RETRY_AFTERS, assert_one_line, examples

GOOD = 'mapping = {"dev_kramer": "U012AB3CD"}\n'
SECONDS_AT_MOST = 20
"""For the longest file: a good one of 4 MB takes about three on an idle core."""

# The mapping file

TOKENS = [
    *(
        "mapping",
        " = ",
        "{",
        "}",
        '"dev_kramer"',
        ": ",
        '"U012AB3CD"',
        ", ",
        "\n",
        "    ",
        "(",
        ")",
        "[",
        "]",
        "**",
        "*",
    ),
    *(
        'f"{',
        '}"',
        "f'{print()}'",
        'b"U01"',
        'r"\\d"',
        '"\\d"',
        '"\\N{DIGIT ONE}"',
        '"\\ud800"',
        '"""',
        "'''",
        "\\",
        "\f",
    ),
    *(
        "#",
        "# -*- coding: utf-16 -*-\n",
        "\r",
        "\r\n",
        "\x00",
        "\ufeff",
        "\ud800",
        "\u2028",
        "\xa0",
        "\x1a",
        "9" * 5000,
    ),
    *(
        "lambda: ",
        " if 1 else ",
        "open('/', 'w')",
        "__import__('os')",
        "import os",
        "; ",
        "print(1)",
        ":=",
        "...",
        "1e999",
    ),
    *(
        "def f():",
        "class A:",
        "async ",
        "await ",
        "yield ",
        " for x in ",
        "match x:",
        "-",
        "not ",
        "@",
        "0x",
        "1_",
        "\u210c",
    ),
]
PYTHONISH = st.lists(st.sampled_from(TOKENS), max_size=25).map("".join)
SPOILED_GOOD = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 5), PYTHONISH | st.text(max_size=4)).map(
    lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
)
OPENERS = (
    "{",
    "(",
    "[",
    "{1: ",
    "f(",
    "lambda: (",
    "-",
    "not ",
    "a.",
    "1+",
    "a if ",
    "x[",
    "{**",
    "[x for x in ",
    'f"{',
    "if x:\n ",
)
DEEP = st.tuples(
    st.sampled_from(OPENERS), st.sampled_from([3, 30, 99, 300, 3_000, 60_000]), st.sampled_from(["", "1", ")", "]}"])
)
DEEP_TEXT = DEEP.map(lambda deep: f"mapping = {deep[0] * deep[1]}{deep[2]}")


def complaint_or_mapping(text: str) -> str | MappingFile:
    """What parse_mapping makes of a text: both of its outcomes are sound, and there is no third."""
    try:
        mapping = parse_mapping(text)
    except OwnersError as error:
        words = str(error)
        assert_names_a_line(words, text)
        return words
    for words in mapping.problems:
        assert_names_a_line(words, text)
    for name, owner in mapping.entries.items():
        assert type(name) is str
        assert owner is None or (type(owner) is SlackName and SLACK_ID.fullmatch(owner.slack_id))
    return mapping


def assert_names_a_line(words: str, text: str) -> None:
    head, _, rest = words.partition(": ")
    number = head.removeprefix("line ")
    assert number.isdigit()
    lines = text.count("\n") + text.count("\r") + text.count("\f") + 2
    assert 1 <= int(number) <= lines
    assert rest
    assert words.isprintable(), "one line, whatever stands in the file"


@given(PYTHONISH | SPOILED_GOOD | SPOILED_GOOD | DEEP_TEXT | st.text())
@example("mapping = {" + '"a": ' * 50)
@example("mapping = {'a': '\\d'}")
@example("mapping = {'a': '\\ud800'}")
@example('mapping = {"a\\nE! forged": "U01", "a\\nE! forged": "U02"}')
@example("mapping = " + "9" * 5000)
@example("\fmapping = {}")
@example("\ufeffmapping = {}")
@example("# -*- coding: nonsense -*-\nmapping = {}")
@example("mapping = {'a': 'U01'\x00}")
@example("mapping = {'a': '" + "\\" * 9 + "'}")
@examples(400)
@pytest.mark.filterwarnings("ignore")  # as cli.main does
def test_any_python_looking_text_is_a_mapping_or_one_line_that_names_a_line(text: str) -> None:
    complaint_or_mapping(text)


@given(st.sampled_from(["open({0!r}, 'w')", "__import__('pathlib').Path({0!r}).touch()"]), SPOILED_GOOD, st.data())
@examples(80)
@pytest.mark.filterwarnings("ignore")
def test_nothing_in_the_mapping_file_is_executed(
    tmp_path_factory: pytest.TempPathFactory, call: str, text: str, data: st.DataObject
) -> None:
    trace = tmp_path_factory.getbasetemp() / "executed"
    spoken = call.format(str(trace))
    at = data.draw(st.integers(0, len(text)))
    form = data.draw(st.sampled_from(["{}", "\n{}\n", '"dev": {}, ', "{}: ", '"a": f"{{{}}}", ', "**{}, ", "@{}\n"]))
    complaint_or_mapping(text[:at] + form.format(spoken) + text[at:])
    assert not trace.exists()


@pytest.mark.parametrize(
    "unit", [*OPENERS, '"a" ', "x,", "\n", "#", "\\\n", '"', "'a': 'U01', ", "'''", "a b ", "0", "\f", ";"], ids=ascii
)
@pytest.mark.filterwarnings("ignore")
def test_a_file_of_one_thing_repeated_is_no_hang_and_no_crash(unit: str) -> None:
    text = "mapping = {" + unit * (400_000 // len(unit))
    before = time.monotonic()
    assert isinstance(complaint_or_mapping(text), str)
    assert time.monotonic() - before < SECONDS_AT_MOST


def owners_of(content: bytes, folder: Path) -> tuple[Any, list[str]]:
    """What user_facts.py makes of a mapping file's bytes: whether it can be used, and what it says."""
    file = folder / "owners.py"
    file.write_bytes(content)
    settings = make_settings(slack_id_mapping_file=str(file))
    finder = UserFactsReader(settings, RunClock(), ["acme-dev"])
    finder.read_files()
    return finder.is_mapping_usable or None, [problem.text for problem in finder.problems]


@given(
    st.binary(max_size=60)
    | st.tuples(SPOILED_GOOD, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-7"])).map(
        lambda both: both[0].encode(both[1], "replace")
    )
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=4)).map(
        lambda cut: GOOD.encode()[: cut[0]] + cut[1] + GOOD.encode()[cut[0] :]
    )
)
@example(b"\xef\xbb\xbf" + GOOD.encode())
@example(b"\xef\xbb\xbf" * 2 + GOOD.encode())
@example(GOOD.encode("utf-16"))
@example(b"\n\n" + GOOD.encode()[:-4] + b"\xff" + GOOD.encode()[-4:])
@example(GOOD.encode().replace(b"\n", b"\r\n"))
@example(b"\x00" * 1000)
@examples(200)
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_owners_or_one_line_that_names_the_file_and_a_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    owners, said = owners_of(content, tmp_path_factory.getbasetemp())
    assert owners is not None or len(said) == 1
    for text in said:
        assert "owners.py: line " in text
        assert_names_a_line(text.partition("owners.py: ")[2], content.decode("latin-1"))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" * (FILE_BYTES + 9), id="brackets"),
        pytest.param(b"#" * (FILE_BYTES + 9), id="a comment"),
        pytest.param(b"\x00" * (FILE_BYTES + 9), id="NUL bytes"),
        pytest.param(b"mapping = {" + b"'a': 'U01', " * (FILE_BYTES // 12), id="entries without end"),
        pytest.param(b"#" * (FILE_BYTES - 1) + "é".encode() + b"\n" + GOOD.encode(), id="a character cut in two"),
        pytest.param(GOOD.encode() + b"#" * FILE_BYTES + b"\nimport os\n", id="a good start, and code past the cap"),
    ],
)
def test_a_file_beyond_four_megabytes_is_refused_in_seconds(tmp_path: Path, content: bytes) -> None:
    """It is never read as if it ended at the cap: what stands after it might be another mapping."""
    before = time.monotonic()
    owners, said = owners_of(content, tmp_path)
    assert time.monotonic() - before < SECONDS_AT_MOST
    assert owners is None
    assert len(said) == 1


# The settings

NAMES = [setting.name for setting in SETTINGS]
URLS = [setting.name for setting in SETTINGS if setting.kind == "url"]
NO_NUL = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
"""An environment holds no NUL; what is not UTF-8 arrives as a surrogate, which is fed separately."""
ODD_SETTINGS = st.text(NO_NUL, max_size=30) | st.sampled_from(
    [
        *(
            "",
            " ",
            "true",
            "False",
            "TRUE ",
            "0",
            "30",
            "180",
            "-1",
            "1e3",
            "9" * 5000,
            "\u0661",
            "1_0",
            "\udcff",
            "nan",
        ),
        *("{}", "[]", "{", '{"labels": 5}', '{"project": 1}', '{"a": NaN}', "[" * 100_000, '{"a": ' * 100_000, "null"),
        *(
            '{"a": 1e999}',
            '{"labels": ["a"], "priority": {"name": "High"}}',
            '{"a": "\\ud800"}',
            f'{{"a": {"9" * 5000}}}',
        ),
        *(
            "https://example.atlassian.net",
            "http://127.0.0.1:1",
            "https://u:p@example.com",
            "https://[",
            "https://[::1]:x",
        ),
        *(
            "https://example.com:99999",
            "https://\u2100.example",
            "http://localhost@evil",
            "https://a/?q#f",
            "//",
            "ftp://a",
        ),
        *(
            "xoxb-0123456789-abcdefghij",
            "AKIAIOSFODNN7EXVHXVM",
            "ATATT0123456789abcdef",
            NASTY_TEXT.replace("\x00", ""),
        ),
    ]
)
NEAR_NAMES = st.tuples(st.sampled_from(NAMES), st.integers(0, 40), st.text(NO_NUL, max_size=2)).map(
    lambda near: near[0][: near[1]] + near[2] + near[0][near[1] + 1 :]
)
ENVIRONMENTS = st.tuples(
    st.sampled_from([{}, EVERYTHING]),
    st.dictionaries(st.sampled_from(NAMES), ODD_SETTINGS, max_size=6),
    st.dictionaries(NEAR_NAMES | st.sampled_from(["SEND_SLACK", "Expire_Age", "", "PATH"]), ODD_SETTINGS, max_size=3),
).map(lambda parts: {**parts[2], **parts[0], **parts[1]})


def settings_or_problems(environ: Mapping[str, str]) -> Settings | tuple[str, ...]:
    try:
        return parse(environ, Path("slack_ID_mapping.py"))
    except SettingsError as error:
        return error.problems


@given(ENVIRONMENTS)
@example({"jira_extra_fields": "[" * 100_000})
@example({"jira_extra_fields": "9" * 5000})
@example({"expire_age": "9" * 5000})
@example({"jira_server_address": "https://[v1.\x1f]"})
@example({"send_slack\n": "True"})
@examples(300)
def test_any_environment_is_settings_or_clear_lines_that_name_a_setting(environ: dict[str, str]) -> None:
    result = settings_or_problems(environ)
    if isinstance(result, Settings):
        for warning in result.warnings:
            assert_one_line(warning)
        return
    assert result
    for text in result:
        assert text.isprintable()
        assert len(text) < 400
        name, _, what = text.partition(": ")
        assert name in NAMES
        assert len(what) > 10
        assert_one_line(text)


SECRET = st.text(string.ascii_letters + string.digits, min_size=13, max_size=60).map("Sesame-{}".format)
PASTED = [
    *("{}", "xoxb-{}", "ATATT0123456789{}", "{} x", "{}\n", "https://user:{}@example.com", "http://example.com/{}"),
    *("https://example.com/?token={}", "https://{}:x", '{{"labels": "{}"}}', '{{"project": "{}"}}', '{{"token": "{}"'),
]


@given(st.sampled_from(NAMES), SECRET, st.sampled_from(PASTED))
@examples(300)
def test_no_setting_that_is_refused_is_repeated(name: str, secret: str, form: str) -> None:
    """Whichever setting a token or a password was pasted into by mistake."""
    result = settings_or_problems({**EVERYTHING, name: form.format(secret)})
    said = result.warnings if isinstance(result, Settings) else result
    for text in said:
        assert secret not in text
        assert secret.lower() not in text.lower()


@given(
    st.sampled_from(URLS),
    ODD_SETTINGS | st.text(string.punctuation + "htps:/aé\u2100\u3002", max_size=30).map("https://{}".format),
)
@examples(200)
def test_an_address_that_is_taken_can_stand_in_a_link(name: str, text: str) -> None:
    result = settings_or_problems({**EVERYTHING, name: text})
    if isinstance(result, Settings) and (url := getattr(result, name)) is not None:
        assert url.lower().startswith(("https://", "http://127.", "http://localhost", "http://[::1]"))
        assert url.isascii()
        assert url.isprintable()
        assert not set(url) & set(" <>|\"'`\\@?#") - set("@")
        assert "@" not in url.split("/")[2]


@given(ODD_SETTINGS | st.sampled_from(['{"a": [1e999]}', '{"a": -1e999}', '{"a": {"b": 1E+400}}', '{"a": 1e308}']))
@examples(100)
def test_extra_fields_that_are_taken_can_be_written_as_json(text: str) -> None:
    """As Jira reads it, which knows no Infinity."""
    result = settings_or_problems({**EVERYTHING, "jira_extra_fields": text})
    if isinstance(result, Settings):
        json.dumps(dict(result.jira_extra_fields), allow_nan=False).encode()


# Headers


@given(st.none() | RETRY_AFTERS | st.text())
@example("\u0663")
@example("9" * 5000)
@examples(300)
def test_any_retry_after_is_a_time_to_wait_or_none(text: str | None) -> None:
    seconds = retry_after(text)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER
    if seconds is not None:
        assert text is not None
        assert text.strip().isdigit()


@given(st.none() | DATES | st.text())
@example(f"Mon, 23 Nov 2026 12:00:00 +{'9' * 20}")
@examples(300)
def test_any_date_is_in_time_or_names_the_minutes(text: str | None) -> None:
    """An answer whose Date cannot be read says nothing about the clock, and costs nothing."""
    try:
        check_clock(text, NOW)
    except ClockOff as error:
        assert_one_line(str(error))
        assert text is not None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC, microsecond=0)))  # noqa: DTZ001
@example(NOW)
@examples(100)
def test_a_date_is_off_exactly_from_more_than_five_minutes_on(at: datetime) -> None:
    header = f"{at:%a, %d %b %Y %H:%M:%S} GMT"
    if abs((at - NOW).total_seconds()) > 300:
        with pytest.raises(ClockOff):
            check_clock(header, NOW)
    else:
        check_clock(header, NOW)


# What is printed of them


class Refused(Exception):
    """As botocore's ClientError is, with the answer beside it."""

    def __init__(self, code: Any, status: int) -> None:
        super().__init__("text that is never shown")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


ANY_TEXT = (
    st.text() | st.text("\n\r\x1b\x00\u2028\u202e\ud800E! ", max_size=12) | st.just(NASTY_TEXT) | st.just("x" * 9000)
)


@given(ANY_TEXT, st.integers(100, 999))
@example("AccessDenied\nE! forged", 403)
@example("\u0661\u00aa\u00b2", 400)
@examples(150)
def test_an_error_code_of_awss_cannot_break_out_of_its_line(code: str, status: int) -> None:
    with pytest.raises(ServiceError) as caught, aws_errors("iam", "ListUsers", "acme-dev"):
        raise Refused(code, status)
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 300
    assert_one_line(caught.value.text)


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.sampled_from(Level)), min_size=1, max_size=5), st.booleans())
@examples(150)
def test_no_problem_forges_a_line_on_stderr(problems: list[tuple[str, str, str, Level]], verbose: bool) -> None:
    given_ = [Problem(level, profile, text, subject=subject) for profile, text, subject, level in problems]
    for line in problem_lines(given_, verbose=verbose):
        assert len(line) <= LINE_BYTES
        assert line[:3] in (b"E! ", b"W! ", b"I! ", b"D! ")
        assert line.count(b"\n") == 1
        assert line[:-1].decode().isprintable()


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@examples(150)
def test_no_name_forges_a_metric(user_name: str, access_key_id: str, profile: str) -> None:
    assume("x" * 9000 not in (user_name, profile))
    key = make_key(user_name, access_key_id=access_key_id)
    other = make_key("dev_costanza")
    scan = Scan(profile, (key.access_key, make_access_key("dev_costanza")), user_count=2)
    rendered = render(scan, (key, other), Outcomes(), 1.2, NOW)
    assert len(rendered.lines) == 3
    for line in rendered.lines:
        assert is_sound(line)
        assert not any(ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or c in "\u2028\u2029" for c in line)
        assert line.startswith(("iam,name=", "iam_run,accountAlias="))
        line.encode()
    for line_bytes in problem_lines(rendered.problems, verbose=True):
        assert line_bytes.count(b"\n") == 1
