"""--completion: what a shell needs to complete keycheck's options, and the names of AWS profiles. Shell.

In: the command line's parser. Out: a script for bash or zsh on stdout, made by shtab, an extra of the package. It never
runs keycheck at a press of the tab key: the script is complete in itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

SHELLS = ("bash", "zsh")
NO_SHTAB = "--completion needs the Python package shtab; run: pip install shtab"
PROFILES = (
    r"sed -n -e 's/^\[profile  *\([A-Za-z0-9_.@+:/-]*\)\].*/\1/p' -e 's/^\[default\].*/default/p' "
    r'"${AWS_CONFIG_FILE:-$HOME/.aws/config}" 2>/dev/null'
)
"""The profiles that the AWS config file has, a line each. Those with other characters in their names are left out,
since bash expands what it is given.
"""


class PrintCompletion(argparse.Action):
    """Print the script and end, like --help: the other arguments do not matter."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        try:
            import shtab
        except ImportError:
            parser.error(NO_SHTAB)
        for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its arguments
            if action.dest == "profiles":
                action.complete = shtab.cmd(PROFILES)  # type: ignore[attr-defined]
        sys.stdout.write(f"{shtab.complete(parser, str(values))}\n")
        parser.exit()
