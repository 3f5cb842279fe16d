"""What the documentation shows runs as it stands, block after block, page by page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas

ROOT = Path(__file__).parents[3]
TRAINED = ROOT / "crates" / "attlas-model" / "tests" / "data" / "trained" / "stories260K"
SENTENCES = ["The cat sat.", "A dog sees the big red cat on the mat.", "My friend likes the sea."]
# How a block begins that is none of Python.
SHELL = ("attlas ", "tools/", "pip ", "python ", "cargo ", ">>>", "# jupyter_server_config.py", "import pandas, pyarrow.parquet, json")


def blocks(page: Path) -> list[tuple[int, str]]:
    """The blocks of Python of a page, fenced or indented, each with its line."""
    found: list[tuple[int, str]] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        first = at
        if lines[at].startswith("```"):
            at = next(end for end in range(at + 1, len(lines)) if lines[end].startswith("```"))
            if lines[first] == "```python":
                found.append((first + 2, "\n".join(lines[first + 1 : at])))
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while at + 1 < len(lines) and (lines[at + 1].startswith("    ") or not lines[at + 1].strip()):
                at += 1
            found.append((first + 1, re.sub("(?m)^ {4}", "", "\n".join(lines[first : at + 1])).rstrip()))
        at += 1
    return [(line, code) for line, code in found if not code.startswith(SHELL)]


def run(page: str, names: dict[str, Any], *, n: int) -> None:
    """Runs the blocks of a page, of which there are `n`, in the current folder."""
    found = blocks(ROOT / page)
    assert len(found) == n, [code.splitlines()[0] for _, code in found]
    for line, code in found:
        try:
            exec(compile("\n" * (line - 1) + code, page, "exec"), names)
        except Exception as error:
            raise AssertionError(f"{page}, from line {line}: {type(error).__name__}: {error}\n\n{code}") from error


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are written, with a model in `DIR`."""
    (tmp_path / "DIR").symlink_to(TRAINED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def axes() -> Any:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    yield pyplot.subplots()[1]
    pyplot.close("all")


def tokenizer() -> Any:
    """Words of the sentences, for models of transformers."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<s>", "</s>", "<unk>", *dict.fromkeys(re.findall(r"\w+|\W", " ".join(SENTENCES)))]
    raw = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def cache() -> dict[str, Any]:
    """What TransformerLens keeps of a run, and its tokens."""
    pattern = np.tril(np.ones((1, 2, 4, 4), np.float32))
    return {"cache": {"blocks.0.attn.hook_pattern": pattern / pattern.sum(-1, keepdims=True)}, "tokens": list("abcd")}


@pytest.fixture
def names() -> dict[str, Any]:
    """What a reader has already: an encoder-decoder with its tokenizer, and texts."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tok = tokenizer()
    from capture_tools import SEQ2SEQ, made

    batches = []
    for _ in range(2):
        batch = tok(SENTENCES, return_tensors="pt", padding=True, return_token_type_ids=False)
        batches.append({**batch, "labels": batch["input_ids"]})
    given: dict[str, Any] = {"attlas": attlas, "torch": torch, "tok": tok, "batches": batches, "texts": SENTENCES * 5}
    sizes = {"encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 8, "decoder_attention_heads": 8}
    given["model"] = made("BartForConditionalGeneration", **{**SEQ2SEQ, **sizes})
    return given


@pytest.fixture
def rec() -> attlas.Recording:
    return attlas.record("The cat sat on the mat.")


def test_the_lines_of_the_readme(names: dict[str, Any], folder: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    [code] = [code for _, code in blocks(ROOT / "README.md") if code.startswith("rec = attlas.record")]
    exec(code, names)
    assert (folder / "a.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_of_the_package(names: dict[str, Any], axes: Any, folder: Path) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    given = {"ax": axes, "np": np, **names}
    run("docs/python.md", given, n=4)
    assert given["view"].selection["layer"] == 1


def test_the_page_of_captures(names: dict[str, Any], folder: Path) -> None:
    run("docs/capture.md", {**names, **cache()}, n=1)


def test_the_page_of_replacements(rec: attlas.Recording, axes: Any, folder: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    attention, tokens = rec["encoder", 0].weights()[0], rec.map("encoder", 0, 0).keys
    other = attlas.record("The dog sat on the mat.")
    given = {"rec": rec, "ax": axes, "attlas": attlas, "attention": attention, "tokens": tokens, "a": rec, "b": other}
    run("docs/python/replacements.md", given, n=5)


def test_the_page_of_explanations(folder: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    given: dict[str, Any] = {}
    run("docs/python/explanations.md", given, n=4)
    assert given["effects"].ranked()[0]["kind"] == "cross" and (folder / "alti.pdf").exists()


def test_the_page_of_surveys_where_it_is_about_python(folder: Path) -> None:
    [code] = [code for _, code in blocks(ROOT / "docs" / "survey.md") if code.startswith("import attlas")]
    exec(code, {"texts": SENTENCES * 5})
    assert (folder / "survey.parquet").read_bytes().startswith(b"PAR1")


def test_the_readme_of_the_package(folder: Path) -> None:
    run("crates/attlas-python/README.md", {}, n=1)
    assert (folder / "heads.pdf").exists() and (folder / "atlas.html").exists()
