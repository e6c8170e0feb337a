"""Each call of each adapter failing in each way it can, in whole runs in process: what is done, said and put right.

That a service's fault becomes such a ServiceError is proved over real sockets (tests/services); what a run makes of a
ServiceError is proved here. The rows of docs/reliability.md are real processes against real faults beside that: one of
each kind in `make test`, all of them in `make faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest

from keycheck.model import Level
from tests.builders import BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.in_process import FAILURES, KRAMER, SAID, USER, Ran, Stage, Stages, Trouble, error

EMAIL = "kramer@example.com"


Counts = tuple[int, int, int]


def an_expired_access_key(stage: Stage) -> None:
    stage.add_key(197)


def an_owner_by_email(stage: Stage) -> None:
    stage.add_key(197)
    stage.owners.clear()
    stage.account.tags[USER] = {"email": EMAIL}
    stage.account.slack_ids[EMAIL] = KRAMER
    stage.environ["jira_assign_owner"] = "True"


def a_re_enabled_access_key(stage: Stage) -> None:
    key = stage.add_key(197)
    stage.run()
    stage.pass_time(MORE_THAN_A_DAY)
    stage.set_status(key, "Active")


def a_user_who_is_exempt(stage: Stage) -> None:
    stage.add_key(197)
    stage.environ["exempt_by_tag"] = "True"
    until = (stage.account.now + timedelta(days=30)).date().isoformat()
    stage.account.tags[USER] = {"keycheck:exempt-until": until, "keycheck:exempt-reason": "a migration"}


@dataclass(frozen=True)
class Case:
    """A call, a situation in which it is made, and what the run in which it fails has done nevertheless.

    `done`: issues filed, messages delivered, access keys disabled, in all. `at_last`: the same, once all is well and
    the owner's next message was due. `if_served`: both, where the call took effect and nobody heard of it.
    `if_unknown`: both, where it had none and nobody heard so. `also`: a call that is refused in the same run, and makes
    it necessary.
    """

    call: str
    done: Counts
    prepare: Callable[[Stage], None] = an_expired_access_key
    at_last: Counts = (1, 1, 1)
    if_served: tuple[Counts, Counts] | None = None
    if_unknown: tuple[Counts, Counts] | None = None
    also: str | None = None

    def troubles(self, raises: Callable[[], Exception], *, is_served: bool) -> list[Trouble]:
        troubles = [Trouble.on(self.call, raises, is_served)]
        if self.also is not None:
            troubles.append(Trouble.on(self.also, error()))
        return troubles


NOTHING, ALL = (0, 0, 0), (1, 1, 1)
NO_ISSUE = (0, 1, 1)
"""Whom Slack can tell does not wait for Jira, and what is inactive gets no issue any more."""
LEFT_ALONE = (1, 2, 0)
"""An intent is on record, and nobody can know that nothing came of it: for its days the access key is left alone."""
CASES = [
    # What nothing can go on without
    Case("outside open_iam", NOTHING),
    Case("iam list_users", NOTHING),
    Case("iam list_access_keys", NOTHING),
    Case("outside open_claims", NOTHING),
    Case("claims open", NOTHING),
    Case("claims read", NOTHING),
    Case("claims look_through", NOTHING),
    Case("claims note_standing", NOTHING),
    # What is good to know
    Case("iam root_access_keys", ALL),
    Case("claims note_account", ALL),
    Case("claims note_all_listed", ALL),
    Case("iam last_used", ALL),
    # Issues
    Case("outside open_issues", NO_ISSUE, at_last=NO_ISSUE),
    Case("issues open_issues", NO_ISSUE, at_last=NO_ISSUE),
    Case("claims claim_issue", NOTHING),
    Case("issues find_open", NO_ISSUE, at_last=NO_ISSUE),
    Case("issues find_original", NO_ISSUE, at_last=NO_ISSUE),
    Case("claims begin_filing", NOTHING),
    Case("issues create", NO_ISSUE, at_last=NO_ISSUE, if_served=(ALL, ALL)),
    Case("claims record_issue", ALL),
    Case("claims release_issue", NO_ISSUE, at_last=NO_ISSUE, also="issues create"),
    # Messages: nobody is cut off by one that may not have arrived, or whose warning is not on record
    Case("outside open_messages", (1, 0, 0)),
    Case("claims claim_message", (1, 0, 0)),
    Case("messages send", (1, 0, 0), if_served=((1, 1, 0), (1, 2, 1))),
    Case("claims record_message", ALL),
    Case("claims record_told", (1, 1, 0), at_last=(1, 2, 1), if_served=((1, 1, 0), ALL)),
    Case("claims release_message", (1, 0, 0), also="messages send"),
    # Disabling
    Case("claims take_disabling", (1, 1, 0)),
    Case("claims begin_disabling", (1, 1, 0), if_served=((1, 1, 0), LEFT_ALONE)),
    Case("iam deactivate", (1, 1, 0), if_served=(ALL, ALL), if_unknown=((1, 1, 0), LEFT_ALONE)),
    Case("claims record_disabled", ALL),
    Case("claims drop_disabling", (1, 1, 0), at_last=LEFT_ALONE, if_served=((1, 1, 0), ALL), also="iam deactivate"),
    Case("claims give_back_disabling", (1, 1, 0), also="iam deactivate"),
    # Owners: who could not be found out is told nothing, and nobody else is told instead
    Case("iam list_user_tags", (1, 0, 0), an_owner_by_email),
    Case("messages find_user", (1, 0, 0), an_owner_by_email),
    Case("messages why_gone", (1, 1, 0)),
    Case("claims record_lookup", ALL, an_owner_by_email),
    Case("issues assign", ALL, an_owner_by_email),
    Case("claims record_assigned", ALL, an_owner_by_email),
    # What a person, or an exemption, keeps active stays active
    Case("claims record_reenabled", ALL, a_re_enabled_access_key, at_last=(1, 3, 1)),
    Case("claims record_exempt", NOTHING, a_user_who_is_exempt, at_last=NOTHING),
]
SAID_BY_THE_NEXT_RUN = {"issues assign", "claims release_issue", "claims release_message"}
SAID_BY_THE_NEXT_RUN |= {"claims drop_disabling", "claims give_back_disabling", "claims note_account"}
SAID_BY_THE_NEXT_RUN |= {"claims note_all_listed"}
"""What fails here is made good by a later run, and is nothing that a person could do anything about."""
NEVER_FAILS = {"issues check_created", "iam own_access_key_ids"}
"""The one gives back what is wrong as a text, the other asks nobody."""
UNREAD = {"outside open_iam", "iam list_users", "iam list_access_keys"}


def done(stage: Stage) -> tuple[int, int, int]:
    return len(stage.account.issues), len(stage.account.sent), len(stage.account.disabled)


def check_what_is_said(ran: Ran, case: Case) -> None:
    """Every access key that was read has its line; what failed is said, and counted where it is an error."""
    assert sum(line.startswith("iam,") for line in ran.lines) == (case.call not in UNREAD)
    errors, warnings = ran.said(Level.ERROR), ran.said(Level.WARNING)
    assert ran.count("errors") == len(errors)
    if case.also is None and case.call not in SAID_BY_THE_NEXT_RUN:
        assert any(SAID in text for text in (*errors, *warnings))
    assert not any("unexpected" in text for text in (*errors, *warnings))


def check_nobody_was_cut_off_untold(stage: Stage, case: Case) -> None:
    """And each thing was done once: only a message that could not be recorded may come again within a day."""
    issues, messages, disabled = done(stage)
    assert (issues <= 1, messages <= 3, disabled <= 1) == (True, True, True)
    if case.call != "claims record_message":
        times = [message.at for message in stage.account.sent]
        assert all(later - earlier >= timedelta(days=1) for earlier, later in pairwise(times))
    if disabled:
        assert messages > 0
        assert stage.account.sent[0].at <= stage.account.disabled[0][0]


ENDING = {
    "claims record_inactive": (0, 0),
    "claims claim_issue": (0, 0),
    "issues read": (0, 0),
    "issues was_said": (0, 0),
    "issues comment": (0, 1),
    "issues close": (1, 1),
    "claims record_said": (1, 1),
}
"""Call -> comments that the run in which it fails has left: where it had no effect, and where it had one."""


each_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.call) for case in CASES])


def test_every_call_that_a_run_makes_is_in_the_table(stages: Stages) -> None:
    made: set[tuple[str, str]] = set()
    for prepare in {Stage.make_an_issue_that_is_to_end, *(case.prepare for case in CASES)}:
        with stages() as stage:
            prepare(stage)
            made |= set(stage.run().calls.made)
    assert {" ".join(one) for one in made if one[0] != "dynamodb"} <= {
        *(case.call for case in CASES),
        *ENDING,
        *NEVER_FAILS,
    }


@each_case
def test_a_call_that_fails_costs_what_rests_on_it_and_the_next_runs_put_it_right(stages: Stages, case: Case) -> None:
    for name, (raises, is_served) in FAILURES.items():
        unheard = case.if_served if is_served else case.if_unknown if name == "no answer, not done" else None
        expected = unheard or (case.done, case.at_last)
        with stages() as stage:
            case.prepare(stage)
            ran = stage.run(*case.troubles(raises, is_served=is_served))
            assert tuple(case.call.split()) in ran.calls.made, name
            assert done(stage) == expected[0], name
            check_what_is_said(ran, case)
            stage.run()
            stage.pass_time(BEYOND_A_CLAIM)
            stage.run()
            stage.pass_time(MORE_THAN_A_DAY)
            last = stage.run()
            assert (last.said(Level.ERROR), last.said(Level.WARNING)) == ([], []), name
            assert done(stage) == expected[1], name
            check_nobody_was_cut_off_untold(stage, case)


@each_case
def test_a_fault_of_ours_is_said_as_such_and_costs_no_metric(stages: Stages, case: Case) -> None:
    """An exception that no adapter should let through."""
    with stages() as stage:
        case.prepare(stage)
        ran = stage.run(*case.troubles(lambda: RuntimeError("ours"), is_served=False))
        assert any("unexpected RuntimeError" in text for text in (*ran.said(Level.ERROR), *ran.said(Level.WARNING)))
        assert sum(line.startswith("iam,") for line in ran.lines) == (case.call not in UNREAD)
        assert [line.startswith("iam_run,") for line in ran.lines][-1]
        stage.run()
        stage.pass_time(MORE_THAN_A_DAY)
        assert stage.run().said(Level.ERROR) == []
        check_nobody_was_cut_off_untold(stage, case)


@pytest.mark.parametrize("call", ENDING)
def test_an_issue_is_ended_with_one_comment_whatever_fails_on_the_way(stages: Stages, call: str) -> None:
    for name, (raises, is_served) in FAILURES.items():
        with stages() as stage:
            stage.make_an_issue_that_is_to_end()
            ran = stage.run(Trouble.on(call, raises, is_served))
            (issue,) = stage.account.issues.values()
            assert len(issue.comments) == ENDING[call][is_served], name
            assert any(SAID in text for text in ran.said(Level.ERROR)), name
            for _ in range(2):
                stage.pass_time(BEYOND_A_CLAIM)
                last = stage.run()
            assert (last.said(Level.ERROR), last.said(Level.WARNING)) == ([], []), name
            assert (len(issue.comments), issue.ended_at is not None) == (1, True), name
            assert not stage.is_claim_left(), name
