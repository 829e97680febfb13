"""What models know of one period after they have learned another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eolab.plots.style import panels, styled


@styled
def period_scores(
    matrices: Mapping[str, pd.DataFrame], label: str = "Macro F1", columns: int = 4, title: str = ""
) -> Figure:
    """Draw the scores of models that learn period after period, a panel a model with the same colours.

    Args:
        matrices: Score by the last period learned (rows) and the period scored (columns), by model, such as
            :func:`eolab.evaluation.continual.matrices` returns.
        label: What the scores are.
        columns: Panels beside each other.
        title: Title of the figure.
    """
    values = np.concatenate([table.to_numpy(float).ravel() for table in matrices.values()])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    figure, axes = panels(len(matrices), columns, 2.3, 2.1)
    for ax, (model, table) in zip(axes, matrices.items(), strict=True):
        shown = table.to_numpy(float)
        drawn = ax.imshow(shown, cmap="Blues", vmin=low, vmax=high, aspect="auto")
        for row, column in np.ndindex(shown.shape):
            color = "white" if shown[row, column] > (low + high) / 2 else "black"
            text = f"{shown[row, column]:.2f}"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        ax.set_xticks(range(shown.shape[1]), table.columns)
        ax.set_yticks(range(shown.shape[0]), table.index)
        ax.spines[:].set_visible(False)
        ax.set(title=model, xlabel="Scored on", ylabel="Learned up to")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label=label)
    figure.suptitle(title)
    return figure
