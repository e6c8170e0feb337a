"""What is read before a plan is made: everything that the plan rests on, and nothing that it does not speak of."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from keycheck.actions import CommentIssue, DisableKey, FileIssue, Plan
from keycheck.model import AccessKey, LastUse
from keycheck.planning import Questions
from tests.builders import HOUR, NOW, make_key
from tests.situations import KEY, KEY_ID, REPEATABLE, USED, Situation, Walk, walks

NEVER_USED = LastUse(None)


def spoken_of(planned: Plan) -> set[AccessKey]:
    """The access keys whose last use is shown somewhere, or decides."""
    found = set()
    for chain in planned.chains:
        for action in (*chain.issue_actions, *chain.disablings):
            if isinstance(action, FileIssue | DisableKey) or (isinstance(action, CommentIssue) and action.outlook):
                assert action.key is not None
                found.add(action.key.access_key)
        found |= {one.key.access_key for one in chain.message.keys} if chain.message else set()
    return found


def answered(walk: Walk, asked: Questions, use: LastUse) -> Walk:
    uses = {one.access_key_id: use for one in asked.last_uses}
    return replace(walk, facts=replace(walk.facts, last_uses={**walk.facts.last_uses, **uses}))


@given(walks())
@REPEATABLE
def test_what_is_asked_is_what_the_plan_speaks_of_and_does_not_know(walk: Walk) -> None:
    unknown = {one for one in spoken_of(walk.plan()) if one.access_key_id not in walk.facts.last_uses}
    assert set(walk.questions().last_uses) == unknown


@given(walks())
@REPEATABLE
def test_once_no_question_is_left_the_plan_rests_on_answers_alone(walk: Walk) -> None:
    for number in range(len(walk.keys) + 1):
        asked = walk.questions()
        if not asked.last_uses:
            break
        walk = answered(walk, asked, (USED, NEVER_USED)[number % 2])
    assert not walk.questions().last_uses
    assert {one.access_key_id for one in spoken_of(walk.plan())} <= set(walk.facts.last_uses)


@given(walks())
@REPEATABLE
def test_slack_is_needed_where_a_message_is_planned(walk: Walk) -> None:
    assert walk.questions().needs_slack is any(chain.message for chain in walk.plan().chains)


def test_an_access_key_in_use_makes_room_for_a_question_about_the_next_one() -> None:
    younger = make_key(age_days=190, access_key_id="AKIAIOSFODNN7EXYOUNG")
    filed = {"issue_key": "SEC-1", "comments_made": frozenset({"expired"})}
    situation = Situation(
        keys=(KEY, younger),
        record=filed,
        others={younger.access_key.access_key_id: filed},
        settings={"send_slack": "False", "max_disables_per_day": "1", "disable_in_use_hours": "24"},
        open_issues=frozenset({"SEC-1"}),
    )
    assert situation.questions().last_uses == (KEY.access_key,)
    situation.last_uses[KEY_ID] = LastUse(NOW - HOUR, "s3", "eu-west-1")
    assert younger.access_key in situation.questions().last_uses
    situation.last_uses[KEY_ID] = NEVER_USED
    assert situation.questions() == Questions()


def test_without_state_nothing_is_asked() -> None:
    assert Situation(has_state=False).questions() == Questions()
