# Every setting of keycheck with its default; blank means unset. `source env_setup.sh` as it is gives a read-only audit.
# Names are in lower case. The README's table says more; a wrong value is an error that names it.

# What it does. As it stands: a read-only audit.
export send_slack="False"  # nag owners on Slack
export create_jira="False"  # file Jira issues
export disable_key="False"  # disable expired keys
export dump_metric_to_console="True"  # print the metrics to stdout

# When a key is old, and how often its owner hears of it.
export expire_age="180"  # days; a key this old or older is expired (0-3650)
export expiring_days="15"  # days before expire_age in which a key is expiring (0-3650)
export nag_interval_hours="24"  # hours; least time between two messages to one owner about one account (1-720)

# When it is disabled, and when not. docs/rollout.md says how to begin.
export disable_notice_days="7"  # days between a notice and disabling; 0 disables as soon as it is delivered (0-365)
export max_disables_per_day="50"  # access keys of one account disabled in any 24 hours, oldest first (1-5000)
export disable_in_use_hours="0"  # hours; an access key used within them is not disabled but escalated; 0 disables it all the same (0-8760)
export reenable_grace_days="7"  # days that an access key re-enabled by a person is left alone (0-365)
export exemptions_file=""  # TOML file of dated exemptions: see the README
export exempt_by_tag="False"  # take exemptions from the IAM tags keycheck:exempt-... too

# Jira.
export jira_server_address=""  # https address of Jira; needed when create_jira
export jira_project_key=""  # key of the Jira project; needed when create_jira
export jira_issue_type="Task"  # name of the issue type to file
export jira_extra_fields=""  # a JSON object merged into a new issue's fields
export jira_assign_owner="False"  # assign the issue to the owner, by the owner's e-mail
export resolve_jira="True"  # close an issue of ours once its access key is inactive or gone

# Secrets, by their names in credstash.
export credstash_aws_profile_name=""  # AWS profile of the credstash store; needed when send_slack or create_jira
export credstash_region=""  # region of the credstash store; by default that profile's
export credstash_keyname_atlassian_api_email=""  # name in credstash of the Jira user's e-mail; without it the token is sent as Bearer (Jira Data Center)
export credstash_keyname_atlassian_api_token=""  # name in credstash of the Jira API token; needed when create_jira
export credstash_keyname_slack_api_token=""  # name in credstash of the Slack bot token; needed when send_slack

# The state table.
export aws_dynamodb_profile_name=""  # AWS profile of the state table; needed when send_slack, create_jira or disable_key
export aws_dynamodb_region=""  # region of the state table; by default that profile's
export dynamodb_table_name="iam-access-key-alert"  # the state table, made on first need

# Slack, and who owns what.
export slack_id_mapping_file=""  # Python file holding mapping = {"IAM user": "Slack id"}; read as data, never executed; by default slack_ID_mapping.py beside the entry
export owner_slack_tag="slack_id"  # IAM tag of a user that holds its owner's Slack id
export owner_email_tag="email"  # IAM tag of a user that holds its owner's e-mail, looked up on Slack
export slack_api_base_url=""  # another Slack (GovSlack, a test server); by default the SDK's
export help_contact=""  # whom messages and issues name for questions, in one line: a channel, an address
export slack_fallback_channel=""  # told, in one digest, about keys whose owner is in no mapping

# Time.
export run_timeout_seconds="100"  # seconds; the run's own deadline, below Telegraf's timeout (5-3600)
export claim_margin_seconds="600"  # seconds that a claim outlives its run's deadline (1-86400)
