"""Images and sounds, and what transformers' processors make of them.

    python tools/reference/senses.py

Writes crates/attlas-model/tests/data/senses: small images and sounds (synthetic, own work), a preprocessor_config.json per
processor, and expected.safetensors with an array `PROCESSOR.FILE`, `[3, height, width]` of an image or `[n_mels, n_frames]` of
a sound. The image processors are the Pillow ones; the spectrogram is NumPy's, in f64.
"""

import json
import wave
from pathlib import Path

import numpy as np
import transformers as t
from PIL import Image, ImageOps
from safetensors.numpy import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/senses"
RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def main() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    expected = {}
    images = write_images()
    for name, processor in image_processors().items():
        write_config(name, processor)
        for image in images if name in ("plain", "clip") else images[:1]:
            pixels = ImageOps.exif_transpose(Image.open(OUTPUT / image)).convert("RGB")
            prepared = processor(pixels, return_tensors="np")
            values = prepared["pixel_values"][0]
            if "spatial_shapes" in prepared:
                values = joined(values, *prepared["spatial_shapes"][0])
            if "image_grid_thw" in prepared:
                values = unmerged(prepared["pixel_values"], *prepared["image_grid_thw"][0][1:], processor.merge_size, processor.temporal_patch_size)
            expected[f"{name}.{image}"] = values.astype(np.float32)
    sounds = write_sounds()
    for name, listener in listeners().items():
        write_config(name, listener)
        for sound, samples in sounds.items():
            padded = np.zeros(listener.n_samples)
            padded[: min(len(samples), listener.n_samples)] = samples[: listener.n_samples]
            expected[f"{name}.{sound}"] = listener._np_extract_fbank_features(padded[None], "cpu")[0].astype(np.float32)
    save_file(expected, OUTPUT / "expected.safetensors")
    print(f"{sum(file.stat().st_size for file in OUTPUT.iterdir()) / 1000:.0f} kB")


def joined(patches: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """An image of its patches, whose pixels have their colours together, without padding. Shape [3, height, width]."""
    side = int((patches.shape[1] // 3) ** 0.5)
    patches = patches[: n_rows * n_columns].reshape(n_rows, n_columns, side, side, 3)
    return np.ascontiguousarray(patches.transpose(4, 0, 2, 1, 3)).reshape(3, n_rows * side, n_columns * side)


def unmerged(patches: np.ndarray, n_rows: int, n_columns: int, merged: int, n_frames: int) -> np.ndarray:
    """An image of its patches, square of merged ones by square, of its first frame. Shape [3, height, width]."""
    side = int((patches.shape[1] // (3 * n_frames)) ** 0.5)
    patches = patches.reshape(n_rows // merged, n_columns // merged, merged, merged, 3, n_frames, side, side)[:, :, :, :, :, 0]
    return np.ascontiguousarray(patches.transpose(4, 0, 2, 5, 1, 3, 6)).reshape(3, n_rows * side, n_columns * side)


def write_config(name: str, processor) -> None:
    config = {key: value for key, value in processor.to_dict().items() if value is not None and key != "mel_filters"}
    (OUTPUT / f"{name}.json").write_text(json.dumps(config, indent=1, sort_keys=True, default=int) + "\n")


def image_processors() -> dict:
    vit, clip, bit = t.ViTImageProcessorPil, t.CLIPImageProcessorPil, t.BitImageProcessorPil
    processors = {
        f"vit-{name}": vit(size={"height": 12, "width": 15}, resample=number) for name, number in RESAMPLE.items()
    }
    return processors | {
        "vit-larger": vit(size={"height": 44, "width": 50}, resample=3),
        "clip": clip(size={"shortest_edge": 16}, crop_size={"height": 12, "width": 14}, image_mean=MEAN, image_std=DEVIATION),
        "dinov2": bit(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}, resample=3),
        "siglip2": t.Siglip2ImageProcessorPil(patch_size=4, max_num_patches=20),
        "qwen2-vl": t.Qwen2VLImageProcessorPil(patch_size=3, merge_size=2, size={"shortest_edge": 36, "longest_edge": 800}),
        "qwen2-vl-larger": t.Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size={"shortest_edge": 3000, "longest_edge": 9000}),
        "qwen2-vl-near": t.Qwen2VLImageProcessorPil(patch_size=2, merge_size=2, size={"shortest_edge": 36, "longest_edge": 9000}),
        "detr": t.DetrImageProcessorPil(size={"shortest_edge": 15, "longest_edge": 17}),
        "detr-wide": t.DetrImageProcessorPil(size={"shortest_edge": 15, "longest_edge": 100}),
        "plain": vit(do_resize=False, do_normalize=False),
    }


def listeners() -> dict:
    return {
        "whisper": t.WhisperFeatureExtractor(feature_size=80, chunk_length=2),
        "whisper-v3": t.WhisperFeatureExtractor(feature_size=128, chunk_length=1),
    }


def write_images() -> list[str]:
    """A smooth picture with edges and noise, in several kinds of file."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:31, :41]
    picture = np.stack([127 + 120 * np.sin(x / 5 + y / 9), 255 * ((x // 7 + y // 6) % 2), 6 * x + 0 * y], -1)
    picture = np.clip(picture + generator.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(picture)
    image.save(OUTPUT / "rgb.png")
    alpha = Image.fromarray(np.tile((np.arange(41) * 6).astype(np.uint8), (31, 1)))
    transparent = image.copy()
    transparent.putalpha(alpha)
    transparent.save(OUTPUT / "transparent.png")
    image.convert("L").save(OUTPUT / "gray.png")
    image.quantize(16).save(OUTPUT / "palette.png")
    image.save(OUTPUT / "photo.jpg", quality=92, subsampling=0)
    image.save(OUTPUT / "subsampled.jpg", quality=80, subsampling=2, progressive=True)
    exif = Image.Exif()
    exif[274] = 6  # held on its side
    image.save(OUTPUT / "turned.jpg", quality=92, subsampling=0, exif=exif)
    image.convert("L").save(OUTPUT / "gray.jpg", quality=92)
    return ["rgb.png", "transparent.png", "gray.png", "palette.png", "photo.jpg", "subsampled.jpg", "turned.jpg", "gray.jpg"]


def write_sounds() -> dict[str, np.ndarray]:
    """A tone that rises, with noise; in two channels; longer than what is listened to. As samples between −1 and 1."""
    generator = np.random.default_rng(6)
    time = np.arange(20_000) / 16_000
    tone = 0.4 * np.sin(2 * np.pi * (200 + 1500 * time) * time) + generator.normal(0, 0.01, time.shape)
    mono = np.round(tone * 32767).astype("<i2")
    write_wave("mono.wav", mono.tobytes(), 1, 2)
    stereo = np.round(np.stack([tone[:9000], 0.5 * tone[9000:18000]], -1) * 8388607).astype("<i4")
    write_wave("stereo24.wav", b"".join(value.tobytes()[:3] for value in stereo.ravel()), 2, 3)
    return {"mono.wav": mono / 32768, "stereo24.wav": stereo.mean(-1) / 8388608}


def write_wave(name: str, frames: bytes, n_channels: int, width: int) -> None:
    with wave.open(str(OUTPUT / name), "wb") as file:
        file.setnchannels(n_channels)
        file.setsampwidth(width)
        file.setframerate(16_000)
        file.writeframes(frames)


if __name__ == "__main__":
    main()
