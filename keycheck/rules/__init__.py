"""The rules, a file for each question about an access key. Pure.

    case.py        all that decides about one access key, as one value
    seen.py        what does this scan show that the record does not know yet?
    notice.py      is the notice on record in force, what does this run do to it, what gives one?
    disabling.py   may it be disabled, and from when; what happens if nobody acts?
    telling.py     whom to tell, of which access keys, in this run?
    filing.py      is an issue to be filed, and what is there to say in one that is open?
    ending.py      which issues end?
    waiting.py     what does not move: is it overdue, does it wait, does it come back?
    writes.py      what is written to the state table, and what does that rest on?
    changes.py     what such a write is made of

Each answers from a Case (or a record, if AWS no longer shows the access key) and changes nothing. planning.py asks
them in this order and puts the answers together.
"""
