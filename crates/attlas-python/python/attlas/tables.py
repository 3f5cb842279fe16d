"""Tables: columns of numbers and words as NumPy arrays, handed to pandas, Polars or Arrow where they are installed."""

from __future__ import annotations

import html
import importlib.util
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attlas.errors import Error

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

# Rows that are printed before the rest is only counted, and how many characters of a cell: more in a table of few columns.
_PRINTED_ROWS = 20
_HTML_ROWS = 60
_CELL_WIDTH = 48
_WIDE_CELL = 300
_FEW_COLUMNS = 5


class Table:
    """Rows under named columns: a dict of NumPy arrays of one length.

    Columns of numbers are float64, int64 or bool; columns of words are object arrays of ``str``. What is missing is NaN
    in the former and ``None`` in the latter, and null in Polars and Arrow. As in pandas, iterating gives the columns'
    names and ``len`` counts rows; ``dict(table)`` is the plain dict. Columns are read-only.
    """

    def __init__(self, columns: Mapping[str, ArrayLike | Sequence[str | None]], *, title: str = "") -> None:
        self._columns = {str(name): _column(name, values) for name, values in columns.items()}
        self.title = title
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise Error(f"columns of one table have one length, but these have {lengths}")

    @property
    def columns(self) -> list[str]:
        """The columns' names, in order."""
        return list(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self._columns)

    def keys(self) -> list[str]:
        """The columns' names, so that ``dict(table)`` works."""
        return self.columns

    def items(self) -> list[tuple[str, NDArray[Any]]]:
        """Names with their columns."""
        return list(self._columns.items())

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    @overload
    def __getitem__(self, at: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice | NDArray[Any] | list[int] | list[bool]) -> Table: ...
    def __getitem__(self, at: Any) -> NDArray[Any] | dict[str, Any] | Table:
        """A column by its name, a row as a dict by its number, or a table of some rows by a slice, a mask or numbers."""
        if isinstance(at, str):
            if at not in self._columns:
                raise NoColumn(f"the table has no column {at!r}; its columns are {', '.join(self._columns)}")
            return self._columns[at]
        if isinstance(at, (int, np.integer)):
            if not -len(self) <= at < len(self):
                raise NoRow(f"the table has no row {at}; it has {len(self)} (counted from 0)")
            return {name: _plain(column[at]) for name, column in self._columns.items()}
        rows = at if isinstance(at, slice) else np.asarray(at)
        if isinstance(rows, np.ndarray) and rows.size == 0:
            rows = rows.astype(np.int64)  # an empty list is a list of no rows
        return self._of_rows(rows)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict of plain Python values."""
        return (self[row] for row in range(len(self)))

    def filter(self, mask: ArrayLike | None = None, /, **columns: Any) -> Table:
        """The rows that a mask keeps and whose columns have the given values.

        A value may also be a collection, of which the column must have one, or a function that is given the column and
        returns a mask: ``table.filter(kind="encoder", layer=[0, 1], score=lambda score: score > 0.5)``.
        """
        keep = np.ones(len(self), bool)
        if mask is not None:
            given = np.asarray(mask)
            if given.dtype != np.bool_ or given.shape != keep.shape:
                raise Error(f"a mask of this table is {len(self)} booleans, not {given.dtype} of shape {given.shape}")
            keep &= given
        for name, wanted in columns.items():
            keep &= _matching(self[name], wanted)
        return self._of_rows(keep)

    def sort(self, *names: str, descending: bool = False) -> Table:
        """The rows in the order of one or several columns; rows that are equal there keep their order, missing values come last."""
        order = np.arange(len(self))
        for name in reversed(names):
            column = self[name][order]
            missing = _missing(column)
            there = np.flatnonzero(~missing)
            ranks = np.zeros(len(order), np.int64)
            ranks[there] = np.unique(column[there], return_inverse=True)[1]
            ranks = np.where(missing, len(order), -ranks if descending else ranks)
            order = order[np.argsort(ranks, kind="stable")]
        return self._of_rows(order)

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas DataFrame; needs pandas."""
        library = _import("pandas", "to_pandas")
        frame: pandas.DataFrame = library.DataFrame(
            {
                # words are objects: a column of pandas' texts would make a missing one NaN
                name: library.Series(column.tolist(), dtype=object) if column.dtype == object else column.copy()
                for name, column in self.items()
            },
            columns=self.columns,
        )
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A Polars DataFrame, what is missing null; needs polars."""
        library = _import("polars", "to_polars")
        series = [
            library.Series(name, column.tolist(), dtype=library.String)
            if column.dtype == object
            else library.Series(name, column, nan_to_null=True)
            for name, column in self.items()
        ]
        frame: polars.DataFrame = library.DataFrame(series)
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """An Arrow table, what is missing null; needs pyarrow."""
        library = _import("pyarrow", "to_arrow")
        arrays = {
            name: library.array(column.tolist(), library.string())
            if column.dtype == object
            else library.array(column, from_pandas=True)
            for name, column in self.items()
        }
        table: pyarrow.Table = library.table(arrays)
        return table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and all(_equal(column, other[name]) for name, column in self.items())

    __hash__ = None  # type: ignore[assignment]  # columns are arrays

    def __repr__(self) -> str:
        heading = [self.title] if self.title else []
        return "\n".join([*heading, *_lines(self), _size(self, _PRINTED_ROWS)])

    def _repr_html_(self) -> str:
        """The first rows, for a notebook; every text is escaped."""
        right = {name for name, column in self.items() if column.dtype != object}

        def cell(tag: str, name: str, text: str) -> str:
            side = "right" if name in right else "left"
            return f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'

        head = "".join(cell("th", name, name) for name in self)
        rows = "".join(
            "<tr>" + "".join(cell("td", name, _shown(row[name])) for name in self) + "</tr>" for row in self[:_HTML_ROWS].rows()
        )
        title = f"<b>{html.escape(self.title)}</b> " if self.title else ""
        caption = f'<caption style="text-align:left">{title}{html.escape(_size(self, _HTML_ROWS))}</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _of_rows(self, rows: slice | NDArray[Any]) -> Table:
        return Table({name: column[rows] for name, column in self.items()}, title=self.title)


class NoColumn(Error, KeyError):
    """A table has no column of this name."""

    __str__ = Error.__str__  # a KeyError would show the sentence in quotes


class NoRow(Error, IndexError):
    """A table has no row of this number."""


class NotInstalled(Error, ImportError):
    """What a method hands its numbers to is not installed."""


def _column(name: str, values: ArrayLike | Sequence[str | None]) -> NDArray[Any]:
    """One column of a table: numbers, or words with None where there is none."""
    column = np.asarray(values)
    if column.dtype.kind in "USO":
        words = np.empty(len(column), object)
        words[:] = [None if word is None else str(word) for word in column.tolist()]
        column = words
    elif column.dtype.kind == "f":
        column = column.astype(np.float64)
    elif column.dtype.kind in "iu":
        column = column.astype(np.int64)
    elif column.dtype.kind != "b":
        raise Error(f"column {name!r} is of {column.dtype}; a table holds numbers, booleans and words")
    if column.ndim != 1:
        raise Error(f"column {name!r} has {column.ndim} axes; a column has one")
    column = column.view()
    column.flags.writeable = False
    return column


def _matching(column: NDArray[Any], wanted: Any) -> NDArray[np.bool_]:
    """Which places of a column have a value, one of several, or what a function says."""
    if callable(wanted):
        test: Callable[[NDArray[Any]], ArrayLike] = wanted
        return np.asarray(test(column), bool)
    if wanted is None:
        return _missing(column)
    if isinstance(wanted, (Collection, np.ndarray)) and not isinstance(wanted, str):
        values = set(np.asarray(wanted, object).tolist() if isinstance(wanted, np.ndarray) else wanted)
        return np.array([_plain(value) in values for value in column], bool)
    return np.asarray(column == wanted, bool)


def _missing(column: NDArray[Any]) -> NDArray[np.bool_]:
    if column.dtype == object:
        return np.array([value is None for value in column], bool)
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value it is."""
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: Any, longest: int = _WIDE_CELL) -> str:
    """A value as it is printed; what is missing is left empty."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if value and abs(value) < 0.001 else f"{value:.3f}"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(value))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _lines(table: Table) -> list[str]:
    """The first rows as lines: words to the left, numbers to the right."""
    first = table[:_PRINTED_ROWS]
    lines = [""] * (len(first) + 1)
    longest = _WIDE_CELL if len(table.columns) <= _FEW_COLUMNS else _CELL_WIDTH
    for name, column in first.items():
        cells = [name, *(_shown(_plain(value), longest) for value in column)]
        width = max(map(_width, cells))
        for row, cell in enumerate(cells):
            gap = " " * (width - _width(cell))
            lines[row] += cell + gap + "  " if column.dtype == object else gap + cell + "  "
    return [line.rstrip() for line in lines]


def _size(table: Table, shown: int) -> str:
    """How large the table is, and how much of it is not shown."""
    rows, columns = table.shape
    size = f"{rows} {'row' if rows == 1 else 'rows'}, {columns} {'column' if columns == 1 else 'columns'}"
    return f"{size}; the first {shown} rows are shown" if rows > shown else size


def _import(package: str, method: str) -> Any:
    """A package that is used only where it is installed."""
    if importlib.util.find_spec(package) is None:
        others = [
            f"{other}()"
            for other, needed in (("to_pandas", "pandas"), ("to_polars", "polars"), ("to_arrow", "pyarrow"))
            if importlib.util.find_spec(needed) is not None
        ]
        instead = " or ".join(["dict(table), whose columns are NumPy arrays", *others])
        raise NotInstalled(f"{method}() needs {package}, which is not installed; use {instead}")
    return import_module(package)
