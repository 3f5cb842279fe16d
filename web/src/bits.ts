// Numbers of any count of bits, one after the other, and a prefix code; crates/attlas-viewer/src/bits.rs writes them.

/** The longest code; with the bits after it, 25 are read at a time. */
const LONGEST = 12;

/** Bits, the first of a byte its highest. */
export class BitReader {
  private view: DataView;
  private at: number;

  /** Reads from a byte of a block on. */
  constructor(block: ArrayBuffer, start: number) {
    this.view = new DataView(block, start);
    this.at = 0;
  }

  /** The next `n` bits, 0 to 25, as a number. */
  take(n: number): number {
    const number = this.peek(n);
    this.at += n;
    return number;
  }

  /** The next `n` bits as a number of either sign. */
  takeSigned(n: number): number {
    return (this.take(n) << (32 - n)) >> (32 - n);
  }

  /** The next `n` bits, which stay. */
  peek(n: number): number {
    return n === 0 ? 0 : (this.view.getUint32(this.at >>> 3) << (this.at & 7)) >>> (32 - n);
  }

  skip(n: number): void {
    this.at += n;
  }
}

const known = new WeakMap<number[], Code>();

/** A canonical Huffman code; `lengths` are the bits of each class, 0 where it does not come. */
export class Code {
  /** The class, times 16, and the bits of its code, for all that the next bits can be. [2 ** LONGEST] */
  private table = new Uint16Array(1 << LONGEST);

  constructor(lengths: number[]) {
    let next = 0;
    for (let length = 1; length <= LONGEST; length++) {
      lengths.forEach((ofClass, index) => {
        if (ofClass !== length) return;
        const end = next + (1 << (LONGEST - length));
        this.table.fill(16 * index + length, next, end);
        next = end;
      });
    }
  }

  /** The code of such lengths; made once for the heads that share them. */
  static of(lengths: number[]): Code {
    const code = known.get(lengths) ?? new Code(lengths);
    known.set(lengths, code);
    return code;
  }

  /** The next class. */
  take(bits: BitReader): number {
    const entry = this.table[bits.peek(LONGEST)]!;
    bits.skip(entry & 15);
    return entry >>> 4;
  }
}
