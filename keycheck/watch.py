"""What a run can count, and say, of access keys that do not move: once its actions are known. Pure.

In: facts, records, Outcomes. Out: the counts of `iam_run` that rest on them, and Problems. A number that is not known
is not there, and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from keycheck.actions import Outcome, Outcomes, Plan, Result
from keycheck.model import LabelledKey, Problem, State
from keycheck.planning import count_exempt, watched_cases
from keycheck.rules import waiting
from keycheck.rules.case import Case, Circumstances, Facts
from keycheck.settings import Settings
from keycheck.words.lines import standing_still


@dataclass(frozen=True, slots=True)
class Watch:
    """The access keys of one account, with their labels after the run. `cases` and `done` None: the state table could
    not be used, so what was done before is not known.
    """

    exempt: int
    cases: tuple[Case, ...] | None = None
    done: waiting.Done | None = None

    def counts(self, settings: Settings) -> dict[str, int]:
        """Return the fields of its `iam_run` line."""
        found = {"exempt": self.exempt}
        if self.cases is None or self.done is None:
            return found
        if settings.disable_key:  # else nothing is meant to be disabled
            found["overdue"] = sum(waiting.overdue_since(case, self.done) is not None for case in self.cases)
        if settings.acts:
            found["waiting"] = sum(waiting.is_waiting(case, self.done) for case in self.cases)
        return found

    def standing_still(self, profile: str) -> list[Problem]:
        """Return what a person should know of: once a run and account."""
        return [] if self.cases is None or self.done is None else standing_still(profile, self.cases, self.done)


def as_planned(plans: Iterable[Plan]) -> Outcomes:
    """Return what becomes of plans if everything in them goes well."""
    return Outcomes(
        tuple(
            Outcome(plan.profile, action, Result.DONE)
            for plan in plans
            for chain in plan.chains
            for action in chain.actions
        )
    )


def watch(
    keys: Sequence[LabelledKey],
    facts: Facts,
    state: State | None,
    outcomes: Outcomes,
    settings: Settings,
    now: datetime,
) -> Watch:
    exempt = count_exempt(keys, facts)
    if state is None:
        return Watch(exempt)
    done = waiting.Done(
        state.account(facts.scan.account_id).first_seen_at,
        outcomes.told_access_key_ids(),
        outcomes.named_access_key_ids(),
        outcomes.filed_access_key_ids(),
    )
    return Watch(exempt, tuple(watched_cases(keys, facts, state, Circumstances(settings, now))), done)
