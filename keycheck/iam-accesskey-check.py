#!/usr/bin/env python3
"""The entry: finds its package, takes SIGTERM, calls cli.run.

It runs uninstalled, from any directory and through a symlink: the package is the folder that this file really is in,
whatever that folder is called. sys.path is left without that folder, whose modules would hide others' of the same
name.
"""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "E! keycheck: needs Python 3.11 or later, this is %s (%s)\n" % (sys.version.split()[0], sys.executable)
    )
    sys.exit(1)

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def find_package() -> None:
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    spec = spec_from_file_location("keycheck", here / "__init__.py", submodule_search_locations=[str(here)])
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a path that ends in .py has both
    package = module_from_spec(spec)
    sys.modules["keycheck"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    find_package()
    from keycheck.clock import RunClock

    CLOCK = RunClock()
    CLOCK.listen()
    from keycheck.cli import run

    run(CLOCK)
