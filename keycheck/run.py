"""One run, from profiles to lines: scan, ask, plan, act, measure. Shell.

In: profiles, settings, the run's clock. Out: metric lines and Problems. It never prints, and decides nothing itself.

`work` runs in a thread of its own and may be anywhere in a network call when the time is over; `result` is then asked
from the main thread and makes the best of what is known: so a signal or the deadline never waits for a service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from keycheck.clock import RunClock, Stopped
from keycheck.execute import Executor, Services, rehearse
from keycheck.labels import label_key
from keycheck.metrics import render, settle_labels
from keycheck.model import Addressee, LabelledKey, Level, Outcomes, Plan, Problem, Scan, Skip, SkipReason, State
from keycheck.owners import Owners, OwnersError, parse_mapping
from keycheck.planning import Known, due_keys, plan_profile
from keycheck.scan import Scanner
from keycheck.services import Iam, ServiceError
from keycheck.services.aws_iam import AwsIam
from keycheck.services.jira_issues import JiraIssues
from keycheck.services.secrets import Secrets
from keycheck.services.slack_messages import SlackMessages
from keycheck.services.state_table import StateTable
from keycheck.settings import Settings
from keycheck.wording import describe_skip, skip_problems

MAPPING_BYTES = 4_000_000


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
    ) -> None:
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._is_dry_run = is_dry_run
        self._debug = debug
        self._own_ids = {environment_key_id} if environment_key_id else set()
        self._problems = [Problem(Level.WARNING, profile, text) for text in settings.warnings for profile in profiles]
        self._dry_run_lines: list[tuple[str, str]] = []
        self._scanner = Scanner(profiles, self._open_iam, clock)
        self._scans: tuple[Scan, ...] | None = None
        self._plans: tuple[Plan, ...] = ()
        self._is_planned = False
        self._executor: Executor | None = None
        self._secrets: Secrets | None = None

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
            found = [problem for problem in self._problems if problem.profile == scan.profile]
            own = Outcomes(own.outcomes, own.skips, (*own.problems, *found))
            rendered = render(scan, settle_labels(self._label(scan), outcomes), own, self._clock.elapsed_seconds)
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

    def _open_iam(self, profile: str) -> Iam:
        return AwsIam(profile, self._clock.check_scan, self._clock.check)

    # Acting

    def _act(self, labelled: dict[str, tuple[LabelledKey, ...]]) -> None:
        owners = self._read_owners()
        due = {profile: due_keys(keys, self._settings) for profile, keys in labelled.items()}
        concerned = [profile for profile, keys in due.items() if keys]
        if not concerned:
            return
        self._clock.check()
        table, state = self._read_state([key for keys in due.values() for key in keys], owners, concerned)
        issues, open_issues = self._look_at_jira(concerned) if state is not None else (None, None)
        known = Known(state, open_issues, owners, self._own_access_key_ids(table))
        plans = self._plan(labelled, known)
        messages = None
        if concerned := [plan.profile for plan in plans if any(chain.message for chain in plan.chains)]:
            messages = self._open_slack(concerned)
            if messages is None:
                plans = self._plan(labelled, replace(known, owners=None))
        self._plans, self._is_planned = plans, True
        if self._is_dry_run:
            self._dry_run_lines += rehearse(self._plans, issues)
            self._dry_run_lines += [(skip.profile, describe_skip(skip)) for plan in self._plans for skip in plan.skips]
        elif table is not None:
            iams: dict[str, list[Iam]] = {}
            for profile, keys in labelled.items():
                if (iam := self._scanner.iam(profile)) is not None:
                    for key in keys:
                        iams.setdefault(key.access_key.access_key_id, []).append(iam)
            self._executor = Executor(self._plans, Services(table, issues, messages, iams), self._settings, self._clock)
            self._executor.run()

    def _plan(self, labelled: dict[str, tuple[LabelledKey, ...]], known: Known) -> tuple[Plan, ...]:
        """One plan a profile. An access key that several profiles show is the first one's: the others measure it."""
        planned: set[str] = set()
        plans = []
        for profile, keys in labelled.items():
            own = [key for key in keys if key.access_key.access_key_id not in planned]
            planned |= {key.access_key.access_key_id for key in own}
            plans.append(plan_profile(profile, own, known, self._settings, self._clock.now))
        return tuple(plans)

    def _read_owners(self) -> Owners | None:
        """Who owns whom; None, which keeps Slack off, where the mapping cannot be used."""
        if not self._settings.send_slack:
            return None
        path = self._settings.slack_id_mapping_file
        with suppress(OSError):  # the working directory may be gone
            path = path.absolute()
        try:
            with path.open("rb") as file:
                content = file.read(MAPPING_BYTES + 1)
            if len(content) > MAPPING_BYTES:
                raise OwnersError(f"line 1: more than {MAPPING_BYTES:,} bytes")
            text = content.decode("utf-8-sig")
            return Owners(parse_mapping(text), self._settings.slack_fallback_channel)
        except OwnersError as error:
            why = str(error)
        except UnicodeDecodeError as error:
            why = f"line {1 + error.object[: error.start].count(10)}: not UTF-8"
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
        self._blame(self._profiles, f"nobody is nagged: slack_id_mapping_file {path}: {why}")
        return None

    def _read_state(
        self, keys: Sequence[LabelledKey], owners: Owners | None, concerned: Sequence[str]
    ) -> tuple[StateTable | None, State | None]:
        """The table and the records of these keys and their addressees; nothing is done where they can't be read."""
        settings = self._settings
        addressees: list[Addressee] = []
        if owners is not None:
            found = (owners.addressee(key.access_key.user_name, key.access_key.account_id) for key in keys)
            addressees = [addressee for addressee in found if addressee is not None]
        try:
            table = StateTable(
                settings.aws_dynamodb_profile_name or "",
                settings.aws_dynamodb_region,
                settings.dynamodb_table_name,
                self._clock,
                settings.claim_margin_seconds,
            )
            if not table.open(create=not self._is_dry_run):
                self._dry_run_lines.append((concerned[0], f"would create the table {settings.dynamodb_table_name}"))
                return table, State()
            return table, table.read((key.access_key.access_key_id for key in keys), addressees)
        except ServiceError as error:
            region = f", aws_dynamodb_region={settings.aws_dynamodb_region}" if settings.aws_dynamodb_region else ""
            where = f"aws_dynamodb_profile_name={settings.aws_dynamodb_profile_name}{region}"
            self._blame(concerned, f"nothing is filed, sent or disabled without state: {error.text} ({where})")
            return None, None

    def _look_at_jira(self, concerned: Sequence[str]) -> tuple[JiraIssues | None, frozenset[str] | None]:
        """Jira, signed in, and all open issues of ours; (None, None) where it is not on or could not be asked."""
        settings = self._settings
        if not settings.create_jira:
            return None, None
        try:
            email = settings.credstash_keyname_atlassian_api_email
            secrets = self._secret_store()
            issues = JiraIssues(
                settings.jira_server_address or "",
                (
                    secrets.read(email) if email else None,
                    secrets.read(settings.credstash_keyname_atlassian_api_token or ""),
                ),
                project_key=settings.jira_project_key or "",
                issue_type=settings.jira_issue_type,
                extra_fields=settings.jira_extra_fields,
                clock=self._clock,
            )
            return issues, issues.open_issue_keys()
        except ServiceError as error:
            self._blame(concerned, f"no issues are filed: {error.text}")
            return None, None

    def _open_slack(self, concerned: Sequence[str]) -> SlackMessages | None:
        """Slack, once a message is planned; its secret is not read otherwise."""
        try:
            token = self._secret_store().read(self._settings.credstash_keyname_slack_api_token or "")
        except ServiceError as error:
            self._blame(concerned, f"nobody is nagged: {error.text}")
            return None
        return SlackMessages(token, self._settings.slack_api_base_url, self._clock)

    def _secret_store(self) -> Secrets:
        if self._secrets is None:
            settings = self._settings
            self._secrets = Secrets(settings.credstash_aws_profile_name or "", settings.credstash_region, self._clock)
        return self._secrets

    def _own_access_key_ids(self, table: StateTable | None) -> frozenset[str]:
        """Every access key that this run depends on; none of them is ever disabled."""
        ids = set(self._own_ids)
        if self._settings.disable_key:
            for profile in self._profiles:
                if (iam := self._scanner.iam(profile)) is not None:
                    ids |= iam.own_access_key_ids()
            if table is not None:
                ids |= table.own_access_key_ids
            if self._settings.warns_owners:
                ids |= self._secret_store().own_access_key_ids()
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
