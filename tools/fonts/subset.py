"""Cuts the fonts that figures draw with down to what they need.

    apt-get download fonts-noto-core fonts-nanum fonts-droid-fallback fonts-dejavu-core   (Debian 12; unpack with dpkg -x FILE SOURCES)
    npm pack @expo-google-fonts/noto-emoji                                     (0.4.7; unpack into SOURCES)
    pip install fonttools==4.68.0
    python tools/fonts/subset.py SOURCES crates/attlas/assets/fonts

Hints, names and the kerning of unshaped scripts are dropped; what a script needs to be shaped stays.
"""

import sys
import zlib
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

NOTO = "usr/share/fonts/truetype/noto/NotoSans{}-Regular.ttf"
SHAPING = ["ccmp", "locl", "mark", "mkmk", "init", "medi", "fina", "isol", "rlig", "liga", "calt", "curs",
           "nukt", "akhn", "rphf", "blwf", "half", "pstf", "vatu", "cjct", "pres", "abvs", "blws", "psts", "haln",
           "rkrf", "pref", "abvf", "abvm", "blwm", "dist", "cfar"]
SYMBOLS = [*range(0x2000, 0x2070), *range(0x2190, 0x2800), *range(0x2900, 0x2C00), *range(0x2200, 0x2300), 0x2423]


def encoded_in(*codecs):
    """The characters of the BMP that one of the old national encodings has: the common ones."""
    return {code for codec in codecs for code in range(0x80, 0x10000) if encodes(chr(code), codec)}


def encodes(character, codec):
    try:
        return bool(character.encode(codec))
    except UnicodeEncodeError:
        return False


def big5_level_one():
    """The 5,401 frequent characters of Big5."""
    return {code for code in range(0x4E00, 0xA000) if encodes(chr(code), "big5") and chr(code).encode("big5")[0] < 0xC9}


CJK = encoded_in("gb2312", "euc_jp", "euc_kr") | big5_level_one() | set(range(0x3000, 0x3200)) | set(range(0xFF00, 0xFFF0))

HANGUL = [*range(0x3130, 0x3190), *range(0xAC00, 0xD7A4)]

# name: (file under SOURCES, characters to keep or None for all, layout features to keep)
FONTS = {
    "sans": (NOTO.format(""), None, ["ccmp", "mark", "mkmk"]),
    "arabic": (NOTO.format("Arabic"), [*range(0x600, 0x8FF), 0x20, 0x200C, 0x200D, 0x25CC], SHAPING),
    "hebrew": (NOTO.format("Hebrew"), None, SHAPING),
    "devanagari": (NOTO.format("Devanagari"), None, SHAPING),
    "bengali": (NOTO.format("Bengali"), None, SHAPING),
    "tamil": (NOTO.format("Tamil"), None, SHAPING),
    "telugu": (NOTO.format("Telugu"), None, SHAPING),
    "thai": (NOTO.format("Thai"), None, SHAPING),
    "georgian": (NOTO.format("Georgian"), None, []),
    "armenian": (NOTO.format("Armenian"), None, []),
    "symbols": ("usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", SYMBOLS, []),
    "controls": (NOTO.format("Symbols2"), [*range(0x2300, 0x2427)], []),
    "hangul": ("usr/share/fonts/truetype/nanum/NanumGothic.ttf", HANGUL, []),
    "emoji": ("package/400Regular/NotoEmoji_400Regular.ttf", None, ["ccmp", "liga", "rlig"]),
    "cjk": ("usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf", sorted(CJK), []),
}


# wanted by nearly every picture, so they lie in the programme as they are
OFTEN = ["sans", "symbols"]


def cut(source, characters, features, target):
    font = TTFont(source)
    options = subset.Options(
        layout_features=features, hinting=False, name_IDs=[0, 1, 2, 13, 14], notdef_outline=True, glyph_names=False,
        legacy_cmap=False, symbol_cmap=False, recalc_timestamp=False, legacy_kern=False,
        drop_tables=["DSIG", "FFTM", "vhea", "vmtx", "BASE", "JSTF", "STAT", "MATH", "meta", "kern", "LTSH", "VDMX", "hdmx", "gasp"],
    )
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=characters if characters is not None else font.getBestCmap())
    cutter.subset(font)
    if target.stem == "hangul":  # its licence reserves the name for the whole font
        for record in font["name"].names:
            if record.nameID == 1:
                record.string = "Attlas Hangul"
    font.save(target)
    print(f"{target.name}: {len(font.getBestCmap())} characters, {font['maxp'].numGlyphs} glyphs, {target.stat().st_size} bytes")


def main(sources, target):
    for name, (file, characters, features) in FONTS.items():
        font = Path(target) / f"{name}.ttf"
        cut(Path(sources) / file, characters, features, font)
        if font.stat().st_size > 120_000 and name not in OFTEN:  # these lie in the programme deflated
            font.with_suffix(".ttf.z").write_bytes(zlib.compress(font.read_bytes(), 9))
            font.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
