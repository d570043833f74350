"""Loss curves: one JSON line per logged step, drawn as a PNG at the end of a run."""

import json
from pathlib import Path


class Log:
    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, **values) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(values) + "\n")
        print(" ".join(f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()), flush=True)

    def draw(self, png: Path, title: str, curves: tuple[str, ...]) -> None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        figure, axes = plt.subplots(1, len(curves), figsize=(5 * len(curves), 3.2))
        for axis, name in zip([axes] if len(curves) == 1 else axes, curves):
            points = [(i, row[name]) for i, row in enumerate(rows) if name in row]
            axis.plot([rows[i]["total_steps"] for i, _ in points], [v for _, v in points], linewidth=1)
            axis.set_xlabel("steps")
            axis.set_title(f"{title}: {name}")
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(png, dpi=90)


def total_steps(log: Log) -> int:
    """Steps of all runs that wrote to this log."""
    rows = log.path.read_text().splitlines() if log.path.exists() else []
    return json.loads(rows[-1])["total_steps"] if rows else 0
