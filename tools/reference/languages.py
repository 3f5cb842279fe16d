"""Multilingual models in miniature, with what transformers makes of a source and a target language.

    python tools/reference/languages.py

Each folder in crates/attlas-model/tests/data/languages has config.json, model.safetensors and tokenizer settings; the
SentencePiece model is tests/data/tokenizers/fairseq.model, which the test puts beside them under the names that
expected.json gives. NLLB has a tokenizer.json with the language behind the text, as the hub's files still have. A Marian
has tags for what it writes only, in front of what it reads.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
import transformers as t
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right as shift_right
from transformers.models.mbart.modeling_mbart import shift_tokens_right as shift_mbart

DATA = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data"
SPM = DATA / "tokenizers/fairseq.model"
SIZES = dict(
    d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=64, scale_embedding=True,
)  # fmt: skip
MARIAN_SPM = ["source.spm", "target.spm"]
SOURCE, TARGET = "The children play in the garden.", "Les enfants jouent dans le jardin."


def pieces() -> list[str]:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(SPM))
    return [model.id_to_piece(index) for index in range(model.get_piece_size())]


def m2m(folder: Path):
    vocab = ["<s>", "<pad>", "</s>", "<unk>"] + pieces()[3:]
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(vocab)}, ensure_ascii=False))
    shutil.copy(SPM, folder / "sentencepiece.bpe.model")
    config = {"tokenizer_class": "M2M100Tokenizer", "src_lang": "en"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return t.M2M100Tokenizer.from_pretrained(folder), t.M2M100ForConditionalGeneration, t.M2M100Config, ("fr", "de")


def mbart(folder: Path, fifty: bool = False):
    shutil.copy(SPM, folder / "sentencepiece.bpe.model")
    kind = t.MBart50Tokenizer if fifty else t.MBartTokenizer
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind.__name__}))
    (folder / "config.json").write_text(json.dumps({"model_type": "mbart"}))
    return kind.from_pretrained(folder), t.MBartForConditionalGeneration, t.MBartConfig, ("fr_XX", "de_DE")


def nllb(folder: Path):
    vocab = {piece: index for index, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyzTL.", "▁t", "▁l", "en"])}
    merges = [("▁", "t"), ("▁", "l"), ("e", "n")]
    languages = ["eng_Latn", "fra_Latn", "deu_Latn", "zho_Hans", "zho_Hant"]
    tokenizer = t.NllbTokenizer(vocab=vocab, merges=merges, additional_special_tokens=languages, legacy_behaviour=True)
    tokenizer.save_pretrained(folder)  # the template is the old one …
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"legacy_behaviour": False}, indent=1))  # … the class is not
    return t.NllbTokenizer.from_pretrained(folder), t.M2M100ForConditionalGeneration, t.M2M100Config, ("fra_Latn", "deu_Latn")


def marian(folder: Path):
    vocab = ["</s>", "<unk>", *pieces()[3:], ">>fra<<", ">>deu<<", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(vocab)}, ensure_ascii=False))
    for name in MARIAN_SPM:
        shutil.copy(SPM, folder / name)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    return t.MarianTokenizer.from_pretrained(folder), t.MarianMTModel, t.MarianConfig, (None, "fra")


def main() -> None:
    t.logging.set_verbosity_error()
    torch.manual_seed(0)
    shutil.rmtree(DATA / "languages", ignore_errors=True)
    cases = {"m2m": m2m, "mbart": mbart, "mbart50": lambda folder: mbart(folder, fifty=True), "nllb": nllb, "marian": marian}
    expected = {name: make(name, prepare) for name, prepare in cases.items()}
    (DATA / "languages/expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def make(name: str, prepare) -> dict:
    folder = DATA / "languages" / name
    folder.mkdir(parents=True)
    tokenizer, model_class, config_class, (source, target) = prepare(folder)
    writes_tag, starts_with_tag = name != "marian", name == "mbart"
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    start = end if writes_tag else pad
    config = config_class(
        vocab_size=max(tokenizer.get_vocab().values(), default=0) + (110 if writes_tag else 1), **SIZES, pad_token_id=pad, bos_token_id=0,
        eos_token_id=end, forced_eos_token_id=end, decoder_start_token_id=None if starts_with_tag else start,
    )  # fmt: skip
    model = model_class(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    model = model_class.from_pretrained(folder, dtype=torch.float64).eval()
    begin = {}
    if writes_tag:
        tokenizer.src_lang, tokenizer.tgt_lang = source, target
        tag = tokenizer.convert_tokens_to_ids(f"__{target}__" if name == "m2m" else target)
        begin = {"decoder_start_token_id": tag} if starts_with_tag else {"forced_bos_token_id": tag}
    both = tokenizer(SOURCE if writes_tag else f">>{target}<< {SOURCE}", text_target=TARGET, return_tensors="pt")
    labels = both.pop("labels")
    assert not writes_tag or tag in labels[0].tolist()
    is_mbart = config.model_type == "mbart"
    shifted = shift_mbart(labels, pad) if is_mbart else shift_right(labels, pad, start)
    generated = model.generate(**both, max_new_tokens=6, num_beams=1, do_sample=False, **begin)
    spm = [path.name for path in [folder / "sentencepiece.bpe.model", *map(folder.joinpath, MARIAN_SPM)] if path.exists()]
    for path in [*spm, "README.md"]:
        (folder / path).unlink(missing_ok=True)
    return {
        "from": source,
        "to": target,
        "sentencepiece": spm,
        "source_text": SOURCE,
        "target_text": TARGET,
        "source": both["input_ids"][0].tolist(),
        "target": shifted[0].tolist(),
        "generated": generated[0].tolist(),
        "end": end,
        "transformers": t.__version__,
    }


if __name__ == "__main__":
    main()
