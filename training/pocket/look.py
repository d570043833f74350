"""Contact sheets: one row for each clip, every sixth frame or so."""

from pathlib import Path

import torch


def sheet(clips: list[torch.Tensor], path: Path, columns: int = 12) -> None:
    """clips: u8 [T, H, W, 3] each; written as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = []
    for clip in clips:
        chosen = torch.linspace(0, len(clip) - 1, columns).round().long()
        framed = torch.nn.functional.pad(clip[chosen], (0, 0, 0, 1, 0, 1), value=255)
        rows.append(framed.permute(1, 0, 2, 3).reshape(framed.shape[1], -1, 3))
    plt.imsave(path, torch.cat(rows).numpy())
