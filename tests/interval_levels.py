"""Quantiles of the draws at which the ends of an interval lie, worked out with scipy.stats."""

import numpy as np
from scipy import stats


def levels(groups: int) -> list[float]:
    """Return both levels of a 95 % interval of some groups, after Hesterberg (2015), section 4.2."""
    tail = stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf(0.025, groups - 1))
    return [tail, 1 - tail]
