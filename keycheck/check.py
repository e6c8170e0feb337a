"""--check: is everything that is switched on really usable? Shell.

In: settings, profiles, services. Out: Findings, a line each: what is there, or what is wrong and what to do. It acts on
nothing; all that it writes is one item of its own in the state table, and, if somebody asks for it, one test message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keycheck.account_listing import ALWAYS_ASKED_FOR
from keycheck.clock import RunClock, Stopped
from keycheck.exemptions import ExemptionRule, ExemptionsError, for_nobody, parse_exemptions, shown_rule, worth_a_look
from keycheck.listing import ListedUser
from keycheck.owners import EMAIL, OwnersError, parse_mapping
from keycheck.rules import other_writes
from keycheck.services import Iam, ServiceError
from keycheck.services.listing_cache import ListingCache
from keycheck.services.outside import RealServices
from keycheck.settings import SWITCHES, Settings
from keycheck.tokens import kind_of_secret
from keycheck.words.message import SlackDraft
from keycheck.words.parts import WHY_GONE, list_cut, why_gone
from keycheck.workers import Workers

SECONDS = 9.0
"""What hangs may take a second more."""
EXEMPTIONS = "exemptions_file"
CACHE = "cache_dir"
MAPPING = "slack_id_mapping_file"
SLACK_SECRET = "credstash_keyname_slack_api_token"  # noqa: S105 - a setting's name
JIRA_SECRET = "credstash_keyname_atlassian_api_token"  # noqa: S105 - likewise
JIRA_EMAIL = "credstash_keyname_atlassian_api_email"
ISSUE_TYPE = "jira_issue_type"
EXTRA_FIELDS = "jira_extra_fields"
RESOLVE = "resolve_jira"
AT_ONCE = 8
IDS_ASKED = 30
"""So many of the mapping's Slack ids are asked about; the others are not tested."""
WARNED_DAYS = 31
CLOCK_SECONDS = 60


_Call = tuple[str, Callable[[], object]]
"""An action of AWS's, and what asks for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `is_ok` None: it could not be tested."""

    name: str
    is_ok: bool | None
    text: str

    @property
    def line(self) -> str:
        return f"{ {True: 'ok', False: 'WRONG', None: 'untested'}[self.is_ok]:<9}{self.name}: {self.text}"


def ok(name: str, text: str) -> Finding:
    return Finding(name, True, text)


def wrong(name: str, text: str) -> Finding:
    return Finding(name, False, text)


def untested(name: str, text: str) -> Finding:
    return Finding(name, None, text)


class Checks:
    """The checks of one call of the program. Each group is one thread's, and asks its service one thing at a time."""

    def __init__(
        self, profiles: Sequence[str], settings: Settings, clock: RunClock, services: RealServices, send_to: str | None
    ) -> None:
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._services = services
        self._send_to = send_to
        self._users: dict[str, set[str]] = {}
        self._rules: tuple[ExemptionRule, ...] = ()

    def all(self) -> Iterator[Finding]:
        """Yield the findings in the order of this list, whatever takes long."""
        settings = self._settings
        groups: list[tuple[str, Callable[[], Iterable[Finding]]]] = [("settings", self._of_settings)]
        groups += [(f"profile {profile}", partial(self._of_profile, profile)) for profile in self._profiles]
        if settings.acts:
            groups.append(("state table", self._of_table))
        groups.append(("files", self._of_files))
        if settings.send_slack or self._send_to is not None:
            groups.append(("Slack", self._of_slack))
        if settings.create_jira:
            groups.append(("Jira", self._of_jira))
        pool = Workers(AT_ONCE, thread_name_prefix="check")
        futures = [(name, pool.submit(self._gathered, name, group)) for name, group in groups]
        for name, future in futures:
            try:
                yield from future.result(timeout=max(0.1, self._clock.remaining_seconds() + 1))
            except TimeoutError:
                yield wrong(name, f"no answer within {SECONDS:.0f} s")
        pool.shutdown(wait=False, cancel_futures=True)
        yield from self._of_rules()

    def _gathered(self, name: str, group: Callable[[], Iterable[Finding]]) -> list[Finding]:
        """Return what a group finds, up to the error that ends it."""
        found: list[Finding] = []
        try:
            found.extend(group())
        except ServiceError as error:
            found.append(wrong(name, error.text))
        except Stopped:
            found.append(wrong(name, f"no time was left; all of it has {SECONDS:.0f} s"))
        return found

    # Settings and files

    def _of_settings(self) -> Iterator[Finding]:
        on = [name for name in SWITCHES if getattr(self._settings, name)]
        yield ok("settings", f"sound; on: {', '.join(on) or 'nothing, so this is a read-only audit'}")
        yield from (wrong("settings", text) for text in self._settings.warnings)

    def _of_files(self) -> Iterator[Finding]:
        settings, today = self._settings, self._clock.now.date()
        yield _of_cache(settings.cache_dir)
        if settings.exemptions_file is None:
            yield ok(EXEMPTIONS, "not set: nobody is exempt by it")
        else:
            try:
                rules = parse_exemptions(settings.exemptions_file.read_text(encoding="utf-8-sig"), today)
            except (ExemptionsError, OSError, UnicodeDecodeError) as error:
                yield wrong(EXEMPTIONS, _why(error))
            else:
                yield ok(EXEMPTIONS, f"{len(rules)} exemptions")
                ending = [rule for rule in rules if 0 <= (rule.until - today).days <= WARNED_DAYS]
                for rule in ending:
                    yield wrong(EXEMPTIONS, f"that of {rule.user} ends within a month, on {rule.until}")
                yield from (wrong(EXEMPTIONS, one) for one in worth_a_look(rules, {}, today) if "is over" in one)
                self._rules = rules
        if settings.send_slack:
            yield from self._of_mapping()

    def _of_rules(self) -> Iterator[Finding]:
        """Say which exemptions are for nobody, once the users of the profiles are known."""
        unmatched = set(for_nobody(self._rules, self._users))
        for number, rule in enumerate(self._rules, 1):
            if rule in unmatched and rule.until >= self._clock.now.date():
                yield wrong(EXEMPTIONS, f"exemption {number} ({shown_rule(rule)}) is for no user of {rule.account}")

    def _of_mapping(self) -> Iterator[Finding]:
        try:
            mapping = parse_mapping(self._settings.slack_id_mapping_file.read_text(encoding="utf-8-sig"))
        except (OwnersError, OSError, UnicodeDecodeError) as error:
            yield wrong(MAPPING, _why(error))
        else:
            yield ok(MAPPING, f"{len(mapping.entries)} entries")
            yield from (wrong(MAPPING, problem) for problem in mapping.problems)

    # AWS

    def _of_profile(self, profile: str) -> Iterator[Finding]:
        name, services = f"profile {profile}", self._services
        probe = services.probe_iam(profile)
        who = probe.who()
        yield ok(name, f"it is {who.arn}")
        if who.clock_off_seconds is not None:
            off = abs(who.clock_off_seconds)
            say = ok if off <= CLOCK_SECONDS else wrong
            yield say("clock", f"{off:.0f} s {'ahead of' if who.clock_off_seconds > 0 else 'behind'} AWS's")
        iam = services.open_iam(profile)
        users, marker = iam.list_users(None)
        while marker is not None:
            more, marker = iam.list_users(marker)
            users = [*users, *more]
        yield ok(name, f"iam:ListUsers: {len(users)} users")
        for called in (profile, *{user.account_id for user in users}):
            self._users[called] = {user.user_name for user in users}
        yield from self._of_users(name, iam, users)
        if self._settings.disable_key:
            may = probe.may_disable(who.arn)
            text = "iam:UpdateAccessKey"
            if may is None:
                yield untested(name, f"{text}: iam:SimulatePrincipalPolicy did not say; a run will")
            else:
                yield ok(name, f"{text} is allowed") if may else wrong(name, f"{text} is not allowed; see aws/policies")

    def _of_users(self, name: str, iam: Iam, users: Sequence[ListedUser]) -> Iterator[Finding]:
        """Try each read on the first user who has an access key, out of a few."""
        calls: list[_Call] = [("iam:GetAccountSummary", iam.root_access_keys)]
        for user in users[:5]:
            keys = iam.list_access_keys(user.user_name, user.account_id)
            if keys:
                calls.append(("iam:ListUserTags", partial(iam.list_user_tags, user.user_name)))
                calls.append(("iam:GetAccessKeyLastUsed", partial(iam.last_used, keys[0])))
                break
        if users:
            yield ok(name, "iam:ListAccessKeys")
        yield from _each(name, calls, lambda action, why: wrong(name, f"{action}: {why}"))
        if len(users) > ALWAYS_ASKED_FOR:
            yield from _of_report(name, iam)

    def _of_table(self) -> Iterator[Finding]:
        name = f"state table {self._settings.dynamodb_table_name}"
        claims = self._services.open_claims()
        if not claims.open(create=False):
            yield untested(name, "it is not there yet; the first run that has something to do makes it")
            return
        yield ok(name, "it is there, and ours")
        claims.apply(other_writes.try_to_write(self._clock.now))
        yield ok(name, "it can be written")

    def _secret(self, setting: str, name: str | None, kinds: frozenset[str]) -> Iterator[Finding]:
        if name is None:
            return
        kind = kind_of_secret(self._services.read_secret(name))
        if kind in kinds:
            yield ok(setting, "it can be read, and looks right")
        elif kind is None:
            yield untested(setting, "it can be read; its kind is not one that is known")
        else:
            yield wrong(setting, f"it can be read, and looks like {kind}")

    # Slack

    def _of_slack(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.credstash_keyname_slack_api_token is None:
            yield wrong(SLACK_SECRET, "it is not set, so nothing can be sent")
            return
        yield from self._secret(SLACK_SECRET, settings.credstash_keyname_slack_api_token, frozenset({"a Slack token"}))
        slack = self._services.open_messages()
        who, scopes = slack.who_am_i()
        yield ok("Slack", f"the token is {who}")
        if scopes is None:
            yield untested("Slack", "its scopes: Slack did not say them")
        else:
            yield from _of_scopes(scopes)
        if scopes is None or "users:read" in scopes:
            yield from self._of_owners(slack.why_gone)
        if self._send_to is not None:
            text = "This is a test of keycheck, sent by `--check --send-test`. There is nothing to do."
            block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
            slack.send(self._send_to, SlackDraft(text, (block,)))
            yield ok("Slack", f"a test message was sent to {self._send_to}")

    def _of_owners(self, why: Callable[[str], str | None]) -> Iterator[Finding]:
        """Ask about the people that the mapping names."""
        try:
            mapping = parse_mapping(self._settings.slack_id_mapping_file.read_text(encoding="utf-8-sig"))
        except (OwnersError, OSError, UnicodeDecodeError):
            return  # said already
        people = sorted({one.slack_id for one in mapping.entries.values() if one and one.slack_id[0] in "UW"})
        gone = []
        for slack_id in people[:IDS_ASKED]:
            found = why(slack_id)
            if found is not None:
                gone.append(f"{slack_id} {why_gone(found) if found in WHY_GONE else found}")
        if gone:
            yield wrong(MAPPING, f"{list_cut(gone)}; name other owners")
        elif people:
            count = min(len(people), IDS_ASKED)
            yield ok(MAPPING, f"{count} of {len(people)} people that it names are on Slack")
        channels = {one.slack_id for one in mapping.entries.values() if one and one.slack_id[0] not in "UW"}
        if channels:
            yield untested(MAPPING, f"{len(channels)} channels: only a message can tell; try --send-test")
        if len(people) > IDS_ASKED:
            yield untested(MAPPING, f"{len(people) - IDS_ASKED} more people")

    # Jira

    def _of_jira(self) -> Iterator[Finding]:
        settings = self._settings
        tokens = frozenset({"an Atlassian token", "a secret"})
        yield from self._secret(JIRA_SECRET, settings.credstash_keyname_atlassian_api_token, tokens)
        if (name := settings.credstash_keyname_atlassian_api_email) is not None:
            is_email = EMAIL.fullmatch(self._services.read_secret(name)) is not None
            say = ok if is_email else wrong
            yield say(JIRA_EMAIL, f"it can be read, and is {'an' if is_email else 'no'} e-mail address")
        jira = self._services.probe_jira()
        yield ok("Jira", f"the token is {jira.who()}")
        wanted = ["BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES"]
        wanted += ["ASSIGN_ISSUES"] if settings.jira_assign_owner else []
        lacking = jira.lacks(wanted)
        project = settings.jira_project_key
        if lacking:
            yield wrong("Jira", f"the account lacks {', '.join(lacking)} in the project {project}")
        else:
            yield ok("Jira", f"the account may do what is needed in the project {project}")
        types = jira.issue_types()
        if types is None:
            yield untested(ISSUE_TYPE, "Jira does not say which there are (Server before 8.4)")
        elif settings.jira_issue_type not in types:
            yield wrong(ISSUE_TYPE, f"{settings.jira_issue_type!r} is none of {list_cut(sorted(types))}")
        else:
            fields = jira.fields(types[settings.jira_issue_type])
            missing = {name: shown for name, shown in fields.required.items() if name not in settings.jira_extra_fields}
            if missing:
                named = ", ".join(f"{name} ({shown})" for name, shown in missing.items())
                yield wrong(EXTRA_FIELDS, f"the issue type wants {named}; give each a value there")
            elif not fields.has_labels:
                yield wrong(ISSUE_TYPE, "put the field Labels on the project's create screen")
            else:
                yield ok(ISSUE_TYPE, f"{settings.jira_issue_type} can be filed")
        if settings.resolve_jira:
            done = jira.done_statuses()
            say = ok if done else wrong
            shown = list_cut(list(dict.fromkeys(done))) or "none, so no issue can be closed; set resolve_jira=False"
            yield say(RESOLVE, f"statuses of the category Done: {shown}")


def _each(name: str, calls: Iterable[_Call], refused: Callable[[str, str], Finding]) -> Iterator[Finding]:
    """Make each call. `refused`: what there is to say of an action, and of why it cannot be used."""
    for action, call in calls:
        try:
            call()
        except ServiceError as error:
            yield refused(action, error.text)
        else:
            yield ok(name, action)


def _of_report(name: str, iam: Iam) -> Iterator[Finding]:
    """Try what makes a large account cheap."""
    calls: Sequence[_Call] = (
        ("iam:GenerateCredentialReport", iam.request_credential_report),
        ("iam:GetCredentialReport", iam.credential_report),
    )
    what = "without the credential report each run asks for every user"
    yield from _each(name, calls, lambda _, why: untested(name, f"{what}: {why}"))


def _of_cache(folder: Path | None) -> Finding:
    why = ListingCache(folder).why_not_written()
    if why is None:
        return ok(CACHE, f"{folder} can be written")
    return untested(CACHE, f"without it accounts of more than {ALWAYS_ASKED_FOR} users cost a call a user: {why}")


def _of_scopes(scopes: frozenset[str]) -> Iterator[Finding]:
    if "chat:write" not in scopes:
        yield wrong("Slack", "the bot lacks the scope chat:write, without which nobody is told; add it, and reinstall")
    else:
        yield ok("Slack", "it may send messages (chat:write)")
    for scope, what in (
        ("users:read", "see who has left Slack"),
        ("users:read.email", "find owners by e-mail"),
    ):
        if scope in scopes:
            yield ok("Slack", f"it may {what} ({scope})")
        else:
            yield untested("Slack", f"without the scope {scope} it cannot {what}")


def _why(error: Exception) -> str:
    return (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else str(error)
