"""Tables: columns, rows, order, and how they are handed to pandas, Polars and Arrow."""

import importlib.util
import pickle

import attlas
import numpy as np
import pytest
from attlas.tables import Table


def has(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture
def table() -> Table:
    return Table(
        {
            "kind": ["encoder", "encoder", "cross", "cross"],
            "layer": np.array([0, 1, 0, 1]),
            "score": np.array([0.5, np.nan, 0.9, 0.1]),
            "why": [None, "no token occurs twice", None, None],
            "named": np.array([True, False, True, False]),
        },
        title="scores",
    )


def test_a_table_is_a_dict_of_numpy_columns(table: Table) -> None:
    assert list(table) == ["kind", "layer", "score", "why", "named"]
    assert len(table) == 4 and table.shape == (4, 5)
    assert dict(table)["layer"].tolist() == [0, 1, 0, 1]
    assert [column.dtype for _, column in table.items()] == [object, np.int64, np.float64, object, np.bool_]
    assert "score" in table and "scores" not in table


def test_a_row_is_a_dict_of_plain_values(table: Table) -> None:
    assert table[2] == {"kind": "cross", "layer": 0, "score": 0.9, "why": None, "named": True}
    assert table[-1]["layer"] == 1 and type(table[-1]["layer"]) is int
    assert [row["layer"] for row in table.rows()] == [0, 1, 0, 1]


def test_rows_are_chosen_by_values_collections_functions_and_masks(table: Table) -> None:
    assert table.filter(kind="encoder")["layer"].tolist() == [0, 1]
    assert table.filter(kind="cross", layer=[1, 2])["score"].tolist() == [0.1]
    assert table.filter(score=lambda score: score > 0.4)["kind"].tolist() == ["encoder", "cross"]
    assert table.filter(table["layer"] == 0, named=True).shape == (2, 5)
    assert table.filter(why=None).shape == (3, 5)
    assert table[1:3]["score"].tolist()[1] == 0.9
    assert table[[3, 0]]["kind"].tolist() == ["cross", "encoder"]
    assert len(table[[]]) == 0


def test_sorting_keeps_the_order_of_equals_and_puts_missing_values_last(table: Table) -> None:
    assert table.sort("score")["layer"].tolist() == [1, 0, 0, 1]
    assert table.sort("score", descending=True)["layer"].tolist() == [0, 0, 1, 1]
    assert table.sort("kind")["layer"].tolist() == [0, 1, 0, 1]
    by_two = table.sort("layer", "score", descending=True)
    assert list(zip(by_two["layer"], by_two["kind"])) == [(1, "cross"), (1, "encoder"), (0, "cross"), (0, "encoder")]
    assert table.sort("why")["why"].tolist() == ["no token occurs twice", None, None, None]


def test_sorting_by_several_columns_sorts_by_the_first_first(table: Table) -> None:
    ordered = table.sort("layer", "kind")
    assert list(zip(ordered["layer"], ordered["kind"])) == [
        (0, "cross"),
        (0, "encoder"),
        (1, "cross"),
        (1, "encoder"),
    ]


def test_columns_cannot_be_written_to(table: Table) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table["layer"][0] = 7


def test_the_printed_table_has_numbers_to_the_right_and_says_its_size(table: Table) -> None:
    lines = repr(table).splitlines()
    assert lines[0] == "scores"
    assert lines[1].split() == ["kind", "layer", "score", "why", "named"]
    assert lines[2].split() == ["encoder", "0", "0.500", "yes"]
    assert lines[-1] == "4 rows, 5 columns"
    assert all(line == line.rstrip() for line in lines)


def test_a_long_table_is_printed_in_part_and_says_so() -> None:
    long = Table({"n": np.arange(1000)})
    assert repr(long).splitlines()[-1] == "1000 rows, 1 column; the first 20 rows are shown"
    assert len(repr(long).splitlines()) == 22


def test_a_long_text_is_cut_only_where_there_are_many_columns() -> None:
    sentence = "word " * 30 + "end."
    assert "end." in repr(Table({"sentence": [sentence], "n": [1]}))
    many = repr(Table({"sentence": [sentence], **{f"n{place}": [1] for place in range(8)}}))
    assert "…" in many and "end." not in many


def test_what_a_token_holds_is_text_in_html_and_harmless_in_a_terminal() -> None:
    table = Table({"token": ["<script>alert(1)</script>", "\x1b[31mred", "日本"]})
    html = table._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "\x1b" not in repr(table) and "\x1b" not in html


def test_tables_are_equal_by_their_columns_and_survive_pickling(table: Table) -> None:
    assert pickle.loads(pickle.dumps(table)) == table
    assert table != table.sort("score")
    assert table != table[:2]


def test_a_wrong_name_row_or_mask_is_refused_with_what_there_is(table: Table) -> None:
    with pytest.raises(KeyError, match="no column 'scores'; its columns are kind, layer") as error:
        table["scores"]
    assert isinstance(error.value, attlas.Error)
    with pytest.raises(IndexError, match="no row 4; it has 4"):
        table[4]
    with pytest.raises(attlas.Error, match="a mask of this table is 4 booleans"):
        table.filter([True, False])
    with pytest.raises(attlas.Error, match="have one length"):
        Table({"a": [1, 2], "b": [1]})
    with pytest.raises(attlas.Error, match="has 2 axes"):
        Table({"a": np.zeros((2, 2))})


@has("pandas")
def test_pandas_gets_the_columns_with_missing_values(table: Table) -> None:
    frame = table.to_pandas()
    assert frame.columns.tolist() == list(table) and frame.shape == (4, 5)
    assert frame["score"].isna().tolist() == [False, True, False, False]
    assert frame["why"].isna().tolist() == [True, False, True, True]
    frame.loc[0, "layer"] = 9  # a frame of one's own
    assert table["layer"][0] == 0


@has("polars")
def test_polars_gets_nulls_for_what_is_missing(table: Table) -> None:
    frame = table.to_polars()
    assert frame.columns == list(table) and frame.shape == (4, 5)
    assert frame["score"].null_count() == 1 and frame["why"].null_count() == 3
    assert frame["kind"].to_list() == ["encoder", "encoder", "cross", "cross"]


@has("pyarrow")
def test_arrow_gets_nulls_for_what_is_missing(table: Table) -> None:
    arrow = table.to_arrow()
    assert arrow.column_names == list(table) and arrow.num_rows == 4
    assert arrow["score"].null_count == 1 and arrow["why"].null_count == 3
    assert [str(field.type) for field in arrow.schema] == ["string", "int64", "double", "string", "bool"]


def test_what_is_not_installed_is_refused_with_what_is(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("pandas", "polars") else find(name))
    with pytest.raises(ImportError, match="pandas, which is not installed; use dict") as error:
        table.to_pandas()
    assert isinstance(error.value, attlas.Error)
    assert "to_polars" not in str(error.value)


def test_a_word_that_is_missing_is_none_in_pandas_too() -> None:
    pytest.importorskip("pandas")
    frame = Table({"word": ["a", None]}).to_pandas()
    assert frame["word"].tolist() == ["a", None] and frame["word"].dtype == object
