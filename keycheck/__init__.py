"""keycheck keeps IAM access keys from going stale. The map:

    profile --scan--> keys --labels--> labelled keys --planning--> Plan --acting--> Outcomes  --metrics--> stdout
                                              ^ records (state table)      \\--dry run: words --> stderr

    iam-accesskey-check.py   the entry: finds its package, takes SIGTERM, calls cli.run
    slack_ID_mapping.py      data for the user to fill in
    cli.py                   wiring, exit code
    arguments.py             the command line -> options, profiles
    history.py    shell      what happened to access keys, as the state table keeps it
    check.py      shell      --check: is everything that is switched on really usable?
    completion.py            --completion: a script for bash or zsh
    progress.py              one line on a terminal that says how far a run is
    report.py                lines for people, and the writing of both streams
    clock.py                 the run's time: now, deadlines, SIGTERM
    settings.py              environment -> one frozen Settings
    values.py     pure       what each kind of setting can be
    misspelt.py   pure       a variable's name -> the setting that was meant
    tags.py       pure       an IAM user's tags -> what one of them holds
    tokens.py     pure       a secret where its name belongs -> what kind it is
    model.py      pure       frozen values: access keys, labels, records, owners, state
    actions.py    pure       frozen values: a plan, its actions, and what became of them
    labels.py     pure       access key + now -> label
    credential_report.py pure  IAM's credential report -> what it says of each user's access keys
    listing.py    pure       that report + what was listed before -> whose access keys IAM is asked for
    agenda.py     pure       users, that report -> who is asked for first, and who need not be
    endings.py    pure       access keys that need no attention, or are gone, and records -> what ends
    accounts.py   pure       scans of several profiles -> the accounts that they show
    owners.py     pure       mapping file, tags, look-ups -> who owns whom
    exemptions.py pure       exemptions file, tags -> who is left alone, until when and why
    rules/                   a file for each question about an access key, asked by planning.py:
      case.py       pure     all that decides about it, as one value
      seen.py       pure     what the scan shows that its record does not know yet
      notice.py     pure     the notice that it may be disabled on: given, kept, void
      disabling.py  pure     may it be disabled, and from when; what happens if nobody acts
      telling.py    pure     whom to tell, of which access keys
      filing.py     pure     is an issue to be filed, and what is there to say in an open one
      ending.py     pure     which issues end
      events.py     pure     what happened to it, as its record keeps it for an auditor
      standing.py   pure     which access keys are read of the state table in every run, due or not
      waiting.py    pure     what does not move: is it overdue, does it wait, does it come back
      writes.py     pure     every write to the state table, as a value: what it changes, and what it rests on
      other_writes.py  pure  the same for items that are no access key's: an account's, a look-up's
      changes.py    pure     what such a write is made of: conditions and changes
    planning.py   pure       keys + records + settings -> what must still be read; then a Plan: what to do, and why not
    words/                   what people read:
      parts.py      pure     days, what happens next, the commands of a rotation
      issue.py      pure     the issue, and the comments on it
      message.py    pure     the one message to an addressee
      lines.py      pure     the dry run, and what was due and is not done
      done.py       pure     what a run has done
    watch.py      pure       what does not move: the counts that rest on it, and what is said of it
    forecast.py   pure       a dry run's totals, its calendar, and the policy in one line
    rows.py       pure       what is known of each access key, as one row
    row_sources.py pure      what a run knows -> rows
    explain.py    pure       all that is known of one access key, in sentences
    row_formats.py pure      rows as JSON and CSV
    row_table.py  shell      rows as a table, by rich
    showing.py    shell      the options that say what is shown on stdout, and the writing of it
    metrics.py    pure       labelled keys + outcomes -> line protocol
    workers.py    shell      calls side by side, waited for no longer than somebody says
    run.py        shell      one run: scan, survey, plan, act, measure
    scan.py       shell      IAM -> access keys
    account_listing.py shell whom one scan asks for, from its first page to what the next run is to know
    fresh_report.py shell    IAM's credential report, asked for once and awaited for a few seconds
    confirming.py shell      asks for users because of whose cached listings something would end
    survey.py     shell      reads what planning must know: records, owners, Jira
    records.py    shell      reads the state table: what is due, and what stands
    slack_lookups.py shell   who has an e-mail address, and who can still be told
    user_facts.py shell      exemptions, tags, owners, last uses: what planning must know beside keys and records
    acting/                  carries out the plans, one chain an addressee: see to its issues, send one message, disable
    services/                one thin adapter per outside system, each with only the calls that keycheck needs

Pure modules import no boto3, jira, slack_sdk, os or time, and read no clock (tests/test_shape.py holds them to it).
"""

__version__ = "0.1.0"
