#!/usr/bin/env python3
"""Corpus BLEU of made-up sentences, as sacrebleu computes it.

    python tools/train/bleu.py crates/attlas-train/tests/golden/bleu.json

Written for sacrebleu 2.x with its defaults (13a, exp smoothing, mixed case), one to three references per sentence.
"""

import json
import sys

import sacrebleu

CORPORA = {
    "translations": [
        ("Le chat s'assit sur le tapis.", ["Le chat s'est assis sur le tapis.", "Le chat était assis sur le tapis."]),
        ("Je ne sais pas où sont mes clés.", ["Je ne sais pas où sont mes clés.", "J'ignore où sont mes clefs."]),
        ("Elle lui donna une pomme rouge hier.", ["Elle lui a donné une pomme rouge hier."]),
        ("Combien ça coûte : 3.50 € ou 1,200 $ ?", ["Combien cela coûte-t-il : 3,50 € ou 1200 $ ?", "Ça coûte combien ?", "C'est combien : 3.50 € ?"]),
        ("« Non ! », dit-il.", ["« Non », a-t-il dit."]),
    ],
    "no_quadruple_matches": [("un deux trois x", ["un deux trois quatre cinq"]), ("a b c d", ["a x c y"])],
    "punctuation": [
        ("A-B 1990-2000 (x,y) 3.14, 1,000. ... &quot;q&quot; a/b c:d e;f $5 50%", ["A-B 1990 - 2000 (x, y) 3.14 , 1,000. ... \"q\" a / b c:d e;f $5 50 %"]),
        ("l'été, 5-6 ans.", ["l'été, 5 à 6 ans."]),
        (".5 and 5. and ,7 7, x.5 5.x", [".5 and 5. and ,7 7, x . 5 5 . x"]),
    ],
}


def main(path):
    golden = {}
    for name, corpus in CORPORA.items():
        most = max(len(references) for _, references in corpus)
        streams = [[refs[i] if i < len(refs) else None for _, refs in corpus] for i in range(most)]
        score = sacrebleu.corpus_bleu([hypothesis for hypothesis, _ in corpus], streams).score
        sentences = [{"hypothesis": hypothesis, "references": references} for hypothesis, references in corpus]
        golden[name] = {"sentences": sentences, "bleu": score}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
