"""One run, from profiles to lines: scan, ask, plan, act, measure. Shell.

In: profiles, settings, the run's clock. Out: metric lines and Problems. It never prints, and decides nothing itself.

`work` runs in a thread of its own and may be anywhere in a network call when the time is over; `result` is then asked
from the main thread and makes the best of what is known: so a signal or the deadline never waits for a service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from keycheck.acting.chains import Executor
from keycheck.acting.dry_run import dry_run
from keycheck.acting.means import Services
from keycheck.clock import RunClock, Stopped
from keycheck.facts import FactFinder
from keycheck.labels import label_key
from keycheck.metrics import render, settle_labels
from keycheck.model import (
    LabelledKey,
    Level,
    Outcomes,
    Plan,
    Problem,
    Scan,
    Skip,
    SkipReason,
    State,
)
from keycheck.planning import count_exempt, count_overdue, due_keys, plan_profile
from keycheck.rules.case import Circumstances, Facts, Known
from keycheck.scan import Scanner
from keycheck.services import Claims, Iam, Issues, Messages, Outside, ServiceError
from keycheck.settings import Settings
from keycheck.wording import describe_skip, skip_problems

LAST_USE_ROUNDS = 5
"""Reading a last use may take an access key off a plan, and let the brake admit another one."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """`lines`: the metrics, profile after profile. `dry_run_lines`: (profile, what a real run would do)."""

    lines: tuple[str, ...]
    problems: tuple[Problem, ...]
    dry_run_lines: tuple[tuple[str, str], ...]
    was_anything_scanned: bool
    has_scan_failed: bool
    has_failed: bool


class Run:
    """One run. `environment_key_id` is the access key id of the process's environment, or empty."""

    def __init__(
        self,
        profiles: Sequence[str],
        settings: Settings,
        clock: RunClock,
        *,
        environment_key_id: str,
        is_dry_run: bool,
        debug: Callable[[str, str], None],
        outside: Outside,
    ) -> None:
        self._outside = outside
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._is_dry_run = is_dry_run
        self._debug = debug
        self._own_ids = {environment_key_id} if environment_key_id else set()
        self._problems = [Problem(Level.WARNING, profile, text) for text in settings.warnings for profile in profiles]
        self._dry_run_lines: list[tuple[str, str]] = []
        self._scanner = Scanner(profiles, self._outside.open_iam, clock)
        self._scans: tuple[Scan, ...] | None = None
        self._plans: tuple[Plan, ...] = ()
        self._is_planned = False
        self._executor: Executor | None = None
        self._finder = FactFinder(settings, clock, profiles)
        self._facts: dict[str, Facts] = {}
        self._state: State | None = None
        self._messages: Messages | None = None
        self._are_messages_open = False

    def work(self) -> None:
        """Do all of it. Whatever goes wrong ends up among the problems."""
        try:
            self._scanner.run()
            self._scans = self._scanner.scans()
            for scan in self._scans:
                self._debug(scan.profile, f"scanned {scan.user_count} users, {len(scan.keys)} access keys")
            self._act({scan.profile: self._label(scan) for scan in self._scans})
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - the metrics are printed whatever happens to the actions
            place = _place(error)
            self._blame(self._profiles, f"unexpected {type(error).__name__} at {place}; please report it")

    def result(self) -> RunResult:
        """What came of the run, as far as it got."""
        scans = self._scans if self._scans is not None else self._scanner.scans()
        outcomes = self._executor.settle() if self._executor is not None else self._unacted(scans)
        lines: list[str] = []
        problems: list[Problem] = []
        for scan in scans:
            own = outcomes.of(scan.profile)
            found = [one for one in (*self._problems, *self._finder.problems) if one.profile == scan.profile]
            own = Outcomes(own.outcomes, own.skips, (*own.problems, *found))
            keys = settle_labels(self._label(scan), outcomes)
            more = self._more_counts(scan, keys, outcomes)
            rendered = render(scan, keys, own, self._clock.elapsed_seconds, self._clock.utc_now(), more)
            lines += rendered.lines
            skipped = skip_problems(own.skips, scan.profile, issues_are_filed=self._settings.create_jira)
            problems += [*scan.problems, *own.problems, *rendered.problems, *skipped]
        return RunResult(
            tuple(lines),
            tuple(problems),
            tuple(self._dry_run_lines),
            was_anything_scanned=any(scan.was_scanned for scan in scans),
            has_scan_failed=any(problem.level is Level.ERROR for scan in scans for problem in scan.problems),
            has_failed=any(problem.level is Level.ERROR for problem in problems)
            or not all(scan.is_complete and scan.was_scanned for scan in scans),
        )

    def _more_counts(self, scan: Scan, keys: Sequence[LabelledKey], outcomes: Outcomes) -> dict[str, int]:
        """What can be counted only where it is known: a number that is not known is not there, and never 0."""
        counts = {}
        if (facts := self._facts.get(scan.profile)) is not None:
            counts["exempt"] = count_exempt(keys, facts)
            if self._state is not None:
                warned_now = outcomes.warned_access_key_ids()
                run = Circumstances(self._settings, self._clock.now)
                counts["overdue"] = count_overdue(keys, facts, self._state, run, warned_now=warned_now)
        if scan.root_access_keys is not None:
            counts["root_access_keys"] = scan.root_access_keys
        return counts

    def _unacted(self, scans: Sequence[Scan]) -> Outcomes:
        """What there is to say where nothing was carried out: the skips of the plans, or that time was over before."""
        skips = [skip for plan in self._plans for skip in plan.skips]
        if not self._is_planned and self._clock.is_over():
            for scan in scans:
                due = due_keys(self._label(scan), self._settings)
                skips += [Skip(scan.profile, "act", key, SkipReason.OUT_OF_TIME) for key in due]
                if due and self._is_dry_run:
                    self._dry_run_lines.append((scan.profile, "had no time left to say what would be done"))
        return Outcomes(skips=tuple(skips))

    def _label(self, scan: Scan) -> tuple[LabelledKey, ...]:
        age, days = self._settings.expire_age, self._settings.expiring_days
        return tuple(label_key(key, self._clock.now, expire_age=age, expiring_days=days) for key in scan.keys)

    # Acting

    def _act(self, labelled: dict[str, tuple[LabelledKey, ...]]) -> None:
        self._finder.read_files()
        attention = {name: [key for key in keys if key.needs_attention] for name, keys in labelled.items()}
        for profile, keys in attention.items():
            if (iam := self._scanner.iam(profile)) is not None:
                self._finder.read_tags(profile, iam, keys)
        if not self._settings.acts:
            self._state = State()
            self._find_facts(attention, {})
            return
        due = {profile: due_keys(keys, self._settings) for profile, keys in labelled.items()}
        self._clock.check()
        claims = self._read_state(due)
        self._find_facts(attention, self._look_up_owners(attention, claims))
        if claims is None and not any(due.values()):
            return
        self._read_addressees(claims)
        issues, open_issues = self._look_at_jira(due)
        known = Known(
            self._state, open_issues, self._own_access_key_ids(claims), slack_is_usable=self._finder.is_mapping_usable
        )
        iams = self._iams_by_access_key(labelled)
        plans, messages = self._plan_all(labelled, known, iams)
        self._plans, self._is_planned = plans, True
        if self._is_dry_run:
            self._dry_run_lines += dry_run(self._plans, issues)
            self._dry_run_lines += [(skip.profile, describe_skip(skip)) for plan in self._plans for skip in plan.skips]
        elif claims is not None:
            self._executor = Executor(
                self._plans, Services(claims, issues, messages, iams), self._settings, self._clock
            )
            self._executor.run()

    def _plan_all(
        self, labelled: dict[str, tuple[LabelledKey, ...]], known: Known, iams: Mapping[str, Sequence[Iam]]
    ) -> tuple[tuple[Plan, ...], Messages | None]:
        """The plans, and Slack where they hold a message: what they rest on, secret and last uses, is read for them."""
        plans = self._plan(labelled, known)
        messages = None
        if concerned := [plan.profile for plan in plans if any(chain.message for chain in plan.chains)]:
            messages = self._open_messages(concerned)
            if messages is None:
                known = replace(known, slack_is_usable=False)
                plans = self._plan(labelled, known)
        for _ in range(LAST_USE_ROUNDS):
            facts = {plan.profile: self._finder.look_at_uses(self._facts[plan.profile], plan, iams) for plan in plans}
            if facts == self._facts:
                break
            self._facts = facts
            plans = self._plan(labelled, known)
        return plans, messages

    def _iams_by_access_key(self, labelled: Mapping[str, Sequence[LabelledKey]]) -> dict[str, list[Iam]]:
        iams: dict[str, list[Iam]] = {}
        for profile, keys in labelled.items():
            if (iam := self._scanner.iam(profile)) is not None:
                for key in keys:
                    iams.setdefault(key.access_key.access_key_id, []).append(iam)
        return iams

    def _find_facts(self, attention: Mapping[str, Sequence[LabelledKey]], lookups: Mapping[str, str | None]) -> None:
        """The facts of each profile; issues of an account are ended by the first profile that saw all of it."""
        ended: set[str] = set()
        for scan in self._scans or ():
            facts = self._finder.facts(scan.profile, scan, attention[scan.profile], lookups)
            is_first = scan.is_complete and scan.was_scanned and scan.account_id not in ended
            if is_first:
                ended.add(scan.account_id)
            self._facts[scan.profile] = replace(facts, sees_whole_account=is_first and bool(scan.account_id))

    def _plan(self, labelled: dict[str, tuple[LabelledKey, ...]], known: Known) -> tuple[Plan, ...]:
        """One plan a profile. An access key that several profiles show is the first one's: the others measure it."""
        planned: set[str] = set()
        plans = []
        for profile, keys in labelled.items():
            own = [key for key in keys if key.access_key.access_key_id not in planned]
            planned |= {key.access_key.access_key_id for key in own}
            facts = self._facts[profile]
            plans.append(plan_profile(profile, own, facts, known, self._settings, self._clock.now))
        return tuple(plans)

    def _read_state(self, due: Mapping[str, Sequence[LabelledKey]]) -> Claims | None:
        """The table, and in `_state` what it holds about these access keys and these accounts; None where it cannot be
        used, or is not needed yet: it is made only once something is due.
        """
        settings = self._settings
        accounts = {scan.account_id for scan in self._scans or () if scan.account_id}
        whole = {one.account_id for one in self._scans or () if one.account_id and one.is_complete and one.was_scanned}
        concerned = [profile for profile, keys in due.items() if keys]
        try:
            claims = self._outside.open_claims()
            if not claims.open(create=bool(concerned) and not self._is_dry_run):
                if concerned:
                    self._dry_run_lines.append((concerned[0], f"would create the table {settings.dynamodb_table_name}"))
                self._state = State()
                return claims if concerned else None
            state = claims.read(
                [key.access_key.access_key_id for keys in due.values() for key in keys],
                (),
                emails=self._emails(),
                account_ids=accounts,
            )
            for account_id in sorted(whole):
                found = claims.scan_account(account_id)
                keys = {**found.keys, **state.keys}
                state = replace(state, keys=keys, unreadable=state.unreadable | found.unreadable)
            self._state = state
        except ServiceError as error:
            region = f", aws_dynamodb_region={settings.aws_dynamodb_region}" if settings.aws_dynamodb_region else ""
            where = f"aws_dynamodb_profile_name={settings.aws_dynamodb_profile_name}{region}"
            text = f"nothing is filed, sent or disabled without state: {error.text} ({where})"
            self._blame(concerned or self._profiles, text)
            return None
        return claims

    def _emails(self) -> list[str]:
        return [
            email
            for scan in self._scans or ()
            for email in self._finder.emails(scan.profile, [key for key in self._label(scan) if key.needs_attention])
        ]

    def _look_up_owners(
        self, attention: Mapping[str, Sequence[LabelledKey]], claims: Claims | None
    ) -> dict[str, str | None]:
        if self._state is None:
            return {}
        concerned = [profile for profile, keys in attention.items() if keys]
        return self._finder.look_up(
            self._emails(),
            self._state,
            lambda: self._open_messages(concerned),
            None if self._is_dry_run else claims,
        )

    def _read_addressees(self, claims: Claims | None) -> None:
        """When those who may be told were last messaged: known only once the owners are."""
        if claims is None or self._state is None or not self._settings.send_slack:
            return
        addressees = {
            user.owner.addressee
            for facts in self._facts.values()
            for user in facts.users.values()
            if user.owner.addressee is not None
        }
        try:
            if addressees and claims.open(create=False):
                found = claims.read((), addressees)
                unreadable = self._state.unreadable | found.unreadable
                self._state = replace(self._state, addressees=found.addressees, unreadable=unreadable)
        except ServiceError as error:
            self._blame(self._profiles, f"nothing is filed, sent or disabled without state: {error.text}")
            self._state = None

    def _look_at_jira(self, due: Mapping[str, Sequence[LabelledKey]]) -> tuple[Issues | None, frozenset[str] | None]:
        """Jira, signed in, and all open issues of ours; (None, None) where it is not on or could not be asked."""
        if not self._settings.create_jira or self._state is None:
            return None, None
        has_issue = any(one.issue_key and not one.issue_ended_at for one in self._state.keys.values())
        concerned = [profile for profile, keys in due.items() if keys]
        if not concerned and not has_issue:
            return None, None
        try:
            issues = self._outside.open_issues()
            return issues, issues.open_issue_keys()
        except ServiceError as error:
            self._blame(concerned or self._profiles, f"no issues are filed: {error.text}")
            return None, None

    def _open_messages(self, concerned: Sequence[str]) -> Messages | None:
        """Slack, once a message is planned or an owner must be looked up; its secret is not read otherwise."""
        if not self._are_messages_open:
            self._are_messages_open = True
            try:
                self._messages = self._outside.open_messages()
            except ServiceError as error:
                self._blame(concerned, f"nobody is nagged: {error.text}")
        return self._messages

    def _own_access_key_ids(self, claims: Claims | None) -> frozenset[str]:
        """Every access key that this run depends on; none of them is ever disabled."""
        ids = set(self._own_ids)
        if self._settings.disable_key:
            for profile in self._profiles:
                if (iam := self._scanner.iam(profile)) is not None:
                    ids |= iam.own_access_key_ids()
            if claims is not None:
                ids |= claims.own_access_key_ids
            if self._settings.warns_owners:
                ids |= self._outside.secret_access_key_ids()
        return frozenset(ids)

    def _blame(self, profiles: Sequence[str], text: str) -> None:
        self._problems += [Problem(Level.ERROR, profile, text) for profile in profiles]


def _place(error: BaseException) -> str:
    """Module and line of a fault of ours: enough for a report, and no traceback."""
    frame = error.__traceback__
    place = "?"
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", "?"))
        if module.startswith("keycheck"):
            place = f"{module}:{frame.tb_lineno}"
        frame = frame.tb_next
    return place
