"""AWS sessions and clients: each way a profile can be wrong is one clear sentence, and no call goes on too long.

boto3 itself, over real sockets, against the sandbox's IAM. The rows are those of services.md 2.2.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from keycheck.clock import Stopped
from keycheck.services import Failure, ServiceError, aws_iam, state_table
from keycheck.services.aws_errors import ClockOff, aws_errors
from keycheck.services.aws_iam import AwsIam
from keycheck.services.aws_session import Calls, _timestamp, check_clock, make_client, open_session
from sandbox.fake_iam import FakeIam, about, iam_error
from sandbox.http_fake import Fault
from tests.builders import ACCOUNT

KEYS = "aws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented-secret\n"
MFA = "mfa_serial = arn:aws:iam::123456789012:mfa/somebody\n"
ROLE = "role_arn = arn:aws:iam::123456789012:role/audit\n"
SSO_PORTAL = "sso_start_url = https://acme.awsapps.com/start\nsso_region = us-east-1\n"
SSO_ROLE = "sso_account_id = 123456789012\nsso_role_name = audit\n"


def go_on() -> None:
    """The clock's answer while there is time."""


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the files that botocore reads, and no others."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def configured(config: str = "", credentials: str = "") -> None:
        for name, text in (("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)):
            path = tmp_path / name
            path.write_text(text, encoding="utf-8")
            monkeypatch.setenv(name, str(path))

    return configured


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]) -> Iterator[FakeIam]:
    """An IAM at the end of AWS_ENDPOINT_URL, and a profile `p` with a region and access keys."""
    configure(f"[profile p]\nregion = us-east-1\n{KEYS}")
    with FakeIam(account_id=ACCOUNT) as iam:
        monkeypatch.setenv("AWS_ENDPOINT_URL", iam.url)
        yield iam


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that were connected to."""
    seen: list[Any] = []
    connect = socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        seen.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    return seen


def iam_of(profile: str = "p", check: Callable[[], None] = go_on) -> AwsIam:
    return AwsIam(profile, check, check)


def named(iam: AwsIam) -> list[str]:
    return [user.user_name for user in iam.list_users(None)[0]]


def failed(call: Callable[[], object]) -> ServiceError:
    """The ServiceError that a call ends in; it quotes no library and holds no secret."""
    with pytest.raises(ServiceError) as caught:
        call()
    text = caught.value.text
    cause = caught.value.__cause__
    if cause is not None and str(cause) and not isinstance(cause, ClockOff):
        assert str(cause) not in text
    assert "invented-secret" not in f"{caught.value!r}"
    assert "\n" not in text
    return caught.value


# Each row of the table


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (f"[profile other]\n{KEYS}", "there is no such AWS profile"),
        ("[profile p]\nregion = us-east-1\n", "the profile has no credentials"),
        ("[profile p]\naws_access_key_id = AKIAINVENTEDINVENTED\n", "the profile's credentials are incomplete"),
        (
            f"[profile p]\n{SSO_PORTAL}{SSO_ROLE}",
            "nobody is signed in; run: aws sso login --profile p",
        ),
        (
            f"[profile p]\nsso_session = acme\n{SSO_ROLE}[sso-session acme]\n{SSO_PORTAL}",
            "aws sso login --profile p",
        ),
        (
            f"[profile p]\n{ROLE}credential_source = Mars\n",
            "look at source_profile and credential_source",
        ),
        (
            f"[profile p]\n{ROLE}",
            "the profile's credentials are incomplete",
        ),
        (
            f"[profile p]\n{ROLE}credential_source = Ec2InstanceMetadata\n",
            "the profile's credentials could not be fetched from this machine's metadata service; has the instance a ",
        ),
        (
            f"[profile p]\n{ROLE}source_profile = q\n[profile q]\n{ROLE}source_profile = p\n",
            "source_profile leads back to itself",
        ),
        (
            f"[profile p]\n{ROLE}source_profile = q\n[profile q]\n{ROLE}{MFA}source_profile = r\n[profile r]\n{KEYS}",
            "the profile asks for an MFA code (mfa_serial), which nobody can type here",
        ),
        (
            f"[profile p]\n{ROLE}source_profile = q\n[profile q]\nrole_arn = arn:aws:iam::FILL_IN_ACCOUNT_ID:role/x\n",
            "role_arn of the profile q still says FILL_IN; put your own value in its place",
        ),
        ("not [ a config file\n", "which AWS_CONFIG_FILE names, cannot be parsed (line 1)"),
        (f"[profile p]\nregion = not a region\n{KEYS}", "the profile's region is not a region's name"),
    ],
    ids=[
        "unknown profile",
        "no credentials",
        "half of the credentials",
        "SSO without a token, old form",
        "SSO without a token, new form",
        "bad credential_source",
        "role without a source",
        "no metadata service",
        "source_profile in a circle",
        "MFA somewhere along the way",
        "a sample's placeholder somewhere along the way",
        "config file cannot be parsed",
        "no such region",
    ],
)
def test_a_wrong_profile_is_one_clear_sentence(configure: Callable[..., None], config: str, says: str) -> None:
    configure(config)
    error = failed(lambda: iam_of().list_users(None))
    assert says in error.text
    assert error.holds_for_run
    assert error.failure is not Failure.UNKNOWN


@pytest.mark.parametrize("missing", ["mars", "venus", "pluto", "ceres"])
def test_a_missing_source_profile_is_not_called_a_missing_profile(configure: Callable[..., None], missing: str) -> None:
    """The profile is there; its source is not. Whatever order a set of names has: hence several names."""
    configure(f"[profile p]\n{ROLE}source_profile = {missing}\n")
    text = failed(iam_of).text
    assert "source_profile" in text
    assert "there is no such AWS profile" not in text


@pytest.mark.process
def test_a_process_that_gives_no_credentials_is_said(configure: Callable[..., None]) -> None:
    configure(f"[profile p]\ncredential_process = {sys.executable} -c 'raise SystemExit(1)'\n")
    assert failed(lambda: iam_of().list_users(None)).text == (
        "the profile's credentials could not be fetched from its credential_process "
        f"{sys.executable} ..., which failed or printed none; run "
        "that by hand, or try: aws sts get-caller-identity --profile p"
    )


def test_the_argument_wins_over_a_bad_aws_profile(fake: FakeIam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    fake.add_user("dev_kramer")
    assert named(iam_of()) == ["dev_kramer"]


def test_dynamodb_without_a_region_says_where_to_put_one(configure: Callable[..., None]) -> None:
    configure(f"[profile p]\n{KEYS}")
    session = open_session("p", "dynamodb")
    error = failed(lambda: make_client(session, "dynamodb", state_table.CALLS, go_on))
    assert "the profile p has no region" in error.text
    assert error.holds_for_run
    client = make_client(session, "dynamodb", state_table.CALLS, go_on, "eu-west-1")
    assert client.meta.endpoint_url == "https://dynamodb.eu-west-1.amazonaws.com"


def test_iam_without_a_region_works_with_an_endpoint_from_the_environment(
    fake: FakeIam, configure: Callable[..., None]
) -> None:
    """botocore alone raises NoRegionError here: it has no region to sign with."""
    configure(f"[profile p]\n{KEYS}")
    fake.add_user("dev_kramer", [1])
    iam = iam_of()
    assert named(iam) == ["dev_kramer"]
    keys = iam.list_access_keys("dev_kramer", ACCOUNT)
    assert keys is not None
    assert iam.deactivate(keys[0])


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        (None, "https://iam.amazonaws.com"),
        ("us-east-1", "https://iam.amazonaws.com"),
        ("eu-central-1", "https://iam.amazonaws.com"),
        ("us-gov-west-1", "https://iam.us-gov.amazonaws.com"),
        ("cn-north-1", "https://iam.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_profile_reaches_the_iam_of_its_own_partition(
    configure: Callable[..., None], region: str | None, endpoint: str
) -> None:
    configure("[profile p]\n" + (f"region = {region}\n" if region else "") + KEYS)
    client = make_client(open_session("p", "iam"), "iam", aws_iam.CALLS, go_on)
    assert client.meta.endpoint_url == endpoint


def test_an_endpoint_in_a_services_section_is_used(fake: FakeIam, configure: Callable[..., None]) -> None:
    url = fake.url
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ENDPOINT_URL")
        profile = f"[profile p]\nregion = us-east-1\nservices = local\n{KEYS}"
        configure(f"{profile}[services local]\niam =\n  endpoint_url = {url}\n")
        assert iam_of().list_users(None) == ([], None)


@pytest.mark.parametrize(
    ("code", "says", "holds_for_run"),
    [
        ("ExpiredToken", "the credentials have expired", True),
        ("ExpiredTokenException", "the credentials have expired", True),
        ("InvalidClientTokenId", "AWS does not know the access key", True),
        ("UnrecognizedClientException", "AWS does not know the access key", True),
        ("SignatureDoesNotMatch", "AWS refuses the signature", True),
        ("AccessDenied", "iam:ListUsers was refused (AccessDenied)", False),
        ("AccessDeniedException", "iam:ListUsers was refused (AccessDeniedException)", False),
        ("SomethingNew", "iam:ListUsers failed (SomethingNew, HTTP 400)", False),
    ],
)
def test_a_refusal_is_one_clear_sentence_after_one_call(
    fake: FakeIam, code: str, says: str, holds_for_run: bool
) -> None:
    quoted = "User: arn:aws:iam::123456789012:user/x is not authorized"
    fake.inject(iam_error(code, message=quoted))
    error = failed(lambda: iam_of().list_users(None))
    assert says in error.text
    assert quoted not in f"{error}"
    assert (error.code, error.holds_for_run, error.failure) == (code, holds_for_run, Failure.REFUSED)
    assert fake.calls["ListUsers"] == 1


# An endpoint that does not answer


def refused_port(stack: contextlib.ExitStack) -> int:
    """A port that is taken, and that nobody listens on."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    return port


def hanging_up_port(stack: contextlib.ExitStack) -> int:
    """A port that accepts and closes."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    threading.Thread(target=hang_up, daemon=True).start()
    stack.callback(listener.shutdown, socket.SHUT_RDWR)
    port: int = listener.getsockname()[1]
    return port


def silent_port(stack: contextlib.ExitStack) -> int:
    """A port that takes connections and says nothing."""
    port: int = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    return port


@pytest.mark.parametrize("port_of", [refused_port, hanging_up_port, silent_port], ids=["refused", "hung up", "silent"])
def test_an_endpoint_that_never_answered_is_given_up_after_two_silences(
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    connections: list[Any],
    port_of: Callable[[contextlib.ExitStack], int],
) -> None:
    """Nobody waits a minute to hear that there is no network; further calls of the run do not try again."""
    configure(f"[profile p]\nregion = us-east-1\n{KEYS}")
    with contextlib.ExitStack() as stack:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port_of(stack)}")
        calls = Calls(8, "standard", 4, read_timeout=0.2, silences=16, connect_timeout=1)
        client = make_client(open_session("p", "iam"), "iam", calls, go_on)

        def list_users() -> None:
            with aws_errors("iam", "ListUsers", "p"):
                client.list_users()

        error = failed(list_users)
        assert "is there a network?" in error.text
        assert len(connections) == 2
        assert error.holds_for_run
        assert failed(list_users).holds_for_run
        assert len(connections) == 2


def test_a_connection_lost_once_is_tried_again(fake: FakeIam) -> None:
    fake.add_user("dev_kramer")
    fake.inject(Fault.drop_after_serving(), about("ListUsers"), times=1)
    assert named(iam_of()) == ["dev_kramer"]
    assert fake.calls["ListUsers"] == 2


# This machine's clock


@pytest.mark.parametrize(
    ("skew", "says"),
    [
        (timedelta(minutes=6), "this machine's clock is 6 minutes behind AWS's; set it"),
        (timedelta(minutes=-6), "this machine's clock is 6 minutes ahead of AWS's; set it"),
        (timedelta(days=2), "this machine's clock is 2880 minutes behind AWS's; set it"),
    ],
)
@pytest.mark.parametrize("refused", [False, True], ids=["answered", "refused"])
def test_a_clock_more_than_five_minutes_off_is_said_and_nothing_is_read(
    fake: FakeIam, skew: timedelta, says: str, refused: bool
) -> None:
    """Also where AWS refuses the signature for it: this says more clearly why."""
    fake.add_user("dev_kramer")
    fake.clock_skew = skew
    if refused:
        fake.inject(
            iam_error("SignatureDoesNotMatch", message="Signature expired: 20261123T080000Z is now earlier than")
        )
    error = failed(lambda: iam_of().list_users(None))
    assert error.text == says
    assert error.holds_for_run


@pytest.mark.parametrize("skew", [timedelta(minutes=4, seconds=50), timedelta(minutes=-4, seconds=-50)])
def test_a_clock_within_five_minutes_is_good_enough(fake: FakeIam, skew: timedelta) -> None:
    fake.clock_skew = skew
    assert iam_of().list_users(None) == ([], None)


@pytest.mark.parametrize(
    ("header", "is_off"),
    [
        ("Mon, 23 Nov 2026 12:05:00 GMT", False),
        ("Mon, 23 Nov 2026 12:05:01 GMT", True),
        ("Mon, 23 Nov 2026 11:55:00 GMT", False),
        ("Mon, 23 Nov 2026 11:54:59 GMT", True),
        ("Mon, 23 Nov 2026 13:00:00 +0100", False),
        (None, False),
        ("", False),
        ("yesterday", False),
    ],
)
def test_five_minutes_to_the_second(header: str | None, is_off: bool) -> None:
    now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
    expected: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if is_off:
        expected = pytest.raises(ClockOff)
    with expected:
        check_clock(header, now)


# The run's clock and the retries


class Allowance:
    """Lets so many attempts through, then none."""

    def __init__(self, attempts: int) -> None:
        self._left = attempts

    def __call__(self) -> None:
        if self._left == 0:
            raise Stopped
        self._left -= 1


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_the_clock_is_asked_before_each_attempt_retries_included(fake: FakeIam, attempts: int) -> None:
    fake.inject(iam_error("ServiceFailure"))
    calls = Calls(8, "standard", 4, read_timeout=5, silences=16)
    client = make_client(open_session("p", "iam"), "iam", calls, Allowance(attempts))
    with pytest.raises(Stopped):
        client.list_users()
    assert fake.calls["ListUsers"] == attempts


def test_stopped_is_no_error_of_aws(fake: FakeIam) -> None:
    iam = iam_of(check=Allowance(0))
    with pytest.raises(Stopped):
        iam.list_users(None)
    assert not fake.calls


@pytest.mark.parametrize("from_where", ["environment", "profile"])
def test_retries_are_ours_whatever_the_machine_says(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, from_where: str
) -> None:
    """botocore's default changes from version to version: services.md 2.3."""
    if from_where == "environment":
        monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        configure(f"[profile p]\nregion = us-east-1\n{KEYS}")
    else:
        configure(f"[profile p]\nregion = us-east-1\nretry_mode = legacy\nmax_attempts = 1\n{KEYS}")
    session = open_session("p", "iam")
    config = make_client(session, "iam", aws_iam.CALLS, go_on).meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (
        5,
        20,
        aws_iam.CONCURRENT_CALLS,
    )
    assert "keycheck/" in config.user_agent_extra
    table = make_client(session, "dynamodb", state_table.CALLS, go_on).meta.config
    assert table.retries == {"mode": "standard", "total_max_attempts": 4}


def test_calls_that_botocore_makes_by_itself_time_out_too(configure: Callable[..., None]) -> None:
    """STS for a role, SSO: botocore's own defaults are a minute to connect and a minute to read."""
    configure(f"[profile p]\nregion = us-east-1\n{KEYS}")
    config = open_session("p", "iam").boto_session.client("sts").meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


# The access keys that keycheck depends on


def own_ids(profile: str) -> frozenset[str]:
    return open_session(profile, "iam").own_access_key_ids


def test_the_access_keys_of_every_profile_in_both_files_are_our_own(configure: Callable[..., None]) -> None:
    configure(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = x\n"
        "[profile p]\nregion = us-east-1\naws_access_key_id = AKIACONFIG\naws_secret_access_key = x\n"
        f"[profile role]\n{ROLE}source_profile = elsewhere\n",
        "[elsewhere]\naws_access_key_id = AKIACREDENTIALS\naws_secret_access_key = x\n"
        "[p]\naws_access_key_id = AKIAFIRST\naws_secret_access_key = x\n",
    )
    for profile in ("p", "role", "default"):
        ids = own_ids(profile)
        assert {"AKIADEFAULT", "AKIAFIRST", "AKIACREDENTIALS"} <= ids
        assert ids <= {"AKIADEFAULT", "AKIAFIRST", "AKIACREDENTIALS", "AKIACONFIG"}


def test_the_access_key_that_signs_is_our_own(configure: Callable[..., None]) -> None:
    """Which file wins is botocore's to say: what it signs with is protected."""
    configure("[profile p]\naws_access_key_id = AKIACONFIG\naws_secret_access_key = x\n")
    session = open_session("p", "iam")
    assert session.boto_session.get_credentials().access_key in session.own_access_key_ids


def process(access_key_id: str, token: str = "") -> str:
    """A credential_process that prints these."""
    more = f', \\"SessionToken\\": \\"{token}\\"' if token else ""
    answer = f'{{\\"Version\\": 1, \\"AccessKeyId\\": \\"{access_key_id}\\", \\"SecretAccessKey\\": \\"x\\"{more}}}'
    return f'credential_process = /bin/echo "{answer}"\n'


@pytest.mark.process
def test_the_access_key_of_a_credential_process_is_our_own(configure: Callable[..., None]) -> None:
    configure(f"[profile p]\n{process('AKIAPROCESS')}")
    assert own_ids("p") == {"AKIAPROCESS"}


@pytest.mark.process
def test_the_access_key_of_a_source_profiles_process_is_our_own(configure: Callable[..., None]) -> None:
    configure(
        f"[profile p]\n{ROLE}source_profile = middle\n"
        f"[profile middle]\n{ROLE}source_profile = base\n"
        f"[profile base]\n{process('AKIAPROCESS')}"
    )
    assert own_ids("p") == {"AKIAPROCESS"}


def test_a_source_profile_that_names_itself_ends(configure: Callable[..., None]) -> None:
    """botocore allows it: the profile's own access keys assume its role."""
    configure(f"[profile p]\n{ROLE}source_profile = p\n{KEYS}")
    assert own_ids("p") == {"AKIAINVENTEDINVENTED"}


def test_temporary_credentials_are_left_alone_and_no_network_is_asked(
    configure: Callable[..., None], connections: list[Any]
) -> None:
    """A role's and SSO's access keys belong to no IAM user; finding them would need STS, SSO or a metadata service."""
    configure(
        f"[profile p]\n{ROLE}source_profile = base\n"
        f"[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = x\n"
        f"[profile sso]\n{SSO_PORTAL}{SSO_ROLE}"
        f"[profile web]\n{ROLE}web_identity_token_file = /nonexistent/token\n"
    )
    for profile in ("p", "sso", "web"):
        assert own_ids(profile) == {"AKIABASE"}
    assert connections == []


def test_a_process_of_a_profile_that_is_not_used_is_not_run(configure: Callable[..., None], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    configure(f"[profile p]\n{KEYS}[profile other]\ncredential_process = /usr/bin/touch {ran}\n")
    assert own_ids("p") == {"AKIAINVENTEDINVENTED"}
    assert not ran.exists()


# Timestamps


@given(
    st.integers(int(datetime(2006, 1, 1, tzinfo=UTC).timestamp()), int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()))
)
@example(int(datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()))
def test_iams_timestamps_are_what_botocore_reads(seconds: int) -> None:
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert _timestamp(text) == parse_timestamp(text)
    assert _timestamp(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [0, 1.5, "1790000000", "2026-11-23T08:00:00.25Z", "2026-11-23T08:00:00+02:00", "Mon, 23 Nov 2026 08:00:00 GMT"],
)
def test_other_timestamps_are_botocores_to_read(value: object) -> None:
    assert _timestamp(value) == parse_timestamp(value)


@pytest.mark.parametrize("value", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", None])
def test_what_is_no_timestamp_is_an_error_as_in_botocore(value: object) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - botocore's own, of several kinds
        parse_timestamp(value)
    with pytest.raises(Exception):  # noqa: B017, PT011 - likewise
        _timestamp(value)
