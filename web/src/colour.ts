// Number to colour, as attlas::figure does it; view.golden.json holds the two together. Numbers that are never negative
// have viridis (Smith & van der Walt 2015, public domain), those of either sign a map of attlas's own with 0 in its middle:
// both are perceptually uniform and fit for colour-blind eyes.

export type Scale = "linear" | "log" | "row" | "rank";

/** Which numbers there can be: weights are never negative, differences and gradients may be. */
export type Signs = "positive" | "either";

/** 256 colours, rrggbb each. */
const VIRIDIS =
  "44015444025645045745055946075a46085c460a5d460b5e470d60470e61471063471164471365481467481668481769" +
  "48186a481a6c481b6d481c6e481d6f481f70482071482173482374482475482576482677482878482979472a7a472c7a" +
  "472d7b472e7c472f7d46307e46327e46337f463480453581453781453882443983443a83443b84433d84433e85423f85" +
  "4240864241864142874144874045884046883f47883f48893e49893e4a893e4c8a3d4d8a3d4e8a3c4f8a3c508b3b518b" +
  "3b528b3a538b3a548c39558c39568c38588c38598c375a8c375b8d365c8d365d8d355e8d355f8d34608d34618d33628d" +
  "33638d32648e32658e31668e31678e31688e30698e306a8e2f6b8e2f6c8e2e6d8e2e6e8e2e6f8e2d708e2d718e2c718e" +
  "2c728e2c738e2b748e2b758e2a768e2a778e2a788e29798e297a8e297b8e287c8e287d8e277e8e277f8e27808e26818e" +
  "26828e26828e25838e25848e25858e24868e24878e23888e23898e238a8d228b8d228c8d228d8d218e8d218f8d21908d" +
  "21918c20928c20928c20938c1f948c1f958b1f968b1f978b1f988b1f998a1f9a8a1e9b8a1e9c891e9d891f9e891f9f88" +
  "1fa0881fa1881fa1871fa28720a38620a48621a58521a68522a78522a88423a98324aa8325ab8225ac8226ad8127ad81" +
  "28ae8029af7f2ab07f2cb17e2db27d2eb37c2fb47c31b57b32b67a34b67935b77937b87838b9773aba763bbb753dbc74" +
  "3fbc7340bd7242be7144bf7046c06f48c16e4ac16d4cc26c4ec36b50c46a52c56954c56856c66758c7655ac8645cc863" +
  "5ec96260ca6063cb5f65cb5e67cc5c69cd5b6ccd5a6ece5870cf5773d05675d05477d1537ad1517cd2507fd34e81d34d" +
  "84d44b86d54989d5488bd6468ed64590d74393d74195d84098d83e9bd93c9dd93ba0da39a2da37a5db36a8db34aadc32" +
  "addc30b0dd2fb2dd2db5de2bb8de29bade28bddf26c0df25c2df23c5e021c8e020cae11fcde11dd0e11cd2e21bd5e21a" +
  "d8e219dae319dde318dfe318e2e418e5e419e7e419eae51aece51befe51cf1e51df4e61ef6e620f8e621fbe723fde725";

/** 255 colours from blue over near-white to orange-brown; tools/colormaps/diverging.py made them. */
const DIVERGING =
  "164781154883144985134a87124b89114c8b104d8e0f4e900e4f920e50940d51960c52990c549b0b559d0b569f0b57a2" +
  "0c59a40d5aa70e5ca90f5dab115fae1360b01562b31864b51b65b71d67ba2069bc236bbe266cc12a6ec32d70c53072c7" +
  "3374c93676cb3a78cd3d79ce407bd0437dd2467fd34980d54c82d64f84d75286d95587da5889db5a8bdc5d8cdd608ede" +
  "628fdf6591e06892e16a94e26d95e36f97e37198e4749ae5769be5789de67b9ee77d9fe77fa1e881a2e884a4e986a5e9" +
  "88a6ea8aa8ea8ca9eb8eaaeb90acec92adec94aeed96b0ed98b1ed9ab2ee9cb4ee9eb5eea0b6efa2b7efa4b9efa6baef" +
  "a7bbf0a9bdf0abbef0adbff0afc0f1b1c2f1b2c3f1b4c4f1b6c5f2b8c7f2b9c8f2bbc9f2bdcaf2bfccf2c0cdf3c2cef3" +
  "c4cff3c5d1f3c7d2f3c9d3f3cbd4f4ccd6f4ced7f4d0d8f4d1d9f4d3dbf4d5dcf4d6ddf4d8def5d9e0f5dbe1f5dde2f5" +
  "dee3f5e0e5f5e2e6f5e3e7f5e5e8f5e6eaf5e8ebf6eaecf6ebedf6edeff6eef0f6f0f1f6f2f3f6f3f4f6f5f5f6f6f6f6" +
  "f6f5f4f6f3f2f6f2f0f6f0edf6efebf6ede9f5ece7f5eae4f5e9e2f5e7e0f5e6def4e5dcf4e3d9f4e2d7f4e0d5f3dfd3" +
  "f3ddd1f3dccef3daccf2d9caf2d7c8f2d6c6f1d4c4f1d3c1f1d1bff0d0bdf0cebbf0cdb9efcbb7efcab4eec9b2eec7b0" +
  "eec6aeedc4acedc3aaecc1a7ecc0a5ebbea3ebbda1eabb9feaba9de9b89be9b798e8b596e7b494e7b292e6b190e6af8e" +
  "e5ae8ce4ac8ae4ab87e3a985e2a883e2a681e1a57fe0a37ddfa17bdfa079de9e76dd9d74dc9b72db9a70da986ed9966c" +
  "d8956ad89367d79265d69063d58e61d38d5fd28b5dd1895bd08858cf8656ce8454cd8352cb8150ca7f4ec97e4bc77c49" +
  "c67a47c47845c37643c17541c0733ebe713cbc6f3abb6d38b96b36b76934b56732b36630b1642eaf622cad602aab5e28" +
  "a95c26a65a24a45822a257219f551f9d531e9b521c99501b964e1a944d19924c18904a178e49168c48168a4715884515" +
  "8644148443148242148041137e40137c3f137a3f13793e13773d13753c13743c13723b13703a136f3a136d3913";

const bytesOf = (hex: string): Uint8Array => Uint8Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));

/** Red, green and blue of the colours for each sort of numbers. [n, 3] */
export const COLOURS: Record<Signs, Uint8Array> = { positive: bytesOf(VIRIDIS), either: bytesOf(DIVERGING) };

/** Steps that a colour can take from one end to the other. */
const STEPS = 254;

/** How many powers of ten a logarithmic scale spans at most. */
export const LOG_DECADES = 4;

/** The colour of what is not a number: no colour of the map. */
export const NOT_A_NUMBER: Record<Signs, readonly [number, number, number]> = { positive: [255, 0, 128], either: [120, 255, 0] };

/** The weight at the low end of a logarithmic scale: a power of ten. */
function lowOf(top: number): number {
  return 10 ** (Math.ceil(Math.log10(top)) - LOG_DECADES);
}

/**
 * Where a number stands between the two ends of the colours, in 0 ..= 1; `top` is the number at the strong end, and with
 * either sign −top at the other and 0 at 0.5. NaN for what is none: not a number, infinite, or negative where none can be.
 */
export function fraction(number: number, top: number, scale: Scale, signs: Signs = "positive"): number {
  if (signs === "either") {
    const half = fraction(Math.abs(number), top, scale) / 2;
    return number < 0 ? 0.5 - half : 0.5 + half;
  }
  if (!(number >= 0 && number < Infinity)) return NaN;
  if (!(top > 0) || !(number > 0)) return 0;
  const low = lowOf(top);
  const share = scale === "log" ? Math.log(number / low) / Math.log(top / low) : number / top;
  return Math.min(1, Math.max(0, share));
}

/** Red, green and blue at a fraction; NaN has a colour of its own. */
export function colourAt(at: number, signs: Signs = "positive"): readonly [number, number, number] {
  if (Number.isNaN(at)) return NOT_A_NUMBER[signs];
  const colours = COLOURS[signs];
  const step = Math.round(Math.min(1, Math.max(0, at)) * STEPS) / STEPS;
  const i = 3 * Math.round(step * (colours.length / 3 - 1));
  return [colours[i]!, colours[i + 1]!, colours[i + 2]!];
}

/** The colour at a fraction, as CSS writes it. */
export function cssColour(at: number, signs: Signs = "positive"): string {
  return `rgb(${colourAt(at, signs).join(" ")})`;
}

/** The marks of a colour bar: where each stands, in 0 ..= 1, and its label. */
export function ticks(top: number, scale: Scale, signs: Signs = "positive"): { at: number; label: string }[] {
  const short = (number: number, digits: number): string => String(Number(number.toPrecision(digits)));
  if (signs === "either") {
    const largest = scale === "row" ? "row's largest" : short(top, 3);
    const middle = scale === "log" && top > 0 ? `within ±${short(lowOf(top), 1)}` : "0";
    return [{ at: 0, label: `−${largest}` }, { at: 0.5, label: middle }, { at: 1, label: largest }];
  }
  if (scale === "rank") return [{ at: 0, label: "fewest" }, { at: 1, label: "all others have less" }];
  if (scale === "row") return [0, 0.5, 1].map((at) => ({ at, label: at === 1 ? "row's largest" : at === 0 ? "0" : "½" }));
  if (!(top > 0)) return [{ at: 0, label: "0" }];
  const marks = [];
  if (scale === "log") {
    for (let number = lowOf(top), decade = 0; decade < LOG_DECADES; number *= 10, decade++) {
      if (number < top) marks.push({ at: fraction(number, top, "log"), label: `${decade === 0 ? "≤ " : ""}${short(number, 1)}` });
    }
    // the top itself, unless the last mark stands too near to it
    if ((marks.at(-1)?.at ?? 0) < 0.9) marks.push({ at: 1, label: short(top, 3) });
    return marks;
  }
  const step = niceStep(top / 5);
  for (let i = 0; i * step <= top * 1.0001; i++) {
    marks.push({ at: Math.min(1, (i * step) / top), label: short(i * step, 6) });
  }
  return marks;
}

/** 1, 2 or 5 times a power of ten, at least `step`. */
function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= step * 0.9999) ?? 10);
}
