# Every setting of keycheck with its default; blank means unset. `source env_setup.sh` as it is gives a read-only audit.
# Names are in lower case. docs/reference.md says more; a wrong value is an error that names it.

# What it does. As it stands: a read-only audit.
# nag owners on Slack
send_slack="False"
# file Jira issues
create_jira="False"
# disable expired keys
disable_key="False"
# print the metrics to stdout
dump_metric_to_console="True"

# When a key is old, and how often its owner hears of it.
# days; a key this old or older is expired (0-3650)
expire_age="180"
# days before expire_age in which a key is expiring (0-3650)
expiring_days="15"
# hours; least time between two messages to one owner about one account (1-720)
nag_interval_hours="24"

# When it is disabled, and when not. docs/rollout.md says how to begin.
# days between a notice and disabling; 0 disables as soon as it is delivered (0-365)
disable_notice_days="7"
# access keys of one account disabled in any 24 hours, oldest first (1-5000)
max_disables_per_day="50"
# hours; an access key used within them is not disabled but escalated; 0 disables it all the same (0-8760)
disable_in_use_hours="0"
# days that an access key re-enabled by a person is left alone (0-365)
reenable_grace_days="7"
# disable access keys whose owner nobody knows, too; False: they are nagged about and stay
disable_unowned="True"
# TOML file of dated exemptions: see docs/reference.md
exemptions_file=""
# take exemptions from the IAM tags keycheck:exempt-... too
exempt_by_tag="False"

# Jira.
# https address of Jira; needed when create_jira
jira_server_address=""
# key of the Jira project; needed when create_jira
jira_project_key=""
# name of the issue type to file
jira_issue_type="Task"
# status that a closed issue gets; by default the first of Done, Closed, Resolved that there is
jira_done_status=""
# resolution that a closed issue gets, if its screen has one
jira_resolution=""
# a JSON object merged into a new issue's fields
jira_extra_fields=""
# assign the issue to the owner, by the owner's e-mail
jira_assign_owner="False"
# close an issue of ours once its access key is inactive or gone
resolve_jira="True"

# Secrets, by their names in credstash.
# table of the credstash store; unset, CREDSTASH_DEFAULT_TABLE if that is set; by default credential-store
credstash_table=""
# AWS profile of the credstash store; needed when send_slack or create_jira
credstash_aws_profile_name=""
# region of the credstash store; by default that profile's
credstash_region=""
# name in credstash of the Jira user's e-mail; without it the token is sent as Bearer (Jira Data Center)
credstash_keyname_atlassian_api_email=""
# name in credstash of the Jira API token; needed when create_jira
credstash_keyname_atlassian_api_token=""
# name in credstash of the Slack bot token; needed when send_slack
credstash_keyname_slack_api_token=""

# The state table.
# AWS profile of the state table; needed when send_slack, create_jira or disable_key
aws_dynamodb_profile_name=""
# region of the state table; by default that profile's
aws_dynamodb_region=""
# the state table, made on first need
dynamodb_table_name="iam-access-key-alert"

# Slack, and who owns what.
# Python file holding mapping = {"IAM user": "Slack id"}; read as data, never executed; by default slack_ID_mapping.py beside the entry
slack_id_mapping_file=""
# IAM tag of a user that holds its owner's Slack id
owner_slack_tag="slack_id"
# IAM tag of a user that holds its owner's e-mail, looked up on Slack
owner_email_tag="email"
# another Slack (GovSlack, a test server); by default the SDK's
slack_api_base_url=""
# whom messages and issues name for questions, in one line: a channel, an address
help_contact=""
# told, in one digest, about keys whose owner is in no mapping
slack_fallback_channel=""

# Time.
# folder for what was listed, so that large accounts cost less; by default $XDG_CACHE_HOME/keycheck, or ~/.cache/keycheck
cache_dir=""
# seconds; the run's own deadline, below Telegraf's timeout (5-3600)
run_timeout_seconds="100"
# seconds that a claim outlives its run's deadline (1-86400)
claim_margin_seconds="600"

# For `source` alone: who reads this as an environment file (systemd's EnvironmentFile=) passes over a line without `=`.
export send_slack create_jira dump_metric_to_console disable_key expire_age expiring_days disable_notice_days max_disables_per_day disable_in_use_hours reenable_grace_days disable_unowned exemptions_file exempt_by_tag nag_interval_hours jira_server_address jira_project_key jira_issue_type jira_assign_owner resolve_jira jira_done_status jira_resolution jira_extra_fields credstash_aws_profile_name credstash_table credstash_region credstash_keyname_atlassian_api_email credstash_keyname_atlassian_api_token credstash_keyname_slack_api_token aws_dynamodb_profile_name aws_dynamodb_region dynamodb_table_name slack_id_mapping_file owner_slack_tag owner_email_tag slack_api_base_url help_contact slack_fallback_channel cache_dir run_timeout_seconds claim_margin_seconds
