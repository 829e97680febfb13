"""Numbers of tables."""

import pytest

from eolab.core.numbers import short


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.41237, "0.4124"),
        (489_042.0, "489,042"),
        (999.96, "1000"),
        (-1234.5, "-1,234"),
        (3.0, "3"),
        (1e-7, "1e-07"),
        (2e18, "2e+18"),
        (float("nan"), "nan"),
    ],
)
def test_four_digits_that_count_and_large_numbers_whole(value, said):
    assert short(value) == said
