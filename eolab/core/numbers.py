"""Numbers and tables as people read them."""

from collections.abc import Sequence


def short(value: float) -> str:
    """Return a number with four digits that count; a large whole number whole, with commas.

    Example:
        >>> short(0.41237), short(489_042.0), short(1234.5)
        ('0.4124', '489,042', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 and abs(value) < 1e15 else f"{value:.4g}"


def padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows of a table with blanks behind the texts, so that each column has one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
