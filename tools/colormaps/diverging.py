"""Makes the diverging colour map: blue, near-white in the middle, orange-brown; for numbers on both sides of 0.

Run from the repository's root with: python3 tools/colormaps/diverging.py  (the standard library is enough)
It writes crates/attlas/assets/colormaps/diverging.rgb, 255 colours of three bytes, and prints the line that
web/src/colour.ts holds, and how far apart the colours are to people who see two kinds of cones.

Each arm runs through CIELAB at one hue: lightness falls in a straight line from the middle, chroma rises and levels off,
both arms alike, and colours stand at equal distances along it. So the strength of a colour says the size of a number,
its hue the sign, and 0 is the middle, entry 127, without any hue.
"""

import math
import pathlib

N_ARM = 127  # colours of an arm, the middle not counted
LIGHTNESS = (97.0, 30.0)  # of the middle, of the ends
HUES = (280.0, 58.0)  # blue, orange; degrees in CIELAB
WHITE = (0.95047, 1.0, 1.08883)  # D65
MISSING = (120, 255, 0)  # for what is no number; also in crates/attlas/src/figure/colormap.rs


def lab_to_linear(lightness, a, b):
    y = (lightness + 16) / 116
    def inverse(t):
        return t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)
    x, y, z = (white * inverse(t) for white, t in zip(WHITE, (y + a / 500, y, y - b / 200)))
    return (
        3.2404542 * x - 1.5371385 * y - 0.4985314 * z,
        -0.9692660 * x + 1.8760108 * y + 0.0415560 * z,
        0.0556434 * x - 0.2040259 * y + 1.0572252 * z,
    )


def encoded(linear):
    value = 1.055 * linear ** (1 / 2.4) - 0.055 if linear > 0.0031308 else 12.92 * linear
    return round(255 * value)


def decoded(value):
    value /= 255
    return ((value + 0.055) / 1.055) ** 2.4 if value > 0.04045 else value / 12.92


def linear_to_lab(red, green, blue):
    xyz = (
        0.4124564 * red + 0.3575761 * green + 0.1804375 * blue,
        0.2126729 * red + 0.7151522 * green + 0.0721750 * blue,
        0.0193339 * red + 0.1191920 * green + 0.9503041 * blue,
    )
    def forward(t):
        return t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29
    x, y, z = (forward(value / white) for value, white in zip(xyz, WHITE))
    return (116 * y - 16, 500 * (x - y), 200 * (y - z))


def chroma(t):
    """From 0 in the middle (t = 0), as fast as blue can, to its largest at three quarters, and less at the dark end."""
    return 95.0 * t * (1 - 0.6 * t**2.6)


def arm(hue):
    """The arm's colours in CIELAB, from the one next to the middle to its end, equally far apart."""
    n = 20_000
    path = []
    for i in range(n + 1):
        t = i / n
        lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * t
        angle = math.radians(hue)
        path.append((lightness, chroma(t) * math.cos(angle), chroma(t) * math.sin(angle)))
    lengths = [0.0]
    for before, after in zip(path, path[1:]):
        lengths.append(lengths[-1] + math.dist(before, after))
    colours, at = [], 0
    for step in range(1, N_ARM + 1):
        while at < n and lengths[at] < lengths[-1] * step / N_ARM:
            at += 1
        colours.append(path[at])
    return colours


def srgb(lab):
    linear = lab_to_linear(*lab)
    assert all(-0.002 <= channel <= 1.002 for channel in linear), f"{lab} is outside sRGB: {linear}"
    return tuple(encoded(min(1.0, max(0.0, channel))) for channel in linear)


# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB
DEFICIENCIES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no L cones": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no M cones": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no S cones": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(colour, matrix):
    linear = [decoded(value) for value in colour]
    return linear_to_lab(*(min(1.0, max(0.0, sum(m * v for m, v in zip(row, linear)))) for row in matrix))


def main():
    blue, orange = (arm(hue) for hue in HUES)
    colours = [srgb(lab) for lab in [*reversed(blue), (LIGHTNESS[0], 0.0, 0.0), *orange]]
    assert len(colours) == 2 * N_ARM + 1 and len(set(colours[N_ARM])) == 1
    path = pathlib.Path("crates/attlas/assets/colormaps/diverging.rgb")
    path.write_bytes(bytes(value for colour in colours for value in colour))
    print("".join(f"{value:02x}" for colour in colours for value in colour))
    for name, matrix in DEFICIENCIES.items():
        labs = [seen(colour, matrix) for colour in colours]
        apart = [math.dist(labs[N_ARM - step], labs[N_ARM + step]) for step in (16, 32, 64, 127)]
        steps = [math.dist(a, b) for a, b in zip(labs[::8], labs[8::8])]
        missing = min(math.dist(seen(MISSING, matrix), lab) for lab in labs)
        print(
            f"{name}: −x and x apart by", ", ".join(f"{distance:.0f}" for distance in apart),
            f"at 1/8, 1/4, 1/2 and all; 8 steps {min(steps):.1f} to {max(steps):.1f}; the missing from all {missing:.0f}",
        )


main()
