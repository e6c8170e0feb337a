"""What a dry run says at its end: how many, what is worth knowing before they go, and on which days they would. Pure.

In: access keys that are due, what was found out about them, the plan. Out: Forecast, and lines. It counts on nobody
acting and each message arriving; it says nothing that the plan does not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from keycheck.actions import NextStep, Plan, SkipReason, Step
from keycheck.model import AgeLabel, LabelledKey
from keycheck.rules.case import A_DAY, Facts
from keycheck.rules.disabling import is_in_use
from keycheck.settings import Settings
from keycheck.words.parts import days

GOES_ON = frozenset({SkipReason.NOTICE, SkipReason.BRAKE, SkipReason.NOT_TOLD_YET})
"""What only delays a disabling: its day is known all the same."""
USED_LATELY_HOURS = 24
SPANS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one profile. `never_used`, `used_lately`, `use_unknown`, `of_nobody`: of those that are expired, not exempt.
    `calendar`: how many are disabled on which day, in order, if nobody acts.
    """

    expired: int = 0
    expiring: int = 0
    exempt: int = 0
    never_used: int = 0
    used_lately: int = 0
    use_unknown: int = 0
    of_nobody: int = 0
    calendar: Mapping[date, int] = field(default_factory=dict)


def forecast(keys: Iterable[LabelledKey], facts: Facts, plan: Plan, settings: Settings, now: datetime) -> Forecast:
    """Return what is to come of the access keys of one account that are due."""
    due = [key for key in keys if key.needs_attention]
    going = [key for key in due if facts.user(key.access_key.user_name).exemption is None]
    expired = [key for key in going if key.label is AgeLabel.EXPIRED]
    uses = [facts.last_uses.get(key.access_key.access_key_id) for key in expired]
    return Forecast(
        len(expired),
        len(going) - len(expired),
        len(due) - len(going),
        sum(use is not None and use.at is None for use in uses),
        sum(use is not None and use.at is not None and is_in_use(use, now, USED_LATELY_HOURS) for use in uses),
        sum(use is None for use in uses),
        sum(facts.user(key.access_key.user_name).owner.is_anybodys for key in expired),
        _calendar(going, plan, settings, now) if settings.disable_key else {},
    )


def _calendar(keys: Sequence[LabelledKey], plan: Plan, settings: Settings, now: datetime) -> dict[date, int]:
    """Return how many are disabled on which day, oldest first under each account's brake."""
    held = {
        skip.key.access_key.access_key_id
        for skip in plan.skips
        if isinstance(skip.key, LabelledKey) and skip.what in (Step.DISABLE, Step.ACT) and skip.reason not in GOES_ON
    }
    ready: dict[str, list[tuple[date, datetime]]] = defaultdict(list)
    for key in keys:
        told = plan.told.get(key.access_key.access_key_id)
        if told is None or key.access_key.access_key_id in held:
            continue
        match told.next_step:
            case NextStep.DISABLED_NOW | NextStep.DUE:
                day = now.date()
            case NextStep.DISABLED_FROM if told.day is not None:
                day = max(told.day, now).date()
            case _:
                continue
        ready[key.access_key.account_id].append((day, key.access_key.create_date))
    calendar: Counter[date] = Counter()
    for of_account in ready.values():
        calendar.update(_under_the_brake(sorted(of_account), settings.max_disables_per_day))
    return dict(sorted(calendar.items()))


def _under_the_brake(ready: Sequence[tuple[date, datetime]], most: int) -> dict[date, int]:
    taken: dict[date, int] = {}
    day = date.min
    for earliest, _ in ready:
        day = max(day, earliest)
        while taken.get(day, 0) >= most:
            day += timedelta(days=1)
        taken[day] = taken.get(day, 0) + 1
    return taken


# In words


def last_lines(
    plans: Sequence[Plan],
    labelled: Mapping[str, Sequence[LabelledKey]],
    facts: Mapping[str, Facts],
    settings: Settings,
    now: datetime,
) -> list[tuple[str, str]]:
    """Return how a dry run ends: (profile, line). `labelled`, `facts`: by profile."""
    said = []
    for plan in plans:
        found = forecast(labelled[plan.profile], facts[plan.profile], plan, settings, now)
        said += [(plan.profile, text) for text in said_of(found, settings)]
    return [*said, (plans[0].profile, f"policy: {policy(settings)}")] if plans and settings.disable_key else said


def said_of(found: Forecast, settings: Settings) -> list[str]:
    """Return the last lines of a dry run about one profile."""
    exempt = f", {found.exempt} exempt" if found.exempt else ""
    lines = [f"in all {found.expired} expired and {found.expiring} expiring access keys{exempt}"]
    if settings.disable_key and found.expired:
        unread = f", {found.use_unknown} whose last use could not be read" if found.use_unknown else ""
        lines[0] += (
            f"; of the expired ones {found.never_used} never used, as far as AWS knows, {found.used_lately} used "
            f"within {USED_LATELY_HOURS} hours, {found.of_nobody} of nobody known{unread}"
        )
    if settings.disable_key:
        lines.append(_when(found.calendar))
    return lines


def _when(calendar: Mapping[date, int]) -> str:
    if not calendar:
        return "if nobody acts none of them is disabled"
    first, last, total = min(calendar), max(calendar), sum(calendar.values())
    spans = _spans(calendar)
    shown = ", ".join(spans[:SPANS_SHOWN]) + (", ..." if len(spans) > SPANS_SHOWN else "")
    return f"if nobody acts {total} of them are disabled, the first on {first}, the last on {last}: {shown}"


def _spans(calendar: Mapping[date, int]) -> list[str]:
    """Return so many a day, days in a row with the same number together."""
    spans: list[tuple[date, date, int]] = []
    for day, count in calendar.items():
        if spans and spans[-1][2] == count and spans[-1][1] + A_DAY == day:
            spans[-1] = (spans[-1][0], day, count)
        else:
            spans.append((day, day, count))
    return [
        f"{count} on {first}" if first == last else f"{count} a day from {first} to {last}"
        for first, last, count in spans
    ]


def policy(settings: Settings) -> str:
    """Return in one line when access keys are disabled under these settings."""
    told = [name for name, is_on in (("on Slack", settings.send_slack), ("by an issue", settings.create_jira)) if is_on]
    notice = settings.disable_notice_days
    since = f"its owner was told {' and '.join(told)}"
    when = f"{days(notice)} after {since}" if notice else f"as soon as {since}"
    used = f"; one used within {settings.disable_in_use_hours} hours is not" if settings.disable_in_use_hours else ""
    unowned = "" if settings.disable_unowned else "; one that nobody owns is not"
    return (
        f"an access key of {days(settings.expire_age)} or more is disabled "
        f"{when if told else 'at once, and nobody is told'}, at most {settings.max_disables_per_day} of an account in "
        f"24 hours, oldest first{used}{unowned}; one that a person re-enables is left alone for "
        f"{days(settings.reenable_grace_days)}"
    )
