"""Carries out the plans: for each addressee note, see to the issues, send the message, disable. Shell.

    ledger.py      what became of each action: done, refused, unknown, skipped, in flight
    notes.py       what the scan has shown
    issues.py      file, assign
    comments.py    comment, close
    issue_claims.py  what these two share: the claim, and the look
    messages.py    send one message
    disabling.py   set one access key Inactive
    places.py      whose turn that is: a place that comes to nothing passes on
    chains.py      walks the chains side by side, and closes the books
    dry_run.py     the same plans, looked at and not carried out

It decides nothing that planning decided. Each action has its own claim and its own order (design.md 4):

    issue     claim -> look (recorded issue, then label) -> note the filing -> POST -> record -> assign -> read back
    comment   claim -> look (is it open, was this said?) -> POST -> close, if it is the last word -> record
    message   claim -> POST -> record (an unknown outcome too)
    disable   only if a notice is in force -> last use once more -> take one of the day's disablings -> write the
              intent, if no other run did in the last 15 minutes or has told a later day -> UpdateAccessKey -> record

A refusal releases its claim; an unknown issue keeps it. Every call asks the clock first. Where a claim, or a
disabling's intent, cannot be written, nothing more is begun in this run. What another run has a claim on is left to it,
and the access key's disabling too.
"""
