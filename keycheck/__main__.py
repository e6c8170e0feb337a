"""`python -m keycheck`: the same program as the entry."""

from keycheck.cli import run

run()
