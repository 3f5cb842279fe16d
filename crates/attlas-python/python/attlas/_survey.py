"""What the heads of a model do over a corpus, on one machine or many: texts in, sums out, which merge exactly.

``attlas.survey`` is called, and has functions of its own::

    found = attlas.survey(texts, "path/of/model")              # a list, a data set, a table, or files
    found.heads().filter(named=True)
    states = dataset.map(attlas.survey.batch("path/of/model"), batched=True, remove_columns=dataset.column_names)
    found = attlas.survey.merge(states)                        # on any engine, the same bytes
    attlas.survey.load("states/*.parquet").failures

Sums are whole numbers, so the parts of a corpus merge in any order, of any size and on any engine to the same bytes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, overload

import numpy as np

from attlas import _attlas
from attlas._indexing import number_from, refuse_unknown
from attlas.errors import Error, FileError, MissingError

if TYPE_CHECKING:
    from attlas.tables import Table

StrPath: TypeAlias = "str | os.PathLike[str]"

# Texts that are sorted by length together.
_WINDOW = 2048
# The column of partial states.
_STATE = "state"
# How a column of a table is held, by the letter that the native module gives.
_DTYPES = {"w": object, "i": np.int64, "f": np.float64, "b": np.bool_}


class Survey:
    """What was found: sums of every head under every measure, which merge with those of other texts.

    Made by ``attlas.survey(…)``, ``attlas.survey.load`` and ``attlas.survey.merge``. Surveys are equal when the same texts were
    measured under the same model, wherever they came from; they can be pickled and copied.
    """

    __slots__ = ("_digest", "_name", "_native")

    def __init__(self, native: _attlas.Survey, name: str = "a survey") -> None:
        self._native = native
        self._name = name
        self._digest: str | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self._native.about()[0]

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's files; ``embedded`` for the embedded translator."""
        return self._native.about()[2]

    @property
    def n_texts(self) -> int:
        """Texts that were measured; one that came twice counts twice."""
        return self._native.about()[3]

    @property
    def n_failures(self) -> int:
        """Texts that could not be used."""
        return self._native.about()[4]

    @property
    def digest(self) -> str:
        """SHA-256 of what was found: equal for equal texts under one model, whatever batches, files and machines they came in."""
        if self._digest is None:
            self._digest = self._native.digest()
        return self._digest

    def heads(self) -> Table:
        """A row for each head and measure, as docs/survey.md says.

        ``score`` is the mean over all rows of all texts, ``low`` and ``high`` its 95 % interval (of resampled shards of texts; NaN
        where fewer than eight have texts), ``named`` whether it reaches the threshold and its interval lies over the baseline.
        """
        return _table(self._native.heads(), f"heads of {self.model} on {_counted(self.n_texts, 'text')}")

    def examples(self) -> Table:
        """The texts where each head scores highest, up to five for each measure and variant, best first.

        ``query`` and ``key`` are the places of the row with the highest score and of the key it looks at most, −1 for measures
        that do not score rows; ``id`` is the beginning of the text's SHA-256.
        """
        return _table(self._native.examples(), f"texts where heads of {self.model} score highest")

    @property
    def failures(self) -> Table:
        """The texts that could not be used, each with its reason: the first 10,000, while ``n_failures`` counts all.

        ``number`` is the place of a text among those that were given, counted from 0, or its line or row in ``file``; −1 where
        nobody knows it, as in a batch of an engine. ``text`` is its beginning.
        """
        columns = self._native.failures()
        n_listed = len(columns[0][2])
        of = f"{n_listed:,} of {self.n_failures:,}" if n_listed < self.n_failures else f"{n_listed:,}"
        return _table(columns, f"{of} texts that could not be used")

    def save(self, path: StrPath) -> None:
        """Writes the survey whole or not at all: ``.parquet``, which merges, or ``.csv`` and ``.json`` with the scores alone.

        Raises :class:`attlas.Error` for another ending and :class:`attlas.FileError` when it cannot be written.
        """
        self._native.save(os.fspath(path))

    def to_bytes(self) -> bytes:
        """The bytes of its Parquet file, without intervals: a partial state, for ``attlas.survey.merge``."""
        return self._native.to_bytes()

    def __add__(self, other: Survey) -> Survey:
        """The survey of the texts of both. Raises :class:`attlas.Error` when models, versions or settings differ."""
        if not isinstance(other, Survey):
            return NotImplemented
        return _merged([self, other])

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Survey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Callable[[bytes, str], Survey], tuple[bytes, str]]:
        return _of_bytes, (self.to_bytes(), self._name)

    def __repr__(self) -> str:
        name, _, _, n_texts, n_failures, n_shards = self._native.about()
        failed = f" · {n_failures:,} could not be used" if n_failures else ""
        return f"<attlas.Survey {name} · {_counted(n_texts, 'text')} in {n_shards} of 64 shards{failed}>"


@dataclass(frozen=True)
class Batch:
    """Measures a batch of texts: what an engine calls for each part of a data set. Made by ``attlas.survey.batch``.

    It holds names alone and no model, so it is small, pickles, and has a stable hash; each process loads the model once. It
    takes what an engine hands over and returns the same kind with one column ``state``, whose one cell is the partial state:

    ======================================  ====================================================================
    dict of columns (datasets, Ray Data)    ``{"state": [bytes]}``
    pyarrow.Table, pyarrow.RecordBatch      the same with the column ``state``
    pandas.DataFrame, pandas.Series         a pandas.DataFrame
    an iterator of these                    an iterator with one of them, for the whole partition (Spark's ``mapInArrow``)
    a list, an array, a Series of texts     ``[bytes]``
    ======================================  ====================================================================
    """

    model: str | None
    column: str
    target: str | None
    revision: str | None
    adapter: str | None
    tokenizer: str | None
    from_language: str | None
    to_language: str | None
    longest: int | None
    max_tokens: int | None
    threads: int | None
    sha256: str

    @overload
    def __call__(self, texts: Mapping[str, Any], rank: int | None = None) -> dict[str, list[bytes]]: ...
    @overload
    def __call__(self, texts: list[Any], rank: int | None = None) -> list[bytes]: ...
    @overload
    def __call__(self, texts: Any, rank: int | None = None) -> Any: ...
    def __call__(self, texts: Any, rank: int | None = None) -> Any:
        """The partial state of a batch. ``rank`` is taken and not needed: models run on processors."""
        if isinstance(texts, Iterator):
            return self._partition(texts)
        return _like(texts, self._measured([texts]))

    def _partition(self, batches: Iterator[Any]) -> Iterator[Any]:
        """One state for all batches of a partition."""
        first = next(batches, None)
        if first is not None:
            yield _like(first, self._measured(chain([first], batches)))

    def _measured(self, batches: Iterable[Any]) -> bytes:
        surveyor = self._surveyor()
        found = surveyor.begin()
        for batch in batches:
            surveyor.take(found, _texts(batch, self.column, self.target), None, None)
        return found.to_bytes()

    def _surveyor(self) -> _attlas.Surveyor:
        """The model of this process."""
        with _LOCK:
            if self not in _LOADED:
                _LOADED.clear()  # one at a time: models are large
                surveyor = _surveyor(self, self.target is not None)
                if surveyor.sha256 != self.sha256:
                    raise Error(
                        f"{self.model} has other files here (SHA-256 {surveyor.sha256}) than where the survey was set up "
                        f"({self.sha256}); every machine needs the same ones"
                    )
                _LOADED[self] = surveyor
            return _LOADED[self]


# What a survey is asked for, by name.
_ARGUMENTS = tuple(name for name in Batch.__dataclass_fields__ if name != "sha256")
# The model that this process has loaded for batches.
_LOADED: dict[Batch, _attlas.Surveyor] = {}
_LOCK = threading.Lock()


class _SurveyFunction:
    """``attlas.survey``: see :meth:`__call__`; ``batch``, ``merge`` and ``load`` are for surveys in parts."""

    def __call__(
        self,
        texts: Any,
        model: StrPath | None = None,
        *,
        column: str = "text",
        target: str | None = None,
        revision: str | None = None,
        adapter: StrPath | None = None,
        tokenizer: StrPath | None = None,
        from_language: str | None = None,
        to_language: str | None = None,
        longest: int | None = None,
        max_tokens: int | None = None,
        threads: int | None = None,
        progress: bool = True,
        **unknown: NoReturn,
    ) -> Survey:
        """Measures every head of a model on every text of a corpus, and says how sure each score is.

        ``texts``: a list or any iterable of texts; of pairs ``(source, target)`` for a translator; of rows, whose ``column`` is
        the text. A ``datasets.Dataset`` or ``IterableDataset``, a table of pandas, Polars or Arrow, or a dict of columns.
        A path or a pattern such as ``"corpus/*.parquet"``, or a list of ``pathlib.Path``: files, read as ``docs/survey.md`` says
        (``.parquet`` and ``.jsonl`` by ``column``, ``.tsv`` as pairs, others line by line).

        ``model`` and what belongs to it: see :class:`attlas.Model`; the embedded translator when nothing is named. ``target``:
        the column of target texts; without one, an encoder-decoder generates them (up to ``max_tokens``, 256; with five beams
        by the embedded translator), which takes much longer. ``longest``: texts of more tokens are failures (4096, and what the model has positions for). ``threads``: how many
        measure (all of the machine). ``progress``: whether to say on standard error how far it is and how long it takes, from a
        second on.

        What cannot be used (``None``, what is no text, white space alone, a text that is too long) is a row of
        :attr:`Survey.failures`; in files, lines and cells of white space alone are passed over. Ctrl-C stops within a batch, and what was measured until then is lost.

        Raises :class:`attlas.ArgumentError` (a ``TypeError``) for an argument that there is not, :class:`attlas.Error` when there is
        no text, as :class:`attlas.Model` does, :class:`attlas.MissingError` when there is no such column, and
        :class:`attlas.FileError` when a file cannot be read.
        """
        refuse_unknown("survey", unknown, ("texts", *_ARGUMENTS, "progress"))
        paths = _paths(texts)
        if paths is None:
            total, chunks, pairs = _chunks(texts, column, target)
        elif target is not None:
            raise Error("target names a column, and files with columns have no pairs; a file of pairs is a .tsv file")
        else:
            pairs = all(path.lower().endswith(".tsv") for path in paths)
        setup = _setup(model, revision, adapter, tokenizer, from_language, to_language, longest, max_tokens, threads)
        surveyor = _surveyor(Batch(column=column, target=target, sha256="", **setup), pairs)
        with _Progress(progress) as line:
            if paths is not None:
                found = surveyor.files(paths, column, line.share)
            else:
                found = surveyor.begin()
                n_done = 0
                for chunk in chunks:
                    surveyor.take(found, chunk, n_done, line.counting(n_done, total))
                    n_done += len(chunk)
        result = Survey(found)
        if result.n_texts == 0:
            reasons = result.failures["reason"]
            why = f"the first that was given {reasons[0]}" if len(reasons) else "none was given"
            raise Error(f"there is no text to survey: {why}")
        return result

    def batch(
        self,
        model: StrPath | None = None,
        *,
        column: str = "text",
        target: str | None = None,
        revision: str | None = None,
        adapter: StrPath | None = None,
        tokenizer: StrPath | None = None,
        from_language: str | None = None,
        to_language: str | None = None,
        longest: int | None = None,
        max_tokens: int | None = None,
        threads: int | None = 1,
        **unknown: NoReturn,
    ) -> Batch:
        """What measures a batch of texts on an engine; the arguments are those of ``attlas.survey``.

        The model lies at the same path on every machine, or in each one's hub cache; its SHA-256 is taken here and held against
        each. ``threads`` is 1, since engines start a worker for each core. A state takes about as long to write as ten short
        texts to measure and does not grow with the batch beyond some megabytes: give batches of several hundred texts or more.

        Raises what :class:`attlas.Model` raises, at once: the model is read here for its name.
        """
        refuse_unknown("survey.batch", unknown, _ARGUMENTS)
        setup = _setup(model, revision, adapter, tokenizer, from_language, to_language, longest, max_tokens, threads)
        unnamed = Batch(column=column, target=target, sha256="", **setup)
        sha256 = _surveyor(unnamed, target is not None).sha256
        return Batch(column=column, target=target, sha256=sha256, **setup)

    def merge(self, states: Any) -> Survey:
        """The survey of all parts: of what an engine returned of ``attlas.survey.batch``, in any order to the same bytes.

        ``states``: an iterable of :class:`attlas.Survey`, of bytes, or of rows or batches with a column ``state``; a data set or
        table with such a column. One is in memory at a time. A state that is there twice counts twice, with a warning.

        Raises :class:`attlas.Error` when there is none, or two that differ in model, version or settings; it names both.
        """
        return _merged(_states(states))

    def load(self, paths: StrPath | Iterable[StrPath]) -> Survey:
        """The surveys of files, merged: those that ``save`` or ``attlas survey`` wrote, and tables with a column ``state``.

        ``paths``: a path, a pattern such as ``"states/*.parquet"``, or several of these.

        Raises :class:`attlas.FileError` when there is no such file, :class:`attlas.FormatError` when one is no survey, and as ``merge``.
        """
        patterns: list[Any] = [paths] if isinstance(paths, (str, os.PathLike)) or not isinstance(paths, Iterable) else list(paths)
        for pattern in patterns:
            if not isinstance(pattern, (str, os.PathLike)):
                raise FileError(f"a path or a pattern was expected, not {pattern!r}")
        found = [path for pattern in patterns for path in _matches(os.fspath(pattern))]
        if not found:
            raise Error("no file was named")
        return _merged(Survey(_attlas.Survey.load(path), path) for path in found)

    def __repr__(self) -> str:
        return "<attlas.survey: survey(texts, model), survey.batch, survey.merge, survey.load>"

    def __reduce__(self) -> str:
        return "survey"


survey = _SurveyFunction()


def _setup(
    model: StrPath | None,
    revision: str | None,
    adapter: StrPath | None,
    tokenizer: StrPath | None,
    from_language: str | None,
    to_language: str | None,
    longest: int | None,
    max_tokens: int | None,
    threads: int | None,
) -> dict[str, Any]:
    """What a model is and how it measures, as plain values that pickle."""

    def counted(number: int | None, name: str) -> int | None:
        return None if number is None else number_from(number, 1, 1_000_000, name)

    return {
        "model": _absolute(model),
        "revision": revision,
        "adapter": _absolute(adapter),
        "tokenizer": _absolute(tokenizer),
        "from_language": from_language,
        "to_language": to_language,
        "longest": counted(longest, "longest"),
        "max_tokens": counted(max_tokens, "max_tokens"),
        "threads": counted(threads, "threads"),
    }


def _absolute(place: StrPath | None) -> str | None:
    """A path that holds in other processes; a name of the hub as it is."""
    if place is None:
        return None
    if not isinstance(place, (str, os.PathLike)):
        raise Error(f"a model is named by its path or its name on the hub, so that any process can load it, not by a {type(place).__name__}")
    return os.path.abspath(place) if os.path.exists(place) else os.fspath(place)


def _surveyor(batch: Batch, pairs: bool) -> _attlas.Surveyor:
    """A model, loaded."""
    path = batch.model
    if path is not None and not os.path.exists(path):
        path = _attlas.Model.find(path, batch.revision)
    languages = (batch.from_language, batch.to_language)
    usual = dict.fromkeys(("precision", "tower", "loops", "unknown_words"))
    loaded = {**usual, "adapter": batch.adapter, "tokenizer": batch.tokenizer, "languages": languages, "images": False}
    model = _attlas.Model.load(path, loaded)
    places = [os.fspath(place) for place in (path, batch.adapter, batch.tokenizer) if place is not None]
    how = {
        "languages": list(languages),
        "pairs": pairs,
        "longest": batch.longest,
        "max_tokens": batch.max_tokens,
        "threads": batch.threads,
    }
    return _attlas.Surveyor(model, places, how)


def _merged(parts: Iterable[Survey]) -> Survey:
    """All parts as one survey."""
    iterator = iter(parts)
    first = next(iterator, None)
    if first is None:
        raise Error("there is no survey to merge: not one state was given")
    merged, met = first._native.copy(), {first.digest: first._name}
    for part in iterator:
        if part.digest in met and part.n_texts:
            import warnings

            what = f"{part._name} is the same as {met[part.digest]}"
            warnings.warn(f"{what}: its {_counted(part.n_texts, 'text')} count twice", stacklevel=3)
        met.setdefault(part.digest, part._name)
        for twice in merged.add(first._name, part._native, part._name):
            import warnings

            warnings.warn(f"{part._name} has texts of {twice} that an earlier survey has, too: they count twice", stacklevel=3)
    return Survey(merged)


_CELL = (Survey, bytes, bytearray, memoryview)
"""What one state is, in a row of its own or in a column."""


def _states(states: Any) -> Iterator[Survey]:
    """The surveys in what an engine returned."""
    for number, state in enumerate(_cells(states)):
        yield state if isinstance(state, Survey) else _of_bytes(bytes(state), f"state {number}")


def _cells(states: Any) -> Iterator[Any]:
    """The surveys and bytes in a table, a row or anything that has such; nulls are passed over."""
    if states is None:
        return
    if isinstance(states, _CELL):
        yield states
    elif hasattr(states, "iter_rows") and not _is(states, "polars", "DataFrame"):  # Ray Data
        yield from _cells(states.iter_rows())
    elif hasattr(states, "asDict"):  # a row of Spark
        yield from _cells(states.asDict())
    elif isinstance(states, Mapping) or _columns_of(states) is not None:
        held = _column(states, _STATE)
        yield from _cells(held if held is None or isinstance(held, _CELL) else iter(_items(held)))
    elif isinstance(states, Iterable) and not isinstance(states, str):
        for state in states:
            yield from _cells(state)
    else:
        raise Error(f"states are bytes, surveys, or rows with a column {_STATE!r}; this is of type {type(states).__name__}")


def _of_bytes(state: bytes, name: str) -> Survey:
    return Survey(_attlas.Survey.from_bytes(state, name), name)


def _paths(texts: Any) -> list[str] | None:
    """The files that are meant, if files are."""
    if isinstance(texts, (str, os.PathLike)):
        return _matches(os.fspath(texts))
    if isinstance(texts, (list, tuple)) and texts and all(isinstance(text, os.PathLike) for text in texts):
        return [path for text in texts for path in _matches(os.fspath(text))]
    return None


def _matches(pattern: str) -> list[str]:
    """The files of a path or pattern, in the order of their names."""
    if os.path.exists(pattern):
        return [pattern]
    from glob import glob

    found = sorted(glob(pattern, recursive=True))
    if not found:
        raise FileError(f"{pattern!r}: there is no such file, and none that matches; texts are given as a list, also a single one")
    return found


def _chunks(texts: Any, column: str, target: str | None) -> tuple[int | None, Iterator[list[Any]], bool]:
    """How many texts there are, where that is known, the texts in lists, and whether they are pairs."""
    if _is(texts, "datasets", "DatasetDict", "IterableDatasetDict"):
        splits = ", ".join(repr(split) for split in texts)
        raise Error(f"a {type(texts).__name__} holds several data sets; give one of them: {splits}")
    if _is(texts, "datasets", "Dataset", "IterableDataset"):
        names = [column] if target is None else [column, target]
        known = texts.column_names
        if known is not None:
            for name in names:
                _check_column(name, known)
            texts = texts.select_columns(names)
        batches = texts.iter(batch_size=_WINDOW)
        total = len(texts) if hasattr(texts, "__len__") else None
        return total, (_texts(batch, column, target) for batch in batches), target is not None
    if _is(texts, "polars", "LazyFrame"):
        texts = texts.collect()
    if isinstance(texts, Mapping) or _columns_of(texts) is not None:
        texts = _texts(texts, column, target)
    if not isinstance(texts, Iterable) and not hasattr(texts, "to_pylist"):
        raise Error(f"texts, rows, a table or files were expected, not what is of type {type(texts).__name__}")
    total = len(texts) if hasattr(texts, "__len__") else None
    iterator = iter(_items(texts) if hasattr(texts, "to_pylist") else texts)
    first = list(islice(iterator, 1))
    pairs = target is not None or (bool(first) and isinstance(first[0], tuple))
    cells = (_cell(row, column, target) for row in chain(first, iterator))
    return total, iter(lambda: list(islice(cells, _WINDOW)), []), pairs


def _cell(row: Any, column: str, target: str | None) -> Any:
    """The text of a row; a text is its own."""
    if not isinstance(row, Mapping):
        return row
    for name in (column, target):
        if name is not None:
            _check_column(name, list(row))
    return row[column] if target is None else (row[column], row[target])


def _texts(table: Any, column: str, target: str | None) -> list[Any]:
    """The texts of a table, or what is a column itself."""
    if not isinstance(table, Mapping) and _columns_of(table) is None:
        return _items(table)
    texts = _items(_column(table, column))
    return texts if target is None else list(zip(texts, _items(_column(table, target)), strict=True))


def _column(table: Any, name: str) -> Any:
    names = list(table) if isinstance(table, Mapping) else _columns_of(table)
    _check_column(name, names or [])
    return table.column(name) if _is(table, "pyarrow", "Table", "RecordBatch") else table[name]


def _columns_of(table: Any) -> list[str] | None:
    """The names of a table's columns; ``None`` for what is no table."""
    if _is(table, "pyarrow", "Table", "RecordBatch"):
        return list(table.schema.names)
    if _is(table, "pandas", "DataFrame") or _is(table, "polars", "DataFrame"):
        return list(table.columns)
    if _is(table, "datasets", "Dataset"):
        return list(table.column_names)
    return None


def _items(column: Any) -> list[Any]:
    """The cells of a column as a list, whatever the column is."""
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _check_column(name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        there_are = ", ".join(repr(known) for known in names[:12]) or "none"
        raise MissingError(f"there is no column {name!r}; the columns are {there_are}")


def _like(batch: Any, state: bytes) -> Any:
    """A state in a table of the kind that a batch is."""
    column = {_STATE: [state]}
    if isinstance(batch, Mapping):
        return column
    if _is(batch, "pyarrow", "Table", "RecordBatch"):
        import pyarrow

        return type(batch).from_pydict(column, schema=pyarrow.schema([(_STATE, pyarrow.binary())]))
    if _is(batch, "pandas", "DataFrame", "Series"):
        import pandas

        return pandas.DataFrame(column)
    if _is(batch, "polars", "DataFrame"):
        return type(batch)(column)
    return [state]


def _is(value: object, module: str, *names: str) -> bool:
    """Whether a value is of a class of a package, which is not imported for that."""
    package = sys.modules.get(module)
    return any(isinstance(value, getattr(package, name)) for name in names if hasattr(package, name))


def _table(columns: Iterable[tuple[str, str, list[Any]]], title: str) -> Table:
    from attlas.tables import Table

    return Table({name: np.array(cells, dtype=_DTYPES[letter]) for name, letter, cells in columns}, title=title)


def _counted(n: int, singular: str) -> str:
    return f"{n:,} {singular}{'' if n == 1 else 's'}"


class _Progress:
    """A line on standard error: how far, and how long it takes. Nothing for what is done within a second."""

    def __init__(self, is_wanted: bool) -> None:
        self._stream = sys.stderr if is_wanted else None
        self._is_terminal = self._stream is not None and self._stream.isatty()
        self._began = time.monotonic()
        self._said: float | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal and self._said is not None and self._stream is not None:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def counting(self, n_before: int, total: int | None) -> Callable[[int], None]:
        """For a list of texts of several: told how many of it are done."""
        return lambda n_done: self.share(None if total is None else (n_before + n_done) / max(total, 1), n_before + n_done)

    def share(self, share: float | None, n_texts: int) -> None:
        """Says how much is done, if it is time to."""
        now = time.monotonic()
        every = 0.5 if self._is_terminal else 10.0
        is_due = now - self._began >= 1.0 if self._said is None else now - self._said >= every
        if self._stream is None or not is_due or (share is not None and not 0 < share < 1):
            return
        self._said = now
        elapsed = now - self._began
        words = _counted(n_texts, "text")
        if share is None:
            words += f", {n_texts / elapsed:.0f} a second"
        else:
            words += f", {100 * share:.0f} %, {_duration(elapsed * (1 - share) / share)} left"
        start, end = ("\r\x1b[K", "") if self._is_terminal else ("attlas: ", "\n")
        print(start + words, end=end, file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"
