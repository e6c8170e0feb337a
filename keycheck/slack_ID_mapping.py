# Who owns which IAM user: the user name as IAM spells it, and the Slack id of the person (U... or W...) or channel
# (C... or G...) to nag. In Slack: profile > ⋮ > "Copy member ID".
#
# keycheck reads this file as data and never executes it: one dictionary of strings, comments, nothing else.
mapping = {
    # "dev_kramer": "U012AB3CD",
}
