"""Small JPEG files of every kind that is read, and the pixels that Pillow (libjpeg-turbo) makes of them.

    python tools/reference/jpegs.py

Writes crates/attlas-model/tests/data/jpegs: the files, and expected.json with width, height and the SHA-256 of the pixels
`[height, width, 3]` of each, after `convert("RGB")`. Pillow writes three kinds of subsampling; the others are made of those by
changing the frame header so that the same blocks make another picture.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

OUTPUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/jpegs"


def main() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for file in OUTPUT.glob("*.jpg"):
        file.unlink()
    expected = {}
    for name, data in files().items():
        (OUTPUT / f"{name}.jpg").write_bytes(data)
        pixels = Image.open(io.BytesIO(data)).convert("RGB")
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        expected[f"{name}.jpg"] = {"width": pixels.width, "height": pixels.height, "sha256": digest}
    (OUTPUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{len(expected)} files, {sum(file.stat().st_size for file in OUTPUT.iterdir()) / 1000:.0f} kB")


def files() -> dict[str, bytes]:
    """The files by their names."""
    made = {}
    for number, (kind, settings) in enumerate(
        {
            "baseline": {"quality": 75},
            "progressive": {"quality": 60, "progressive": True},
            "restarts": {"quality": 30, "restart_marker_blocks": 3, "optimize": True},
            "progressive-restarts": {"quality": 95, "progressive": True, "restart_marker_rows": 1},
        }.items()
    ):
        odd = [(41, 31), (57, 23), (33, 49), (50, 18)][number]
        for subsampling, name in enumerate(["444", "422", "420"]):
            made[f"{name}-{kind}"] = encoded(picture(*odd), subsampling=subsampling, **settings)
        # two blocks side by side become two, four in a square become four in a row or a column
        two = encoded(picture(64, 32), subsampling=1, **settings)
        four = encoded(picture(64, 32), subsampling=2, **settings)
        made[f"440-{kind}"] = with_frame(two, (32 - 3 * number, 64 - 5), [(1, 2), (1, 1), (1, 1)])
        made[f"411-{kind}"] = with_frame(four, (128 - 7, 16 - 2 * number), [(4, 1), (1, 1), (1, 1)])
        made[f"441-{kind}"] = with_frame(four, (32 - 1, 64 - 3 * number), [(1, 4), (1, 1), (1, 1)])
        made[f"gray-{kind}"] = encoded(picture(*odd).convert("L"), **settings)
        made[f"cmyk-{kind}"] = encoded(picture(*odd).convert("CMYK"), **settings)
    made["ycck"] = with_frame(made["cmyk-baseline"], (41, 31), [(1, 1)] * 4, adobe=2)
    four = encoded(picture(64, 32).convert("CMYK"), subsampling=2)
    made["ycck-420"] = with_frame(four, (61, 29), [(2, 2)] + [(1, 1)] * 3, adobe=2)
    made["rgb"] = encoded(picture(41, 31), keep_rgb=True)
    for width, height in [(1, 1), (2, 3), (3, 2), (4, 5), (5, 4), (6, 1), (1, 9)]:
        for subsampling, name in enumerate(["422", "420"], 1):
            made[f"{name}-{width}x{height}"] = encoded(picture(width, height), subsampling=subsampling, quality=90)
    return made


def picture(width: int, height: int) -> Image.Image:
    """Waves, edges and noise up to both ends of the range."""
    generator = np.random.default_rng(width * 100 + height)
    y, x = np.mgrid[:height, :width]
    colours = np.stack([127 + 160 * np.sin(x / 5 + y / 9), 255 * ((x // 7 + y // 6) % 2), (9 * x + 3 * y) % 256], -1)
    noisy = colours + generator.normal(0, 12, colours.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **settings)
    return file.getvalue()


def with_frame(data: bytes, size: tuple[int, int], sampling: list[tuple[int, int]], adobe: int | None = None) -> bytes:
    """The file with another size and other sampling factors in its frame header, and another transform in Adobe's segment."""
    changed = bytearray(data)
    at = 2
    while changed[at + 1] != 0xDA:
        body = at + 4
        if changed[at + 1] in (0xC0, 0xC1, 0xC2):
            changed[body + 1 : body + 5] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
            for component, (across, down) in enumerate(sampling):
                changed[body + 7 + 3 * component] = 16 * across + down
        if changed[at + 1] == 0xEE and adobe is not None:
            changed[body + 11] = adobe
        at += 2 + int.from_bytes(changed[at + 2 : at + 4], "big")
    return bytes(changed)


if __name__ == "__main__":
    main()
