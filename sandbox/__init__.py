"""A local AWS, Slack and Jira to run keycheck against, without any account.

    moto_aws     IAM, DynamoDB and KMS (moto's server), seeded in process; credstash runs for real on it
    fake_iam     what moto cannot do: pages, latency, an account-wide rate limit, injected errors, thousands of users
    fake_slack   chat.postMessage, recording what it got
    fake_jira    Jira Cloud and Jira Server, with a search that may lag behind creation
    http_fake    the HTTP server under fake_slack and fake_jira, and the faults that it can inject
    warm_parent  runs of the entry script from a process that has imported everything
    world        all of it together, and the environment that points keycheck at it
    demo         the story that `make demo` tells

Everything listens on loopback, on ports of its own choosing. keycheck never imports it. Time passes by moving this
world (creation dates, records) back, never by a clock switch in the program.
"""
