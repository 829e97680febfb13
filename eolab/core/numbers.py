"""Numbers as people read them in tables."""

from __future__ import annotations


def short(value: float) -> str:
    """Return a number with four digits that count; a large whole number whole, with commas.

    Example:
        >>> short(0.41237), short(489_042.0), short(1234.5)
        ('0.4124', '489,042', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 and abs(value) < 1e15 else f"{value:.4g}"
