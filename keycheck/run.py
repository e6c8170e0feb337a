"""One run, from profiles to lines: scan, ask, plan, act, measure. Shell.

In: profiles, settings, the run's clock. Out: metric lines and Problems. It never prints, and decides nothing itself.

`work` runs in a thread of its own and may be anywhere in a network call when the time is over; `result` is then asked
from the main thread and makes the best of what is known: so a signal or the deadline never waits for a service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from keycheck.accounts import Account
from keycheck.acting.chains import Executor
from keycheck.acting.dry_run import dry_run
from keycheck.acting.ledger import cut_off_by
from keycheck.acting.means import Services
from keycheck.actions import Outcomes, Plan, Skip, Step
from keycheck.clock import RunClock, Stopped
from keycheck.confirming import Confirming
from keycheck.forecast import last_lines, policy
from keycheck.labels import label_key
from keycheck.metrics import labels_after, render
from keycheck.model import AgeLabel, LabelledKey, Level, Problem, Scan, State
from keycheck.planning import Questions, due_keys, plan_profile, questions
from keycheck.row_sources import KnownByRun, explained, rows_of
from keycheck.rows import Row
from keycheck.rules.case import Facts, SharedFacts
from keycheck.scan import Scanner
from keycheck.services import Iam, Messages, Outside
from keycheck.settings import Settings
from keycheck.showing import METRICS_ALONE, Shown
from keycheck.survey import Ground, Survey, Surveyor
from keycheck.watch import Watch, as_planned, watch
from keycheck.words.done import done_lines
from keycheck.words.lines import describe_skip, skip_problems
from keycheck.words.parts import unexpected

_Iams = Mapping[str, Sequence[Iam]]


@dataclass(frozen=True, slots=True)
class _Answered:
    """What the plans rest on, all of it. `messages`: Slack, if somebody is to be told and it can be used."""

    facts: Mapping[str, Facts]
    known: SharedFacts
    messages: Messages | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """`lines`: the metrics, profile after profile; `rows`: the access keys, for people, if they are shown;
    `explained`: what was asked about some of them. `dry_run_lines`: (profile, what a real run would do).
    """

    lines: tuple[str, ...]
    rows: tuple[Row, ...]
    explained: tuple[str, ...]
    problems: tuple[Problem, ...]
    dry_run_lines: tuple[tuple[str, str], ...]
    was_anything_scanned: bool
    has_scan_failed: bool
    has_failed: bool


class Run:
    """One run: scan, survey, plan, act. Each step publishes one value, and `result` renders those that are there.

    `environment_key_id` is the access key id of the process's environment, or empty.
    """

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
        shown: Shown = METRICS_ALONE,
    ) -> None:
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._is_dry_run = is_dry_run
        self._shown = shown
        self._debug = debug
        self._own_ids = frozenset({environment_key_id} if environment_key_id else ())
        self._scanner = Scanner(profiles, outside.open_iam, clock, settings, keeps=not is_dry_run)
        self._seen = Confirming(self._scanner, self._label, settings, clock.now)
        self._surveyor = Surveyor(profiles, settings, clock, outside, self._scanner, is_dry_run=is_dry_run)
        self._problems: list[Problem] = []
        self._dry_run_lines: list[tuple[str, str]] = []
        self._ground: Ground | None = None
        self._survey: Survey | None = None
        self._plans: tuple[Plan, ...] | None = None
        self._facts: Mapping[str, Facts] = {}
        self._executor: Executor | None = None

    def work(self) -> None:
        """Do all of it. Whatever goes wrong ends up among the problems."""
        try:
            self._scanner.run()
            self._seen.settle()
            for scan in self._seen.scans():
                before = f"; {len(scan.cached)} users as they were listed before" if scan.cached else ""
                self._debug(scan.profile, f"scanned {scan.user_count} users, {len(scan.keys)} access keys{before}")
            for account in self._seen.accounts():
                self._seen.ask(account, self._shown.whom_to_ask_for(account.scan))
            self._act(self._seen.accounts())
            accounts = self._seen.accounts()
            if self._shown.has_rows:
                self._read_last_uses(accounts, {one.profile: self._label(one.scan) for one in accounts})
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - the metrics are printed whatever happens to the actions
            self.fail(unexpected(error, f"at {_place(error)}"))

    def fail(self, text: str) -> None:
        """Note why `work` cannot be done at all."""
        self._problems += [Problem(Level.ERROR, profile, text) for profile in self._profiles]

    def progress(self) -> str:
        """Return how far it is, for a person who waits. From any thread."""
        if self._executor is not None:
            done, count = self._executor.progress()
            return f"{done} of {count} actions"
        read, found = self._scanner.progress()
        return (
            f"{read} of {found} users read" if not self._seen.is_settled else f"{found} users read; looking what is due"
        )

    def _act(self, accounts: Sequence[Account]) -> None:
        labelled = {account.profile: self._label(account.scan) for account in accounts}
        self._problems += [_about_profiles(account) for account in accounts if len(account.profiles) > 1]
        also = [one for keys in labelled.values() for one in keys if self._shown.explains(one)]
        ground = self._ground = self._surveyor.ground(accounts, labelled, also)
        self._facts = ground.facts
        self._say_what_is_worth_a_look(accounts)
        if not self._settings.acts or (ground.claims is None and not any(ground.due.values())):
            return
        survey = self._survey = self._surveyor.survey(ground, self._own_ids)
        planned, facts = self._seen.confirmed(labelled, ground.facts, survey.known)
        accounts = self._seen.accounts()
        iams = self._seen.iams_by_access_key()
        answered = self._answer(planned, facts, survey, iams)
        self._facts = answered.facts
        known, settings, now = answered.known, self._settings, self._clock.now
        plans = self._plans = tuple(
            plan_profile(name, keys, answered.facts[name], known, settings, now) for name, keys in planned.items()
        )
        if self._is_dry_run:
            self._dry_run_lines += dry_run(plans, survey.issues, self._settings.jira_site)
            self._dry_run_lines += [(skip.profile, describe_skip(skip)) for plan in plans for skip in plan.skips]
            if settings.disable_key:
                self._read_last_uses(accounts, planned, is_total=True)
            self._dry_run_lines += last_lines(plans, planned, self._facts, settings, now)
        elif survey.claims is not None:
            services = Services(survey.claims, survey.issues, answered.messages, iams)
            self._executor = Executor(plans, services, self._settings, self._clock)
            self._executor.run()

    def _say_what_is_worth_a_look(self, accounts: Sequence[Account]) -> None:
        """About the exemptions and the mapping: with -v, and in a dry run."""
        for text in self._surveyor.finder.worth_a_look(accounts):
            if self._is_dry_run:
                self._dry_run_lines.append((self._profiles[0], text))
            else:
                self._problems.append(Problem(Level.INFO, self._profiles[0], text))

    # Planning

    def _answer(
        self, labelled: Mapping[str, Sequence[LabelledKey]], facts: Mapping[str, Facts], survey: Survey, iams: _Iams
    ) -> _Answered:
        """Read what the plans still rest on, and nothing beside it: whether Slack can be used, and last uses."""
        known, messages = survey.known, None
        asked = self._questions(labelled, facts, known)
        if concerned := [profile for profile, questions in asked.items() if questions.needs_slack]:
            messages = self._surveyor.messages(concerned)
            if messages is None:
                known = replace(known, slack_is_usable=False)
                asked = self._questions(labelled, facts, known)
        read = self._surveyor.finder.read_uses
        keep = self._surveyor.shares(len(asked))
        found = {
            name: read(name, facts[name], one.last_uses, iams, keeping=keeping) if one.last_uses else facts[name]
            for (name, one), keeping in zip(asked.items(), keep, strict=True)
        }
        return _Answered(found, known, messages)

    def _questions(
        self, labelled: Mapping[str, Sequence[LabelledKey]], facts: Mapping[str, Facts], known: SharedFacts
    ) -> dict[str, Questions]:
        settings, now = self._settings, self._clock.now
        return {name: questions(name, keys, facts[name], known, settings, now) for name, keys in labelled.items()}

    # What is shown

    def _read_last_uses(
        self, accounts: Sequence[Account], keys: Mapping[str, Sequence[LabelledKey]], *, is_total: bool = False
    ) -> None:
        """Read those that nothing was decided on: for people alone. A dry run's totals need those of expired ones."""
        iams = self._seen.iams_by_access_key()
        for account in accounts:
            facts = self._facts[account.profile]
            wanted = [
                key.access_key
                for key in keys[account.profile]
                if key.access_key.access_key_id not in facts.last_uses
                and (self._shown.asks_for_use_of(key) or (is_total and key.label is AgeLabel.EXPIRED))
            ]
            if iams and wanted:
                read = self._surveyor.finder.read_uses(account.profile, facts, wanted, iams)
                self._facts = {**self._facts, account.profile: read}

    def _rows(self, scans: Sequence[Scan], outcomes: Outcomes) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        """Return what people are shown, as far as the run got: rows, or what explains some of them."""
        if not self._shown.has_rows:
            return (), ()
        accounts = self._seen.accounts(scans)
        known = KnownByRun(
            accounts,
            {account.profile: labels_after(self._label(account.scan), outcomes) for account in accounts},
            self._facts,
            self._state,
            outcomes,
            (lambda record: record) if self._executor is None else self._executor.newest,
            self._surveyor.finder.named,
            {plan.profile: plan for plan in self._plans or ()},
            None if self._survey is None else self._survey.known.open_issues,
        )
        days, now = self._settings.expiring_days, self._clock.utc_now()
        rows = rows_of(known, expiring_days=days, now=now, is_dry_run=self._is_dry_run)
        lines = explained(known, rows, self._settings, self._clock.now, self._shown.explains)
        return tuple(rows.values()), tuple(lines)

    # What came of it

    def result(self) -> RunResult:
        """Return what came of the run, as far as it got."""
        scans = self._seen.scans()
        outcomes = self._executor.finish() if self._executor is not None else self._unacted(scans)
        watches = self._watches(scans, outcomes)
        counts = {name: watches[one.profile] for one in self._seen.accounts(scans) if watches for name in one.profiles}
        lines: list[str] = []
        problems: list[Problem] = []
        for scan in scans:
            own = outcomes.of(scan.profile)
            found = [one for one in (*self._problems, *self._surveyor.problems) if one.profile == scan.profile]
            own = Outcomes(own.outcomes, own.skips, (*own.problems, *found))
            keys = labels_after(self._label(scan), outcomes)
            more = counts[scan.profile].counts(self._settings) if scan.profile in counts else {}
            if scan.root_access_keys is not None:
                more["root_access_keys"] = scan.root_access_keys
            rendered = render(scan, keys, own, self._clock.elapsed_seconds, self._clock.utc_now(), more)
            lines += rendered.lines
            problems += [] if self._executor is None else done_lines(own, self._executor.run_id)
            skipped = skip_problems(own.skips, scan.profile, issues_are_filed=self._settings.create_jira)
            problems += [*scan.problems, *own.problems, *rendered.problems, *skipped]
        if self._settings.acts:
            problems += [one for profile, seen in watches.items() for one in seen.standing_still(profile)]
        if self._settings.disable_key and not self._is_dry_run:
            problems.append(Problem(Level.INFO, self._profiles[0], f"policy: {policy(self._settings)}"))
        # Last: they are the same in each run, and Telegraf shows the first line alone.
        problems += [Problem(Level.WARNING, self._profiles[0], text) for text in self._settings.warnings]
        return RunResult(
            tuple(lines),
            *self._rows(scans, outcomes),
            tuple(problems),
            (*self._surveyor.dry_run_lines, *self._dry_run_lines),
            was_anything_scanned=any(scan.was_scanned for scan in scans),
            has_scan_failed=any(problem.level is Level.ERROR for scan in scans for problem in scan.problems),
            has_failed=any(problem.level is Level.ERROR for problem in problems)
            or not all(scan.is_complete and scan.was_scanned for scan in scans),
        )

    @property
    def _state(self) -> State | None:
        """What the state table held, as far as it is known by now."""
        if self._survey is not None:
            return self._survey.known.state
        return None if self._ground is None else self._ground.state

    def _watches(self, scans: Sequence[Scan], outcomes: Outcomes) -> dict[str, Watch]:
        """Return what is known of each account, by the profile that speaks for it; nothing before it is known."""
        if self._ground is None:
            return {}
        settings, now, facts = self._settings, self._clock.now, self._ground.facts
        done = as_planned(self._plans or ()) if self._is_dry_run else outcomes  # what a real run would not leave undone
        return {
            one.profile: watch(
                labels_after(self._label(one.scan), outcomes), facts[one.profile], self._state, done, settings, now
            )
            for one in self._seen.accounts(scans)
        }

    def _unacted(self, scans: Sequence[Scan]) -> Outcomes:
        """Return what there is to say if nothing was carried out: the plans' skips, or that time was over before."""
        skips = [skip for plan in self._plans or () for skip in plan.skips]
        if self._plans is None and self._clock.is_over():
            for account in self._seen.accounts(scans):
                due = due_keys(self._label(account.scan), self._settings)
                skips += [Skip(account.profile, Step.ACT, key, cut_off_by(self._clock)) for key in due]
                if due and self._is_dry_run:
                    self._dry_run_lines.append((account.profile, "had no time left to say what would be done"))
        return Outcomes(skips=tuple(skips))

    def _label(self, scan: Scan) -> tuple[LabelledKey, ...]:
        age, days = self._settings.expire_age, self._settings.expiring_days
        return tuple(label_key(key, self._clock.now, expire_age=age, expiring_days=days) for key in scan.keys)


def _about_profiles(account: Account) -> Problem:
    names = ", ".join(sorted(account.profiles))
    text = f"the profiles {names} show one account, {account.scan.account_id}: what is done there is counted once, here"
    return Problem(Level.INFO, account.profile, text)


def _place(error: BaseException) -> str:
    """Return module and line of a fault of ours: enough for a report, and no traceback."""
    frame = error.__traceback__
    place = "?"
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", "?"))
        if module.startswith("keycheck"):
            place = f"{module}:{frame.tb_lineno}"
        frame = frame.tb_next
    return place
