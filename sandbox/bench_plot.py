"""The plot of docs/benchmarks.md. In: JSON on stdin, by program: [users, calls, seconds], ... Out: a PNG.

It runs in .venv-bench, which has matplotlib; nothing else here needs that.
"""

import json
import sys

import matplotlib  # type: ignore[import-not-found,unused-ignore]

matplotlib.use("Agg")
from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

MARKS = "osv^D"


def main() -> None:
    tools = json.load(sys.stdin)
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.4), constrained_layout=True)
    for axis, column, what in ((axes[0], 1, "calls in a run"), (axes[1], 2, "seconds of a run")):
        for mark, (tool, points) in zip(MARKS, tools.items(), strict=True):
            is_ours = tool.startswith("keycheck")
            axis.plot(
                [point[0] for point in points],
                [point[column] for point in points],
                marker=mark,
                label=tool,
                linewidth=2.4 if is_ours else 1.2,
                linestyle="-" if is_ours else "--",
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([point[0] for point in points], [f"{point[0]:,}" for point in points])
        axis.minorticks_off()
        axis.set_xlabel("users")
        axis.set_title(what)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=9)
    figure.savefig(sys.argv[1], dpi=110, metadata={"Software": None})


main()
