"""Tables on a page: numbers to the right, words to the left, wide ones scroll in their own box."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"^[-+−]?[\d.,   ]*\d[\d.,eE+−-]*\s*(%|±.*|(?:s|min|h)\b.*)?$|^(–|NaN|nan|None|)$")
WIDE = 8  # columns: a table of so many is set smaller
LONG = 24  # letters: a column of longer words may break them, and is kept from becoming narrow


def tidy(soup: Any) -> None:
    """Align the columns of each data frame in a parsed page and give each table a box that scrolls.

    A table of many columns is set smaller, and names of columns may break behind an underscore.
    """
    for table in soup.find_all("table"):
        for name in ("border", "style"):
            del table[name]
        if "dataframe" in table.get("class", []):
            _align(table)
            _narrow(soup, table)
        if not table.find_parent(class_="scroll"):
            table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))


def _align(table: Any) -> None:
    rows = [row.find_all(["th", "td"], recursive=False) for row in table.find_all("tr")]
    for styled in table.find_all(["tr", "th", "td"], style=True):
        del styled["style"]
    body = [row.find_all(["th", "td"], recursive=False) for row in table.select("tbody tr")]
    for column in range(max((len(row) for row in body), default=0)):
        cells = [row[column].get_text(strip=True) for row in body if len(row) > column]
        words = ["word", "long"] if max(map(len, cells)) > LONG else ["word"]
        kind = ["num"] if all(_NUMBER.match(text) for text in cells) else words
        for row in rows:
            if len(row) > column:
                row[column]["class"] = list(kind)


def _narrow(soup: Any, table: Any) -> None:
    heads = table.select("thead th")
    if max((len(row.find_all("th")) for row in table.select("thead tr")), default=0) >= WIDE:
        table["class"] = [*table["class"], "wide"]
    for head in heads:
        words = re.split(r"(?<=_)", head.get_text(strip=True))
        if len(words) > 1:
            head.clear()
            for number, word in enumerate(words):
                head.extend([soup.new_tag("wbr"), word] if number else [word])
