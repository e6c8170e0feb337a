"""What keycheck/settings.py says of each setting, where people read it: `make docs` writes it there.

In: SETTINGS, docs/reference.md, env_setup.sh, the ConfigMap. Out: the same files with the table, each default and
each comment as the settings have them. A line for a new setting is put into env_setup.sh and the ConfigMap by hand,
where it belongs; what it says is written here. A test says when a file is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keycheck.settings import SETTINGS, Setting

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference.md"
ENV_SETUP: Final = ROOT / "env_setup.sh"
CONFIG_MAP: Final = ROOT / "k8s-templates" / "configmap.yaml"
IN_THE_SECRET: Final = {
    "slack_id_mapping_file": 'Python file holding mapping = {"IAM user": "Slack id"}; read as data, never executed; in '
    "secret.yaml",
    "exemptions_file": "TOML file of dated exemptions; in secret.yaml",
}
"""The two files that a pod has of its own: the ConfigMap says where they are."""


def meaning(setting: Setting) -> str:
    """Its meaning, and its range if it is a number."""
    return setting.meaning + (f" ({setting.lowest}-{setting.highest})" if setting.kind == "number" else "")


def reference(text: str) -> str:
    rows = [f"| `{one.name}` | {one.default or '-'} | {meaning(one)} |\n" for one in SETTINGS]
    head = "| variable | default | meaning |\n| --- | --- | --- |\n"
    before, _, rest = text.partition(head)
    return before + head + "".join(rows) + re.sub(r"\A(?:\| .*\n)*", "", rest)


def env_setup(text: str) -> str:
    """A default that depends on where keycheck is, or on credstash's own variable, is left blank, and said."""

    def line(setting: Setting) -> str:
        is_blank = setting.name in ("slack_id_mapping_file", "credstash_table")
        value = "" if is_blank else setting.default or ""
        said = meaning(setting) + (f"; by default {setting.default}" if is_blank else "")
        return f'# {said}\n{setting.name}="{value}"'

    text = _lines(text, r'^# [^\n]*\n{name}="[^"]*"$', line)
    names = " ".join(setting.name for setting in SETTINGS)
    return re.sub(r"^export .*$", f"export {names}", text, flags=re.MULTILINE)


def config_map(text: str) -> str:
    """Its values are its own: the files in the pod, the profiles and names of secret.yaml."""

    def line(setting: Setting) -> str:
        value = re.search(rf'^  {setting.name}: (".*")  # ', text, re.MULTILINE)
        if value is None:
            raise SystemExit(f"{CONFIG_MAP.name} has no line for {setting.name}: put it in by hand")
        return f"  {setting.name}: {value[1]}  # {IN_THE_SECRET.get(setting.name, meaning(setting))}"

    return _lines(text, r'^  {name}: ".*"  # .*$', line)


def _lines(text: str, pattern: str, line: Callable[[Setting], str]) -> str:
    for setting in SETTINGS:
        found = list(re.finditer(pattern.format(name=setting.name), text, re.MULTILINE))
        if len(found) != 1:
            raise SystemExit(f"there are {len(found)} lines for {setting.name}, where one is to be: put it in by hand")
        text = text[: found[0].start()] + line(setting) + text[found[0].end() :]
    return text


def rendered() -> dict[Path, str]:
    """Each file as it is to be."""
    makers = {REFERENCE: reference, ENV_SETUP: env_setup, CONFIG_MAP: config_map}
    return {path: make(path.read_text(encoding="utf-8")) for path, make in makers.items()}


def main() -> None:
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
