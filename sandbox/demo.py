"""The story of `make demo`: keycheck's real entry script against the sandbox, from an audit to the end of the notice.

It prints what a person would see in Telegraf, Slack and Jira, and ends by itself. Where something else happens than
the text says, it ends with exit code 1 and says so: a demo that tells a wrong story is a bug.
"""

from __future__ import annotations

import sys
import textwrap
from datetime import timedelta

from sandbox import fake_jira, fake_slack
from sandbox.world import Ran, World

PROFILE = "acme-dev"
SWITCHES = {"send_slack": "True", "create_jira": "True", "disable_key": "True", "slack_fallback_channel": "C0SECURITY"}
USERS: tuple[tuple[str, tuple[float, ...], str | None], ...] = (
    ("ci_deploy", (251,), None),
    ("dev_kramer", (197,), "U012KRAMER"),
    ("dev_meier", (170,), "U034MEIER"),
    ("dev_singh", (12,), "U056SINGH"),
    ("ops_backup", (402, 30), "U012KRAMER"),
)


class WrongStory(Exception):
    """What happened is not what the demo says."""


def main() -> int:
    try:
        with World() as world:
            tell(world)
    except WrongStory as error:
        sys.stdout.flush()
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def tell(world: World) -> None:
    for name, ages, slack_id in USERS:
        world.aws.add_user(name, ages)
        if slack_id:
            world.owners[name] = slack_id

    title("1. An audit: nothing switched on, nothing written anywhere")
    show(world.run(PROFILE))

    title("2. A dry run: what it would do if Slack, Jira and disabling were on")
    show(world.run("--dry-run", PROFILE, **SWITCHES), "--dry-run")
    expect(not world.slack.messages and not world.jira.issues, "a dry run wrote something")

    title("3. The real thing, as Telegraf would start it: everybody is told, and told a day; nothing is disabled yet")
    ran = world.run(PROFILE, **SWITCHES)
    show(ran)
    show_slack(world, since=0)
    show_issues(world)
    expect(len(world.slack.messages) == 3, "not every addressee got exactly one message")
    expect(len(world.jira.issues) == 4, "not every old access key got exactly one issue")
    expect("keys_disabled=0i" in ran.stdout, "an access key was disabled before its day")

    title("4. Five minutes later: a second run repeats nothing")
    world.pass_time(timedelta(minutes=5))
    ran = world.run(PROFILE, **SWITCHES)
    show(ran, only_run_line=True)
    expect("issues_filed=0i,nags_sent=0i,keys_disabled=0i" in ran.stdout, "the second run repeated something")

    title("5. A day later: the owners are reminded, of the same day and under the same issues")
    sys.stdout.write("(The sandbox has moved its whole world a day into the past, creation dates included.)\n")
    world.pass_time(timedelta(days=1))
    ran = world.run(PROFILE, **SWITCHES)
    show(ran, only_run_line=True)
    expect("issues_filed=0i,nags_sent=3i,keys_disabled=0i" in ran.stdout, "the next day is not as told")

    title("6. A week after the notice: what has expired is disabled, as everybody was told")
    world.pass_time(timedelta(days=6))
    told = len(world.slack.messages)
    ran = world.run(PROFILE, **SWITCHES)
    show(ran)
    show_slack(world, since=told)
    show_keys(world)
    expect("issues_filed=0i,nags_sent=3i,keys_disabled=3i" in ran.stdout, "the notices' day is not as told")
    expect(len(world.jira.issues) == 4, "an issue was filed twice")
    sys.stdout.write("\nThat is all. The README tells how to point it at your own account: begin with the audit.\n")


def title(text: str) -> None:
    sys.stdout.write(f"\n{'=' * 118}\n{text}\n{'=' * 118}\n")
    sys.stdout.flush()


def show(ran: Ran, *flags: str, only_run_line: bool = False) -> None:
    """The command, what it printed for people, and what it printed for Telegraf."""
    sys.stdout.write(" ".join(["\n$ /opt/keycheck/iam-accesskey-check.py", *flags, PROFILE]) + "\n")
    lines = [line for line in ran.lines if line.startswith("iam_run") or not only_run_line]
    for line in [*ran.stderr.splitlines(), *lines]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    expect(ran.code == 0, f"exit code {ran.code}")
    expect("E! " not in ran.stderr and "W! " not in ran.stderr, "a normal run warned")


def show_slack(world: World, since: int) -> None:
    for message in world.slack.messages[since:]:
        sys.stdout.write(f"\n--- Slack, to {message.channel} ---\n{indented(fake_slack.render(message))}\n")


def show_issues(world: World) -> None:
    issues = list(world.jira.issues.values())
    sys.stdout.write(f"\n--- Jira, the first of {len(issues)} issues ---\n{indented(fake_jira.render(issues[0]))}\n")
    sys.stdout.write("\n--- Jira, all of them ---\n")
    for issue in issues:
        sys.stdout.write(f"    {issue.key}  {issue.summary}\n")


def show_keys(world: World) -> None:
    sys.stdout.write("\n--- IAM, afterwards ---\n")
    for name, _, _ in USERS:
        for access_key_id, status, created in world.aws.keys(name):
            sys.stdout.write(f"    {name:<12} {access_key_id}  {status:<8}  created {created:%Y-%m-%d}\n")


def indented(text: str) -> str:
    return textwrap.indent(text, "    ", lambda _: True)


def expect(is_so: bool, otherwise: str) -> None:
    """Like assert, but no flag of the interpreter's removes it."""
    if not is_so:
        raise WrongStory(otherwise)


if __name__ == "__main__":
    sys.exit(main())
