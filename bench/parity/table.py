"""Tables of what was found, in Markdown, and whether it is within its bounds."""
import math


class Table:
    """Rows of cells under a title. A cell is text, a number, a Found or a Repeated."""

    def __init__(self, title, *columns):
        self.title, self.columns, self.rows = title, columns, []

    def add(self, *cells):
        self.rows.append(cells)

    def missed(self):
        """The cells beyond their bounds, each with its row's name."""
        return [f"{self.title}: {row[0]}: {c}" for row in self.rows for c in row if isinstance(c, (Found, Repeated)) and not c.holds()]

    def __str__(self):
        lines = [f"## {self.title}", "", line(self.columns), "|" + "---|" * len(self.columns)]
        return "\n".join(lines + [line(map(written, row)) for row in self.rows]) + "\n"


class Found:
    """A difference, the largest that is allowed, and PyTorch's own."""

    def __init__(self, value, bound, theirs=0.0):
        self.value, self.bound, self.theirs = float(value), float(bound), float(theirs)

    def holds(self):
        return self.value <= self.bound

    def __str__(self):
        return against(self.value, self.bound)


class Repeated:
    """A difference of a row of which one was beyond its bound, found once more with other
    inputs. It is then to be nearer to PyTorch's own than to the bound: what lies at the
    bound is within it every other time."""

    def __init__(self, first, again):
        self.first, self.again, self.bound = first, again, (again.bound + again.theirs) / 2

    def holds(self):
        return self.again.value <= self.bound

    def __str__(self):
        return f"{self.first}; again: {against(self.again.value, self.bound)}"


def with_repetition(measure):
    """What measure(0) finds, a list of Founds and other cells; if a bound is missed beside
    what measure(1) finds."""
    first = measure(0)
    if all(c.holds() for c in first if isinstance(c, Found)):
        return first
    return [Repeated(a, b) if isinstance(a, Found) else f"{written(a)}; again: {written(b)}" for a, b in zip(first, measure(1))]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def against(value, bound):
    return written(value) if value <= bound else f"**{written(value)}**, beyond {written(bound)}"


def written(cell):
    if not isinstance(cell, float):
        return str(cell)
    return "-" if math.isnan(cell) else f"{cell:.1e}" if 0 < abs(cell) < 0.1 else f"{cell:.2f}"
