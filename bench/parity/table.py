"""Tables of what was found, in Markdown, and whether it is within its bounds."""
import math


class Table:
    """Rows of cells under a title. A cell is text, a number, or a Found."""

    def __init__(self, title, *columns):
        self.title, self.columns, self.rows = title, columns, []

    def add(self, *cells):
        self.rows.append(cells)

    def missed(self):
        """The cells beyond their bounds, each with its row's name."""
        return [f"{self.title}: {row[0]}: {c}" for row in self.rows for c in row if isinstance(c, Found) and not c.holds()]

    def __str__(self):
        lines = [f"## {self.title}", "", line(self.columns), "|" + "---|" * len(self.columns)]
        return "\n".join(lines + [line(map(written, row)) for row in self.rows]) + "\n"


class Found:
    """A difference and the largest that is allowed."""

    def __init__(self, value, bound):
        self.value, self.bound = float(value), float(bound)

    def holds(self):
        return self.value <= self.bound

    def __str__(self):
        return written(self.value) if self.holds() else f"**{written(self.value)}**, beyond {written(self.bound)}"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def written(cell):
    if not isinstance(cell, float):
        return str(cell)
    return "-" if math.isnan(cell) else f"{cell:.1e}" if 0 < abs(cell) < 0.1 else f"{cell:.2f}"
