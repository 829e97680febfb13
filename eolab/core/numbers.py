"""Numbers and tables as people read them."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence


def short(value: float) -> str:
    """Return a number with four digits that count; a large whole number whole, with commas.

    Example:
        >>> short(0.41237), short(489_042.0), short(1234.5)
        ('0.4124', '489,042', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 and abs(value) < 1e15 else f"{value:.4g}"


def alike(values: Iterable[float]) -> Callable[[float], str]:
    """Return how numbers of one kind are written, such as those of a column: with the same decimals.

    Three below 10, fewer above, none from 1,000 on; columns of whole numbers, and those with very small ones
    or very different ones, are written by :func:`short`.

    Example:
        >>> [alike([0.4, 0.04567])(value) for value in (0.4, 0.04567)]
        ['0.400', '0.046']
    """
    found = [abs(value) for value in values if math.isfinite(value) and value]
    largest = max(found, default=0)
    decimals = 3 - max(0, int(math.log10(largest))) if largest else 0
    if decimals < 1 and min(found, default=0) >= 10:
        return lambda value: f"{value:,.0f}"
    if decimals < 1 or min(found) < 10.0**-decimals or all(value == int(value) for value in found):
        return short
    return lambda value: f"{value:.{decimals}f}"


def counted(counts: Mapping[str, int]) -> str:
    """Return numbers of things in words, in their order; those that are 0 are left out.

    Example:
        >>> counted({"train": 1200, "validation": 0, "test": 300})
        '1,200 train, 300 test'
    """
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or "none"


def of(number: int, things: str) -> str:
    """Return a number of things in words.

    Example:
        >>> of(1200, "patches"), of(1, "patches"), of(1, "groups"), of(1, "series")
        ('1,200 patches', '1 patch', '1 group', '1 series')
    """
    if number == 1 and not things.endswith("series"):
        things = re.sub(r"(?<=ch)es$|(?<=ss)es$|(?<!s)s$", "", things)
    return f"{number:,} {things}"


def padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows of a table with blanks behind the texts, so that each column has one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
