"""The sandbox's table in memory does to an item what DynamoDB's engine does: each write, whatever was there before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keycheck.actions import Promise
from keycheck.model import Lookup, Notice, Void
from keycheck.rules import other_writes, writes
from keycheck.rules.changes import Write
from keycheck.rules.writes import Given
from keycheck.services import ClaimLost, state_items
from keycheck.services.state_table import StateTable
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryClaims
from sandbox.moto_aws import STATE_TABLE, MotoAws
from tests.builders import ACCOUNT, flat_record, make_access_key, make_addressee

PROFILE: Final = "acme-state"
START: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY: Final = make_access_key()
OWNER: Final = make_addressee()

INSTANTS: Final = st.integers(-2, 2).map(lambda days: START + timedelta(days=days, seconds=0.5))
TOKENS: Final = st.sampled_from(["mine", "theirs"])
ISSUES: Final = st.sampled_from([None, "SEC-1", "SEC-2"])
RECORDS: Final = st.builds(
    flat_record,
    st.just(KEY.access_key_id),
    issue_key=ISSUES,
    issue_filings=st.lists(INSTANTS, max_size=2).map(tuple),
    disabled_at=st.none() | INSTANTS,
    disabling_at=st.none() | INSTANTS,
    inactive_at=st.none() | INSTANTS,
    disable_from=st.none() | INSTANTS,
    warned_at=st.none() | INSTANTS,
    warned_owner=st.sampled_from(["U1", "U2"]),
    notice_kept_at=INSTANTS,
)
NOTICES: Final = st.builds(Notice, st.sampled_from(["U1", "U2"]), INSTANTS, INSTANTS)
GIVEN: Final = st.none() | st.builds(
    Given, RECORDS, st.builds(Promise, INSTANTS, st.sampled_from(["U1", "U2", None])), INSTANTS
)
TIMES: Final = {"now": INSTANTS, "lapses": INSTANTS}
ACCESS_KEY: Final = st.just(KEY)
ADDRESSEE: Final = st.just(OWNER)
ID: Final = st.just(KEY.access_key_id)
MARK: Final = st.sampled_from(["expired", "disabled"])
LISTED: Final = st.sets(st.sampled_from(["AKIA-ONE", "AKIA-TWO", "AKIA-THREE"]), min_size=1)
MARKS: Final = st.lists(MARK, min_size=1, max_size=2)
ANY_WRITE: Final = st.one_of(
    st.builds(writes.claim_issue, ACCESS_KEY, TOKENS, ISSUES, **TIMES),
    st.builds(writes.begin_filing, RECORDS, TOKENS, INSTANTS),
    st.builds(
        writes.record_issue,
        ID,
        TOKENS,
        st.sampled_from(["SEC-1", "SEC-2"]),
        st.lists(INSTANTS, max_size=2),
        said=st.lists(MARK, max_size=2),
        given=GIVEN,
    ),
    st.builds(
        writes.record_said,
        RECORDS,
        TOKENS,
        st.lists(MARK, min_size=1, max_size=2),
        ended_at=st.none() | INSTANTS,
        given=GIVEN,
        at=st.none() | INSTANTS,
    ),
    st.builds(writes.record_assigned, RECORDS, st.just("kramer@example.com"), GIVEN),
    st.builds(writes.release_issue, RECORDS, TOKENS, st.none() | INSTANTS),
    st.builds(writes.claim_message, ADDRESSEE, TOKENS, st.just(24), **TIMES),
    st.builds(writes.record_message, ADDRESSEE, TOKENS, INSTANTS),
    st.builds(writes.release_message, ADDRESSEE, TOKENS, st.integers(0, 2), st.none() | INSTANTS),
    st.builds(writes.record_told, ACCESS_KEY, INSTANTS, GIVEN, ends_exemption=st.booleans()),
    st.builds(writes.begin_disabling, ACCESS_KEY, TOKENS, INSTANTS, INSTANTS, st.none() | NOTICES),
    st.builds(writes.drop_disabling, ID, INSTANTS),
    st.builds(writes.record_disabled, ID, INSTANTS, st.just("run7"), st.just("it expired")),
    st.builds(writes.record_reenabled, RECORDS, INSTANTS),
    st.builds(writes.record_exempt, ACCESS_KEY, st.just(date(2026, 12, 1)), INSTANTS),
    st.builds(writes.record_inactive, RECORDS, INSTANTS),
    st.builds(writes.keep_notice, RECORDS, NOTICES, INSTANTS),
    st.builds(writes.void_notice, RECORDS, st.sampled_from(Void), INSTANTS),
    st.builds(
        other_writes.record_lookup,
        st.just("kramer@example.com"),
        st.builds(Lookup, st.sampled_from([None, "U1ABC"]), INSTANTS),
    ),
    st.builds(other_writes.drop_events, ID, st.sets(st.sampled_from(["1 told U1", "2 told U1"]), min_size=1)),
    st.builds(other_writes.note_standing, st.just(ACCOUNT), LISTED, INSTANTS),
    st.builds(other_writes.forget_standing, st.just(ACCOUNT), LISTED),
    st.builds(other_writes.note_all_listed, INSTANTS),
    st.builds(other_writes.note_turn, st.just(ACCOUNT), MARK),
    st.builds(other_writes.note_account, st.just(ACCOUNT), INSTANTS),
    st.builds(other_writes.record_try, st.just("kramer@example.com"), INSTANTS),
    st.builds(
        other_writes.disablings_of_account,
        st.just(ACCOUNT),
        TOKENS,
        st.none() | TOKENS,
        st.lists(INSTANTS, max_size=2),
    ),
)


@pytest.fixture(scope="module")
def engine(moto: MotoAws, tmp_path_factory: pytest.TempPathFactory) -> StateTable:
    moto.reset()
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(moto.aws_config({PROFILE: moto.account_id}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(config))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(Path("/nonexistent/credentials")))
        patch.setenv("AWS_ENDPOINT_URL", moto.url)
        table = StateTable(
            PROFILE,
            None,
            STATE_TABLE,
            HourlyClock(START),
        )
        assert table.open(create=True)
        return table


def attempt(apply: Callable[[Write], object], write: Write) -> object:
    try:
        return apply(write)
    except ClaimLost:
        return ClaimLost


def items_of(engine: StateTable) -> dict[str, dict[str, Any]]:
    found = engine._client.scan(TableName=STATE_TABLE, ConsistentRead=True)["Items"]
    return {item[state_items.HASH_KEY]["S"]: dict(state_items.from_wire(item)) for item in found}


@given(st.lists(ANY_WRITE, min_size=1, max_size=12))
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_write_does_the_same_in_memory_and_on_an_engine(engine: StateTable, made: list[Write]) -> None:
    for name in items_of(engine):
        engine._client.delete_item(TableName=STATE_TABLE, Key={state_items.HASH_KEY: {"S": name}})
    account = MemoryAccount(ACCOUNT, START)
    memory = MemoryClaims(account)
    for write in made:
        assert attempt(memory.apply, write) == attempt(engine.apply, write), write.name
        assert account.items == items_of(engine), write.name
