"""The pages that the bench writes, read back."""


def rows_of(page: str) -> list[dict[str, str]]:
    """Return the rows of the page's first table, by column."""
    table = next(part for part in page.split("\n\n") if part.startswith("|"))
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines())
    return [dict(zip(columns, row, strict=True)) for row in rows]


def value(cell: str) -> float:
    """Return the figure of a cell, the median where it has a spread. Raises ValueError where there is none."""
    return float(cell.split(" ", maxsplit=1)[0].replace(",", ""))
