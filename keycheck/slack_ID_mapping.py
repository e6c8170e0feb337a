# Who owns which IAM user: the user name as IAM spells it, and the Slack id of the person (U... or W...) or channel
# (C... or G...) to nag; after a channel's, the id of a user group to mention. `account id/user name` and
# `profile/user name` go before the user name alone. In Slack: profile > ⋮ > "Copy member ID".
#
# keycheck reads this file as data and never executes it: one dictionary of strings, comments, nothing else.
mapping = {
    # "dev_kramer": "U012AB3CD",
    # "123456789012/deploy": "C012AB3CD S012AB3CD",
}
