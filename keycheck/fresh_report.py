"""IAM's credential report, if it can be had soon. Shell.

In: one account's IAM, the run's clock. Out: its rows by user name, or why there are none, as a sentence. It asks AWS to
make one at most once, waits a few seconds for it, and never raises but Stopped: without a report a scan is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from keycheck.clock import RunClock
from keycheck.credential_report import NotAReport, Report, UserInReport, read_report
from keycheck.services import Iam, ServiceError

LASTS = timedelta(hours=4)
"""AWS makes no newer one before that (IAM User Guide, "Generate credential reports")."""
WAITS_SECONDS, WAITING_SHARE = 5.0, 1 / 4
"""At most so long, beside what the answers take, and no more than a share of the scan's time: users wait as well."""
STEP_SECONDS, ASKS_EVERY_STEPS = 0.05, 20
LATE = "AWS did not make it within {:.1f} s; a later run finds it"


def fetch(iam: Iam, clock: RunClock, is_wanted: Callable[[], bool]) -> Mapping[str, UserInReport] | str:
    """Return what the newest report says of each user, or why there is none: an empty text if nobody wants it any more.
    Raises Stopped.
    """
    try:
        report = _young(iam.credential_report(), clock)
        if report is None:
            iam.request_credential_report()
            seconds = min(WAITS_SECONDS, clock.scan_seconds() * WAITING_SHARE)
            report = _awaited(iam, clock, seconds, is_wanted)
            if report is None:
                return LATE.format(seconds) if is_wanted() else ""
        return read_report(report.text)
    except ServiceError as error:
        return error.text
    except NotAReport as error:
        return str(error)


def _awaited(iam: Iam, clock: RunClock, seconds: float, is_wanted: Callable[[], bool]) -> Report | None:
    for step in range(round(seconds / STEP_SECONDS)):
        if step % ASKS_EVERY_STEPS == 0 and (report := _young(iam.credential_report(), clock)) is not None:
            return report
        if not is_wanted():
            return None
        clock.check_scan()
        clock.sleep(STEP_SECONDS)
    return None


def _young(report: Report | None, clock: RunClock) -> Report | None:
    """Return the report unless it is older than AWS would have it be: cached lines are promised to be no older."""
    return None if report is None or clock.now - report.made_at >= LASTS else report
