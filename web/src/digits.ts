// Weights by the digits that are shown of them: crates/attlas-viewer/src/digits.rs numbers these by size, and puts the numbers in classes.

import { Code, type BitReader } from "./bits.ts";
import type { Work } from "./work.ts";

/** Powers of ten that the last digit of a small weight can have, from 10⁻⁴⁶ on; each has 90 numbers of two digits. */
const [N_POWERS, FIRST_POWER] = [41, -46];
const LAST_SMALL = 90 * N_POWERS;
/** Weights between two breaths. */
const BREATH = 1 << 17;

let known: Float32Array | null = null;

/** The weight behind each number: 0, two digits and a power of ten, whole numbers of 0.0001. Made when it is first asked for: it takes
 * milliseconds, which a page that has its numbers from a worker need not wait for. */
function allWeights(): Float32Array {
  return (known ??= withTiny(
    Float32Array.from({ length: LAST_SMALL + 10_001 }, (_, number) => {
      if (number === 0) return 0;
      if (number > LAST_SMALL) return (number - LAST_SMALL) / 1e4;
      return Number(`${10 + ((number - 1) % 90)}e${FIRST_POWER + Math.floor((number - 1) / 90)}`);
    }),
  ));
}

/** The number of what is shown of a small weight. */
function numberOfSmall(weight: number): number {
  const [digits, power] = weight.toExponential(1).split("e");
  return 90 * (Number(power) - 1 - FIRST_POWER) + 10 * Number(digits) - 9;
}

/** Where f32 has less than two digits, the nearest to these is not always the one that is shown with them. */
function withTiny(all: Float32Array): Float32Array {
  const tiny = Float32Array.from({ length: 800 }, (_, place) => (place + 1) * 2 ** -149);
  for (const weight of tiny) all[Math.round(numberOfSmall(weight))] = weight;
  return all;
}

/** The weight that a number stands for. */
export function weightOf(number: number): number {
  return allWeights()[number] ?? NaN;
}

/** How far a weight of which only the digits travelled may be off. */
export function offBy(weight: number): number {
  return weight >= 0.00005 ? 0.00005 : 0.5 * 10 ** (Math.floor(Math.log10(weight) + 1e-6) - 1);
}

/** The next number in a code. */
function takeNumber(bits: BitReader, code: Code): number {
  const ofClass = code.take(bits);
  if (ofClass === 0) return 0;
  if (ofClass <= N_POWERS) return 90 * (ofClass - 1) + bits.take(7) + 1;
  const length = ofClass - N_POWERS - 1;
  return LAST_SMALL + (1 << length) + bits.take(length);
}

/** The numbers from a cell to before another. Apart from what stops for breath, since it is run before it is compiled. */
function takeRow(bits: BitReader, code: Code, all: Float32Array, signed: boolean, weights: Float32Array, cell: number, end: number): void {
  for (; cell < end; cell++) {
    const number = takeNumber(bits, code);
    weights[cell] = number > 0 && signed && bits.take(1) === 1 ? -all[number]! : all[number]!;
  }
}

/** How a head's numbers are coded. */
interface Coded {
  lengths: number[];
  signed?: boolean;
}

/** A head's weights, or other numbers, as they are shown. [n_rows, n_columns] */
export function* takeWeights(bits: BitReader, { lengths, signed = false }: Coded, n_rows: number, n_columns: number, unit = 1): Work<Float32Array> {
  const weights = new Float32Array(n_rows * n_columns);
  const all = allWeights();
  const code = Code.of(lengths);
  const n_bits = 32 - Math.clz32(n_columns);
  let paid = 0;
  for (let row = 0; row < n_rows; row++) {
    const end = row * n_columns + bits.take(n_bits); // after which all are 0
    takeRow(bits, code, all, signed, weights, row * n_columns, end);
    paid += n_columns;
    if (paid > BREATH) {
      paid = 0;
      yield;
    }
  }
  return unit === 1 ? weights : weights.map((weight) => weight * unit);
}
