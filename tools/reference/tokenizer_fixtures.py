"""Small tokenizers of each file form, and the ids that transformers gives for a page of hard text.

    python tools/reference/tokenizer_fixtures.py

Writes crates/attlas-model/tests/data/tokenizers/. Needs the packages of requirements.txt.
The vocabularies are trained on the page itself and a few sentences, so that they stay small; part of the page is held
back, so that unknown characters occur.
"""

import importlib
import itertools
import json
import shutil
from pathlib import Path


import sentencepiece as spm
import tokenizers as tk
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import models, normalizers, pre_tokenizers, trainers

OUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/tokenizers"

# Twelve scripts and more, then what breaks tokenizers: marks, joiners, white space, controls, compatibility forms.
PAGE = [
    "The cat sat on the mat; it didn't move an inch, did it?",
    "She gave him a red apple yesterday, and 3.14159 reasons (or 1,000) to stay-at-home.",
    "L'été dernier, à Noël, la garçonne naïve mangea des œufs brûlés — «où ça?»",
    "Größenwahn und Straßenbahn: ÄÖÜ äöü ẞ",
    "İstanbul'da ılık bir gün; Ðorđe pije čaj, zażółć gęślą jaźń",
    "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, ΐ ΰ",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "עטלף אבק נס דרך מזגן שהתפוצץ כי חם",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण",
    "আমি বাংলায় গান গাই",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "我能吞下玻璃而不伤身体。北京，上海！",
    "いろはにほへと ちりぬるを カタカナ ｶﾀｶﾅ",
    "다람쥐 헌 쳇바퀴에 타고파",
    "ქართული ანბანი",
    "Բել դղյակի ձախ ժամն",
    "ሰላም ለዓለም",
    "யாமறிந்த மொழிகளிலே",
    "emoji 🙂👩‍👩‍👧‍👦 🇫🇷 ❤️ and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
    "½ ⅓ ™ ﬁ ﬂ № ㎏ Ⅳ ﷺ ① ² ₂",
    "e\u0301 o\u0308 a\u030a\u0323 decomposed; é ö composed",
    "a\u200bb a\u200db a\u00adb a\ufeffb \u202eabc\u202c",
    "tabs\tand\nnew lines\r\nand  two  spaces   and\u00a0no-break\u3000wide\u2003em",
    "control \u0001\u0007 chars \u007f and \u0085 next",
    "  leading and trailing  ",
    "``quotes'' \"double\" 'single' “curly” ‘single’ …",
    "http://example.com/a?b=c&d=%20 user@example.org #tag @me snake_case CamelCase x+=1;",
    "\ufffd replacement",
    "",
    " ",
    "</s> <unk> [MASK] [SEP] <mask> <pad> <extra_id_0>",
    "word</s>word [MASK]. a<mask>b",
]
HELD_BACK = {10, 16, 17, 18, 19}
# What ESM's vocabulary is for, and what is no letter of it.
PROTEINS = ["MKTAYIAKQRQISFVKSHFSRQ", "M K T  A\tY\n", "mkt MKJT*AY", "MK<mask>AY <pad>", "ACGT-N.", "MK\u00e9\U0001f642A"]
PAIRS = [("The cat sat.", "Did it move?"), ("où ça?", "北京 🙂"), ("", "second"), ("first", "")]
MORE = """
The weather is fine today and the children play in the garden. Nobody knows where the keys are.
Translation models learn which words of the source sentence matter for each word of the target sentence.
Le chat est assis sur le tapis. Les enfants jouent dans le jardin. Personne ne sait où sont les clefs.
Every head of every layer looks somewhere; some look at the previous token, some at punctuation, some nowhere.
""".strip().split("\n")
CORPUS = [line for index, line in enumerate(PAGE[:-2]) if index not in HELD_BACK and line.strip()] * 3 + MORE * 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def folder(name, files):
    """A fresh folder with these files; a value is text, JSON, or a file to copy."""
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for file, content in files.items():
        if isinstance(content, Path):
            shutil.copy(content, path / file)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            (path / file).write_text(text, encoding="utf-8")
    return path


def wordpiece():
    tokenizer = tk.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=900, special_tokens=SPECIAL))
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return "".join(f"{piece}\n" for piece, _ in vocab)


def byte_level(special):
    tokenizer = tk.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in state["merges"])
    return state["vocab"], merges


def sentencepiece(name, **options):
    corpus = OUT / "corpus.txt"
    corpus.write_text("\n".join(CORPUS), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(OUT / name), character_coverage=0.999, num_threads=1, minloglevel=2, **options
    )
    corpus.unlink()
    (OUT / f"{name}.vocab").unlink()
    path = OUT / f"{name}.model"
    model = ModelProto.FromString(path.read_bytes())
    del model.trainer_spec.input[:]  # the folders of the machine it was trained on
    model.trainer_spec.ClearField("model_prefix")
    path.write_bytes(model.SerializeToString())
    return path


def expected(path, class_name, sub=None, target=False, page=PAGE, pairs=PAIRS, **options):
    """Ids, and character offsets where the class has them, of the page and the pairs."""
    cls = getattr(importlib.import_module("transformers"), class_name)
    tokenizer = cls.from_pretrained(path, **options)
    cases = []
    for text in page:
        encoded = tokenizer(text_target=text) if target else tokenizer(text)
        cases.append({"text": text, "ids": encoded["input_ids"]})
    for text, pair in [] if target else pairs:
        encoded = tokenizer(text, pair, return_token_type_ids=True)
        cases.append({"text": text, "pair": pair, "ids": encoded["input_ids"], "segments": encoded["token_type_ids"]})
    return {"class": class_name, "cases": cases}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    unigram = sentencepiece("unigram", vocab_size=700, model_type="unigram", hard_vocab_limit=False,
                            pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    fairseq = sentencepiece("fairseq", vocab_size=700, model_type="unigram", hard_vocab_limit=False,
                            normalization_rule_name="identity", unk_id=0, bos_id=1, eos_id=2)
    bpe = sentencepiece("bpe", vocab_size=900, model_type="bpe", byte_fallback=True, add_dummy_prefix=True,
                        remove_extra_whitespaces=False, normalization_rule_name="identity")
    results = {}
    vocab_txt = wordpiece()
    bert = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    results["bert"] = expected(folder("bert", {"vocab.txt": vocab_txt, "tokenizer_config.json": bert}), "BertTokenizer")
    cased = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False}
    path = folder("bert-cased", {"vocab.txt": vocab_txt, "tokenizer_config.json": cased})
    results["bert-cased"] = expected(path, "BertTokenizer")
    vocab, merges = byte_level(["<|endoftext|>"])
    config = {"model_type": "gpt2"}
    path = folder("gpt2", {"vocab.json": vocab, "merges.txt": merges, "config.json": config})
    results["gpt2"] = expected(path, "GPT2Tokenizer")
    vocab, merges = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    config = {"model_type": "roberta"}
    path = folder("roberta", {"vocab.json": vocab, "merges.txt": merges, "config.json": config})
    results["roberta"] = expected(path, "RobertaTokenizer")
    path = folder("t5", {"spiece.model": unigram, "config.json": {"model_type": "t5"}})
    results["t5"] = expected(path, "T5Tokenizer")
    path = folder("llama", {"tokenizer.model": bpe, "config.json": {"model_type": "llama"},
                            "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True,
                                                      "add_eos_token": False, "legacy": False}})
    results["llama"] = expected(path, "LlamaTokenizer")
    path = folder("xlm-roberta", {"sentencepiece.bpe.model": fairseq, "config.json": {"model_type": "xlm-roberta"}})
    results["xlm-roberta"] = expected(path, "XLMRobertaTokenizer")
    path = folder("mbart", {"sentencepiece.bpe.model": fairseq, "config.json": {"model_type": "mbart"},
                            "tokenizer_config.json": {"tokenizer_class": "MBartTokenizer"}})
    results["mbart"] = expected(path, "MBartTokenizer")
    # Marian numbers the pieces by itself; some of the model's are not in its vocabulary.
    processor = spm.SentencePieceProcessor(model_file=str(unigram))
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    pieces = [piece for index, piece in enumerate(pieces) if index > 2 and index % 37]
    vocab = {piece: index for index, piece in enumerate(["</s>", "<unk>", ">>fra<<"] + pieces[::-1] + ["<pad>"])}
    path = folder("marian", {"source.spm": unigram, "target.spm": fairseq, "vocab.json": vocab,
                             "config.json": {"model_type": "marian"},
                             "tokenizer_config.json": {"source_lang": "en", "target_lang": "fr"}})
    results["marian"] = expected(path, "MarianTokenizer")
    results["marian-target"] = expected(path, "MarianTokenizer", target=True)
    esm = {"tokenizer_class": "EsmTokenizer"}
    pieces = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>".split()
    path = folder("esm", {"vocab.txt": "\n".join(pieces), "tokenizer_config.json": esm})
    # of an empty second text, this class alone makes a second end
    results["esm"] = expected(path, "EsmTokenizer", page=PAGE + PROTEINS, pairs=PAIRS[:-1])
    # bases by sixes where they fit, else one by one; no end
    words = ["".join(word) for word in itertools.product("ACGT", repeat=3)]
    pieces = ["<unk>", "<pad>", "<mask>", "<cls>", *words, *"ATCGN"]
    esm |= {"cls_token": "<cls>", "eos_token": None, "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    path = folder("dna", {"vocab.txt": "\n".join(pieces), "tokenizer_config.json": esm})
    results["dna"] = expected(path, "EsmTokenizer", page=PAGE + ["ACGTACGTAA", "ACNGTACG TTT", "acgt"], pairs=[])
    # The same as one file.
    fast = tk.Tokenizer.from_str(getattr(importlib.import_module("transformers"), "RobertaTokenizer")
                                 .from_pretrained(OUT / "roberta").backend_tokenizer.to_str())
    folder("json", {"tokenizer.json": fast.to_str()})
    results["json"] = results["roberta"]
    # Each folder gets the model files from the top of the data folder when the test runs.
    for name in results:
        for file in ["spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "source.spm", "target.spm"]:
            (OUT / name / file).unlink(missing_ok=True)
    (OUT / "expected.json").write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
