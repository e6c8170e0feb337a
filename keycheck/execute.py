"""Walks the plans: for each addressee file the issues, send the message, disable. Shell.

In: plans, services, the run's clock. Out: Outcomes: what was done, what was surely not, what nobody knows. It decides
nothing that planning decided; it only carries out, in this order and under a claim for each (design.md, section 4):

    note      one write to the state table
    issue     claim -> look (recorded issue, then label) -> note the filing -> POST -> record -> assign -> read back
    comment   claim -> look (is it open, was this said?) -> POST -> close, where it is the last word -> record
    message   claim -> POST -> record (an unknown outcome too)
    disable   only if a warning was delivered -> last use once more -> take one of the day's disablings -> write the
              intent, if no other run did in the last 15 minutes or has told a later day -> UpdateAccessKey -> record

A refusal releases its claim; an unknown issue keeps it. Chains run side by side, and so do the issues of one chain.
Every call asks the clock first. Where a claim, or a disabling's intent, cannot be written, nothing more is begun in
this run. What another run has a claim on is left to it, and the access key's disabling too.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain as joined
from itertools import zip_longest
from typing import TypeVar

from keycheck.clock import RunClock, Stopped
from keycheck.model import (
    AccessKey,
    Action,
    AssignIssue,
    Chain,
    CommentIssue,
    DisableKey,
    FileIssue,
    KeyRecord,
    Level,
    NoteKind,
    NoteState,
    Notice,
    Outcome,
    Outcomes,
    Plan,
    Problem,
    Result,
    SendMessage,
    Skip,
    SkipReason,
    Warned,
)
from keycheck.rules.case import IAM_SETTLES_WITHIN, claim_is_live
from keycheck.rules.disabling import is_in_use
from keycheck.rules.filing import ISSUES_AT_MOST, ISSUES_WITHIN, may_file_another
from keycheck.services import ClaimLost, Claims, Iam, Issues, Messages, ServiceError, ServiceOff
from keycheck.settings import Settings
from keycheck.wording import (
    comment_text,
    describe,
    describe_found,
    issue_draft,
    mark_line,
    name_access_key,
    name_key,
    slack_draft,
)

CHAINS_AT_ONCE = 8
FILINGS_AT_ONCE = 8
POLL_SECONDS = 0.05
SETTLING_SECONDS = 1.2
SERVER_ERRORS_IN_A_ROW = 2
RETRY_AFTER_SERVER_ERRORS = timedelta(hours=1)

ProfileAction = tuple[str, Action]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """What the actions of a run may use; None where it is off, and was said to be.

    `iams`: access key id -> the IAM of each profile that shows it, in the order the profiles were given.
    """

    claims: Claims
    issues: Issues | None
    messages: Messages | None
    iams: Mapping[str, Sequence[Iam]]


def find_open_issue(issues: Issues, record: KeyRecord, issue_label: str) -> str | None:
    """Look before filing: the recorded issue by its key, which is never stale; then the access key's label.

    Raises ServiceError where either look failed: that is never "not found".
    """
    if record.issue_key is not None and issues.is_open(record.issue_key):
        return record.issue_key
    return issues.find_open(issue_label)


def rehearse(plans: Sequence[Plan], issues: Issues | None) -> Iterator[tuple[str, str]]:
    """(profile, line) for each action that `Executor` would take: the same looks at Jira, no claim, no write."""
    for plan in plans:
        for action in _actions(plan):
            try:
                yield plan.profile, _rehearse_one(action, issues)
            except ServiceError as error:
                yield plan.profile, f"could not look whether it {describe(action)}: {error.text}"
            except Stopped:
                yield plan.profile, f"had no time left to look whether it {describe(action)}"


def _rehearse_one(action: Action, issues: Issues | None) -> str:
    if isinstance(action, FileIssue) and issues is not None:
        found = find_open_issue(issues, action.record, action.key.access_key.issue_label)
        if found is not None:
            return describe_found(action, found)
    return describe(action)


class Executor:
    """Carries out the plans of one run: `run` in one thread, `settle` in another once the time is over."""

    def __init__(self, plans: Sequence[Plan], services: Services, settings: Settings, clock: RunClock) -> None:
        self._plans = plans
        self._services = services
        self._settings = settings
        self._clock = clock
        self._filings = ThreadPoolExecutor(FILINGS_AT_ONCE, thread_name_prefix="filing")
        self._lock = threading.Lock()
        self._is_settled = False
        self._state_failed = False
        self._outcomes: dict[ProfileAction, Outcome] = {}
        self._skips: dict[ProfileAction, tuple[Skip, ...]] = {}
        self._problems: dict[Problem, None] = {}
        self._in_flight: dict[ProfileAction, Callable[[], None]] = {}
        self._posted: set[str] = set()
        self._warned: set[str] = set()
        self._claimed: dict[str, bool] = {}  # access key id -> whether the run that was first may still be at it
        self._run = uuid.uuid4().hex

    def run(self) -> None:
        """Walk all chains, profiles taking turns; returns when all are walked, or soon after the run is over."""
        chains = ThreadPoolExecutor(CHAINS_AT_ONCE, thread_name_prefix="chain")
        in_turn = joined.from_iterable(zip_longest(*(plan.chains for plan in self._plans)))
        futures: list[Future[None]] = [chains.submit(self._walk, one) for one in in_turn if one is not None]
        while wait(futures, timeout=POLL_SECONDS).not_done and self._clock.grace_seconds() > 0:
            pass
        chains.shutdown(wait=False, cancel_futures=True)
        self._filings.shutdown(wait=False, cancel_futures=True)

    def settle(self) -> Outcomes:
        """Close the books: what is in flight is unknown, what was not begun is left for the next run.

        An unknown message counts as sent, so that is recorded here; this takes at most a second or so.
        """
        with self._lock:
            in_flight = dict(self._in_flight)
        pool = ThreadPoolExecutor(CHAINS_AT_ONCE, thread_name_prefix="settle")
        recording = [pool.submit(record) for record in in_flight.values()]
        until = time.monotonic() + SETTLING_SECONDS
        while (self._in_flight or wait(recording, timeout=0).not_done) and time.monotonic() < until:
            time.sleep(POLL_SECONDS / 5)
        pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_settled = True
            for plan in self._plans:
                for action in _actions(plan):
                    self._settle_action(plan.profile, action)
            planned = (skip for plan in self._plans for skip in plan.skips)
            return Outcomes(
                tuple(self._outcomes.values()),
                (*planned, *joined.from_iterable(self._skips.values())),
                tuple(self._problems),
            )

    def _settle_action(self, profile: str, action: Action) -> None:
        one = (profile, action)
        if one in self._outcomes or one in self._skips:
            return
        if one in self._in_flight:
            self._outcomes[one] = Outcome(profile, action, Result.UNKNOWN)
            text = f"no answer before the run's time was over; it is unknown whether this was done: {describe(action)}"
            self._problems[Problem(Level.ERROR, profile, text)] = None
        else:
            reason = SkipReason.NO_STATE if self._state_failed else SkipReason.OUT_OF_TIME
            self._skips[one] = _skips(profile, action, reason)

    # One chain

    def _walk(self, chain: Chain) -> None:
        try:
            for note in chain.notes:
                self._note(chain, note)
            issue_keys = self._see_to_issues(chain)
            if chain.message is not None:
                self._send(chain, chain.message, issue_keys)
            for disabling in chain.disablings:
                self._disable(chain, disabling)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours in one chain must not cost the others
            self._problem(chain, Level.ERROR, f"unexpected {type(error).__name__} while acting; please report it")

    def _see_to_issues(self, chain: Chain) -> dict[str, str]:
        """File, assign and comment; access key id -> issue key of those whose open issue is known by then."""
        self._clock.check()
        futures = [self._filings.submit(self._see_to_issue, chain, action) for action in chain.filings]
        issue_keys: dict[str, str] = {}
        for action, future in zip(chain.filings, futures, strict=True):
            try:
                issue_key = future.result()
            except (Stopped, CancelledError):
                continue
            except Exception as error:  # noqa: BLE001 - what goes wrong with an issue must not cost the message
                self._problem(chain, Level.ERROR, f"unexpected {type(error).__name__} while filing; please report it")
                continue
            if issue_key is not None:
                issue_keys[action.record.access_key_id] = issue_key
        return issue_keys

    def _see_to_issue(self, chain: Chain, action: FileIssue | AssignIssue | CommentIssue) -> str | None:
        match action:
            case FileIssue():
                return self._file(chain, action)
            case AssignIssue():
                self._assign(chain, action)
            case CommentIssue():
                self._comment(chain, action)
        return None

    # What the scan has shown

    def _note(self, chain: Chain, note: NoteState) -> None:
        claims, record = self._services.claims, note.record

        def write() -> bool:
            match note.kind:
                case NoteKind.CONFIRMED if record.disabling_at is not None:
                    why = "found inactive after its disabling was begun"
                    claims.record_disabled(record.access_key_id, record.disabling_at, self._run, why)
                case NoteKind.DROPPED if record.disabling_at is not None:
                    claims.drop_disabling(record.access_key_id, record.disabling_at)
                case NoteKind.REENABLED:
                    claims.record_reenabled(record, self._clock.now)
                case NoteKind.EXEMPT if note.key is not None and note.until is not None:
                    claims.record_exempt(note.key.access_key, note.until)
            return True

        if self._rest_on(chain, note, write) is not None:
            self._done(chain, note, Result.DONE)

    def _file(self, chain: Chain, filing: FileIssue) -> str | None:
        """Make sure that one access key has an open issue; its key, or None where there is none or nobody knows."""
        issues, claims, access_key = self._services.issues, self._services.claims, filing.key.access_key
        if issues is None:
            self._skip(chain, filing, SkipReason.JIRA_OFF)
            return None
        token = uuid.uuid4().hex
        record = self._rest_on(chain, filing, lambda: claims.claim_issue(access_key, token, filing.record.issue_key))
        if record is None:
            return None
        try:
            return self._file_claimed(chain, filing, issues, record, token)
        except Stopped:  # raised before a call, never after a POST
            self._give_back(lambda: claims.release_issue(record, token))
            raise

    def _file_claimed(
        self, chain: Chain, filing: FileIssue, issues: Issues, record: KeyRecord, token: str
    ) -> str | None:
        """Look, and file where there is none; `record` is the access key's record as the claim returned it."""
        claims, access_key = self._services.claims, filing.key.access_key
        try:
            found = find_open_issue(issues, record, access_key.issue_label)
            reason = None if found is not None else self._reason_not_to_post(issues, record, access_key)
        except ServiceError as error:
            self._give_back(lambda: claims.release_issue(record, token))
            self._refused(chain, filing, error)
            return None
        if found is not None:
            self._record_issue(chain, filing, token, found)
            self._done(chain, filing, Result.NOT_NEEDED)
            return found
        if reason is not None:
            self._give_back(lambda: claims.release_issue(record, token))
            self._skip(chain, filing, reason)
            return None
        at = self._clock.utc_now()
        if self._rest_on(chain, filing, lambda: claims.begin_filing(record, token, at)) is None:
            return None
        with self._flying(chain, filing):
            try:
                issue_key = issues.create(issue_draft(filing, chain.profile))
            except ServiceError as error:
                if error.may_have_happened:
                    self._unknown(chain, filing, f"{error.text}; an issue for {name_key(filing.key)} may exist")
                    return None
                self._give_back(lambda: claims.release_issue(record, token))
                self._refused(chain, filing, error)
                return None
            self._done(chain, filing, Result.DONE)
            self._record_issue(chain, filing, token, issue_key, (*record.answered_filings, at))
            if filing.email is not None:
                self._assign_new(chain, issues, filing, replace(record, issue_key=issue_key), filing.email)
        self._check_created(chain, issues, issue_key, access_key.issue_label)
        return issue_key

    def _reason_not_to_post(self, issues: Issues, record: KeyRecord, access_key: AccessKey) -> SkipReason | None:
        """Never a second POST for one access key in one run (two profiles may show the same account), and never a
        third issue within seven days, by the record as the claim returned it.

        Filings of unknown outcome count until Jira says what they made: its search shows that by the time that their
        claim has lapsed. Else an hour in which Jira fails would keep each access key without an issue for a week.
        """
        with self._lock:
            is_second = record.access_key_id in self._posted
            self._posted.add(record.access_key_id)
        if is_second:
            return SkipReason.CLAIMED
        if may_file_another(record.issue_filings, self._clock.now):
            return None
        if may_file_another(record.answered_filings, self._clock.now):
            filed = issues.count_filed(access_key.issue_label, ISSUES_WITHIN.days)
            if filed is not None and filed < ISSUES_AT_MOST:
                return None
        return SkipReason.TOO_MANY_ISSUES

    def _record_issue(
        self, chain: Chain, filing: FileIssue, token: str, issue_key: str, answered: Sequence[datetime] = ()
    ) -> None:
        """Record an issue that was filed (`answered`), or found: what a found one promised to whom is not known."""
        access_key_id = filing.key.access_key.access_key_id
        warned = self._warned_by(filing.notice) if answered and filing.email is None else None
        self._record(
            chain,
            lambda: self._services.claims.record_issue(
                access_key_id, token, issue_key, answered, said=(filing.key.label.value,), warning=warned
            ),
            f"{issue_key} for {name_key(filing.key)} could not be recorded, so the next run looks for it",
            access_key_id if warned is not None else None,
        )

    def _warned_by(self, notice: Notice | None) -> Warned | None:
        return None if notice is None else Warned(self._clock.utc_now(), notice.owner, notice.day)

    def _assign_new(self, chain: Chain, issues: Issues, filing: FileIssue, record: KeyRecord, email: str) -> None:
        """Assign an issue that was just filed; where that fails, the next run assigns it."""
        try:
            is_assigned = issues.assign(record.issue_key or "", email)
        except (ServiceError, Stopped):
            return
        if is_assigned:
            warned = self._warned_by(filing.notice)
            self._record(
                chain,
                lambda: self._services.claims.record_assigned(record, email, warned),
                f"that {record.issue_key} is assigned could not be recorded, so it is assigned again",
                record.access_key_id if warned is not None else None,
            )
        else:
            self._nobody_in_jira(chain, record)

    def _nobody_in_jira(self, chain: Chain, record: KeyRecord) -> None:
        text = "an issue could not be assigned: Jira knows nobody by the owner's e-mail, or may not assign to them"
        self._problem(chain, Level.WARNING, text, f"{record.issue_key} of {record.user_name}")

    def _assign(self, chain: Chain, action: AssignIssue) -> None:
        """Assign the recorded issue: repeating that is harmless, so it needs no claim, and a silence is a refusal."""
        issues, record = self._services.issues, action.record
        if issues is None:
            self._skip(chain, action, SkipReason.JIRA_OFF)
            return
        self._clock.check()
        try:
            is_assigned = issues.assign(record.issue_key or "", action.email)
        except ServiceError as error:
            self._refused(chain, action, error)
            return
        if not is_assigned:
            self._nobody_in_jira(chain, replace(record, user_name=action.key.access_key.user_name))
            self._done(chain, action, Result.REFUSED)
            return
        self._done(chain, action, Result.DONE)
        self._record(
            chain,
            lambda: self._services.claims.record_assigned(record, action.email),
            f"that {record.issue_key} is assigned could not be recorded, so it is assigned again",
        )

    def _comment(self, chain: Chain, action: CommentIssue) -> None:
        """Say one thing in the recorded issue, unless that was said, or there is nobody left to say it to."""
        issues, claims, record = self._services.issues, self._services.claims, action.record
        if issues is None:
            self._skip(chain, action, SkipReason.JIRA_OFF)
            return
        access_key = (
            action.key.access_key
            if action.key is not None
            else AccessKey(record.access_key_id, record.user_name, record.account_id, "Deleted", self._clock.now)
        )
        token = uuid.uuid4().hex
        claimed = self._rest_on(chain, action, lambda: claims.claim_issue(access_key, token, record.issue_key))
        if claimed is None:
            return
        try:
            self._comment_claimed(chain, action, issues, claimed, token)
        except Stopped:  # what was said by then is found by its mark
            self._give_back(lambda: claims.release_issue(claimed, token))
            raise

    def _comment_claimed(
        self, chain: Chain, action: CommentIssue, issues: Issues, record: KeyRecord, token: str
    ) -> None:
        claims, issue_key = self._services.claims, record.issue_key or ""
        with self._flying(chain, action):
            try:
                is_new = action.mark not in record.issue_said and issues.is_open(issue_key)
                if is_new and not issues.was_said(issue_key, mark_line(action.mark)):
                    issues.comment(issue_key, comment_text(action, chain.profile))
                if is_new and action.event.closes and not issues.close(issue_key):
                    text = "an issue whose access key is inactive or gone could not be closed: its workflow, or Jira, "
                    self._problem(chain, Level.WARNING, f"{text}does not let this account; close it by hand", issue_key)
            except ServiceError as error:
                self._landed(chain, action)
                if error.may_have_happened:
                    self._unknown(chain, action, f"{error.text}; what was to be said in {issue_key} is looked up later")
                    return
                self._give_back(lambda: claims.release_issue(record, token))
                self._refused(chain, action, error)
                return
            self._done(chain, action, Result.DONE if is_new else Result.NOT_NEEDED)
            warned = self._warned_by(action.notice) if is_new else None
            ended_at = self._clock.utc_now() if action.event.closes else None
            self._record(
                chain,
                lambda: claims.record_said(record, token, action.mark, ended_at=ended_at, warning=warned),
                f"what was said in {issue_key} could not be recorded, so the next run looks whether it was",
                record.access_key_id if warned is not None else None,
            )

    def _check_created(self, chain: Chain, issues: Issues, issue_key: str, issue_label: str) -> None:
        """Read the new issue back: what is wrong with it is said while a person can still connect it to a cause."""
        try:
            wrong = issues.check_created(issue_key, issue_label)
        except Stopped:
            return
        if wrong is not None:
            self._problem(chain, Level.WARNING, wrong)

    # Messages

    def _send(self, chain: Chain, message: SendMessage, filed: Mapping[str, str]) -> None:
        messages, claims, addressee = self._services.messages, self._services.claims, message.addressee
        interval = self._settings.nag_interval_hours
        if messages is None:
            self._skip(chain, message, SkipReason.SLACK_OFF)
            return
        token = uuid.uuid4().hex
        record = self._rest_on(chain, message, lambda: claims.claim_message(addressee, token, interval))
        if record is None:
            return
        recorded = {one.key.access_key.access_key_id: one.issue_key for one in message.keys if one.issue_key}
        draft = slack_draft(message, chain.profile, {**recorded, **filed}, self._settings.jira_server_address, interval)
        with self._flying(chain, message, lambda: self._record_message(chain, message, token)):
            try:
                messages.send(addressee.slack_id, draft)
            except (ServiceError, Stopped) as error:
                if isinstance(error, ServiceError) and error.may_have_happened:
                    self._record_message(chain, message, token)
                    self._unknown(chain, message, error.text)
                    return
                self._landed(chain, message)
                server_errors, not_before = self._after_refusal(error, record.server_errors)
                self._give_back(lambda: claims.release_message(addressee, token, server_errors, not_before))
                self._refused(chain, message, error)
                return
            at = self._clock.utc_now()
            self._done(chain, message, Result.DONE)
            self._record_message(chain, message, token)
            for one in message.keys:
                access_key = one.key.access_key
                warned = None if one.notice is None else Warned(at, one.notice.owner, one.notice.day)
                self._record(
                    chain,
                    partial(
                        claims.record_told,
                        access_key,
                        at,
                        warned,
                        ends_exemption=one.standing.ended_exemption is not None,
                    ),
                    f"that {addressee.slack_id} was told of {name_key(one.key)} could not be recorded",
                    access_key.access_key_id if warned is not None else None,
                )

    def _record_message(self, chain: Chain, message: SendMessage, token: str) -> None:
        self._record(
            chain,
            lambda: self._services.claims.record_message(message.addressee, token, self._clock.utc_now()),
            f"the message to {message.addressee.slack_id} could not be recorded, so it may be repeated once",
        )

    def _after_refusal(self, error: ServiceError | Stopped, so_far: int) -> tuple[int, datetime | None]:
        """Slack's 5xx in a row for this addressee, and when to try again after the second, which may have delivered.
        What never got an answer breaks no row.
        """
        if isinstance(error, Stopped | ServiceOff) or error.is_silence:
            return so_far, None
        in_a_row = so_far + 1 if error.is_server_error else 0
        again = self._clock.utc_now() + RETRY_AFTER_SERVER_ERRORS if in_a_row >= SERVER_ERRORS_IN_A_ROW else None
        return in_a_row, again

    # Disabling

    def _disable(self, chain: Chain, disabling: DisableKey) -> None:
        """Set one access key Inactive, if a warning about it was delivered, in this run or by its record.

        Not while another run has a claim on its issue or its message: should that run have died, nobody would file or
        send anything about an access key that is inactive by then.
        """
        claims, access_key = self._services.claims, disabling.key.access_key
        with self._lock:
            was_warned = disabling.was_warned or access_key.access_key_id in self._warned
            is_held_elsewhere = self._claimed.get(access_key.access_key_id)
        if disabling.needs_warning and not was_warned:
            reason = SkipReason.CLAIMED if is_held_elsewhere else SkipReason.NOBODY_TOLD
            self._skip(chain, disabling, SkipReason.NO_STATE if self._state_failed else reason)
            return
        if disabling.needs_warning and is_held_elsewhere is not None:
            self._skip(chain, disabling, SkipReason.CLAIMED)
            return
        self._clock.check()
        if self._is_in_use(access_key):
            self._skip(chain, disabling, SkipReason.IN_USE)
            return
        account_id, at, most = access_key.account_id, self._clock.utc_now(), self._settings.max_disables_per_day
        has_room = self._rest_on(chain, disabling, lambda: claims.take_disabling(account_id, at, most))
        if not has_room:
            if has_room is not None:
                self._skip(chain, disabling, SkipReason.BRAKE)
            return
        token, settled = uuid.uuid4().hex, at - IAM_SETTLES_WITHIN
        try:
            if self._rest_on(chain, disabling, lambda: claims.begin_disabling(access_key, token, at, settled)) is None:
                if not self._state_failed:  # another run was first
                    self._give_back(lambda: claims.give_back_disabling(account_id, at))
                return
            self._clock.check()
            self._disable_begun(chain, disabling, at)
        except Stopped:  # raised before the request, never after it
            self._take_back(access_key, at)
            raise

    def _disable_begun(self, chain: Chain, disabling: DisableKey, at: datetime) -> None:
        claims, access_key = self._services.claims, disabling.key.access_key
        with self._flying(chain, disabling):
            try:
                was_there = self._deactivate(access_key)
            except ServiceError as error:
                if error.may_have_happened:
                    self._unknown(chain, disabling, f"{error.text}; {name_key(disabling.key)} may be disabled")
                    return
                self._take_back(access_key, at)
                self._refused(chain, disabling, error)
                return
            self._done(chain, disabling, Result.DONE if was_there else Result.NOT_NEEDED)
            if not was_there:
                self._take_back(access_key, at)
                return
            why = f"expired: {disabling.key.age_days} days old"
            self._record(
                chain,
                lambda: claims.record_disabled(access_key.access_key_id, self._clock.utc_now(), self._run, why),
                f"that {name_key(disabling.key)} was disabled could not be recorded",
            )

    def _take_back(self, access_key: AccessKey, at: datetime) -> None:
        """Surely nothing was disabled: neither the intent nor one of the day's disablings stays."""
        claims = self._services.claims
        self._give_back(lambda: claims.drop_disabling(access_key.access_key_id, at))
        self._give_back(lambda: claims.give_back_disabling(access_key.account_id, at))

    def _is_in_use(self, access_key: AccessKey) -> bool:
        """Read again, immediately before disabling: a read that fails counts as in use."""
        hours = self._settings.disable_in_use_hours
        if not hours:
            return False
        try:
            last_use = self._services.iams[access_key.access_key_id][0].last_used(access_key)
        except ServiceError:
            return True
        return is_in_use(last_use, self._clock.utc_now(), hours)

    def _deactivate(self, access_key: AccessKey) -> bool:
        """Through the first profile that shows the access key and may do it; raises what the last one said."""
        iams = self._services.iams[access_key.access_key_id]
        for iam in iams[:-1]:
            try:
                return iam.deactivate(access_key)
            except ServiceError as error:
                if error.may_have_happened:
                    raise
        return iams[-1].deactivate(access_key)

    # What became of it

    def _rest_on(self, chain: Chain, action: Action, write: Callable[[], T]) -> T | None:
        """Make the write to the state table that an action rests on. None, and the action is a skip, where another run
        was first or the table fails; the latter ends all actions of this run, and is said once.
        """
        self._clock.check()
        if self._state_failed:
            self._skip(chain, action, SkipReason.NO_STATE)
            return None
        try:
            return write()
        except ClaimLost:
            self._skip(chain, action, SkipReason.CLAIMED)
            return None
        except ServiceError as error:
            with self._lock:
                is_first, self._state_failed = not self._state_failed, True
            if is_first:
                self._problem(
                    chain, Level.ERROR, f"{error.text}; without state nothing more is filed, sent or disabled"
                )
            self._skip(chain, action, SkipReason.NO_STATE)
            return None

    def _record(self, chain: Chain, write: Callable[[], None], consequence: str, warned_of: str | None = None) -> None:
        """Record what has happened. A failure changes nothing about that; it is said, with its consequence.

        `warned_of`: the access key id that the owner was warned of by it: only a warning on record lets it be disabled,
        since the day that was told must be known to every later run.
        """
        try:
            write()
            if warned_of is not None:
                with self._lock:
                    self._warned.add(warned_of)
        except ClaimLost:
            self._problem(chain, Level.ERROR, f"{consequence} (another run has recorded something else)")
        except ServiceError as error:
            self._problem(chain, Level.ERROR, f"{consequence} ({error.text})")
        except Stopped:
            self._problem(chain, Level.ERROR, f"{consequence} (no time was left)")

    def _give_back(self, release: Callable[[], None]) -> None:
        """Release a claim, as well as can be: one that could not be given back lapses by itself."""
        try:
            release()
        except (ServiceError, ClaimLost, Stopped):
            return

    @contextmanager
    def _flying(
        self, chain: Chain, action: Action, record_unknown: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Around a request and the recording of its answer: should the run end meanwhile, settle sees to it."""
        one = (chain.profile, action)
        with self._lock:
            self._in_flight[one] = record_unknown
        try:
            yield
        finally:
            self._landed(chain, action)

    def _landed(self, chain: Chain, action: Action) -> None:
        with self._lock:
            self._in_flight.pop((chain.profile, action), None)

    def _done(self, chain: Chain, action: Action, result: Result) -> None:
        with self._lock:
            if not self._is_settled:
                self._outcomes[(chain.profile, action)] = Outcome(chain.profile, action, result)

    def _unknown(self, chain: Chain, action: Action, text: str) -> None:
        self._problem(chain, Level.ERROR, text)
        self._done(chain, action, Result.UNKNOWN)

    def _refused(self, chain: Chain, action: Action, error: ServiceError | Stopped) -> None:
        """Surely not done; the next run tries again. Without time left it is settle's to say so."""
        match error:
            case Stopped():
                return
            case ServiceOff():
                self._skip(
                    chain, action, SkipReason.SLACK_OFF if isinstance(action, SendMessage) else SkipReason.JIRA_OFF
                )
            case ServiceError():
                match action:
                    case SendMessage(addressee=addressee):
                        subject = "" if addressee.slack_id in error.text else addressee.slack_id
                    case FileIssue(key=key) | DisableKey(key=key) | AssignIssue(key=key):
                        subject = name_key(key)
                    case CommentIssue(record=record) | NoteState(record=record):
                        subject = name_access_key(record)
                self._problem(chain, Level.ERROR, error.text, "" if error.is_fatal else subject)
                self._done(chain, action, Result.REFUSED)

    def _skip(self, chain: Chain, action: Action, reason: SkipReason) -> None:
        with self._lock:
            if not self._is_settled:
                skips = _skips(chain.profile, action, reason)
                self._skips[(chain.profile, action)] = skips
                if reason is SkipReason.CLAIMED and not isinstance(action, DisableKey):
                    held = self._is_held(action)  # the run that has it warns, and disables
                    self._claimed |= dict.fromkeys(_access_key_ids(action), held)

    def _is_held(self, action: Action) -> bool:
        """Whether the run that was first may still be at it. A claim that nobody had when the plan was made is new."""
        match action:
            case (
                FileIssue(record=KeyRecord(issue_claim_until=claim_until))
                | CommentIssue(record=KeyRecord(issue_claim_until=claim_until))
                | SendMessage(claim_until=claim_until)
            ):
                now = self._clock.now  # one that had lapsed by then was lost to a run that took it since
                return claim_until is None or claim_until <= now or claim_is_live(claim_until, now, self._settings)
            case _:
                return False

    def _problem(self, chain: Chain, level: Level, text: str, subject: str = "") -> None:
        with self._lock:
            if not self._is_settled:
                self._problems[Problem(level, chain.profile, text, subject=subject)] = None


def _actions(plan: Plan) -> Iterable[Action]:
    """All actions of a plan in the order they are taken."""
    for chain in plan.chains:
        yield from chain.notes
        yield from chain.filings
        if chain.message is not None:
            yield chain.message
        yield from chain.disablings


def _access_key_ids(action: Action) -> tuple[str, ...]:
    match action:
        case SendMessage(keys=keys):
            return tuple(one.key.access_key.access_key_id for one in keys)
        case DisableKey(key=key):
            return (key.access_key.access_key_id,)
        case (
            NoteState(record=record)
            | FileIssue(record=record)
            | AssignIssue(record=record)
            | CommentIssue(record=record)
        ):
            return (record.access_key_id,)


def _skips(profile: str, action: Action, reason: SkipReason) -> tuple[Skip, ...]:
    """One skip an access key that the action was about."""
    match action:
        case FileIssue(key=key):
            return (Skip(profile, "file an issue", key, reason),)
        case AssignIssue(key=key):
            return (Skip(profile, "assign the issue", key, reason),)
        case CommentIssue(record=record, key=shown):
            return (Skip(profile, "update the issue", shown or record, reason),)
        case NoteState(record=record, key=shown):
            return (Skip(profile, "note what was seen", shown or record, reason),)
        case SendMessage(keys=keys):
            return tuple(Skip(profile, "nag", one.key, reason) for one in keys)
        case DisableKey(key=key):
            return (Skip(profile, "disable", key, reason),)
