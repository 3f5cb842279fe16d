// Rows and columns that were asked for lately: the text, the reading and the pointer ask for the same ones.

import type { Line, Look, MapOf, Source } from "./source.ts";

/** How many are kept. */
const KEPT = 64;

export class Recent {
  private source: Source;
  private lines = new Map<string, Line | Promise<Line>>(); // the longest unused first
  private look: Look | null = null;

  constructor(source: Source) {
    this.source = source;
  }

  /** A row; at once where it is known. */
  row(of: MapOf, look: Look, row: number): Line | Promise<Line> {
    return this.line(["row", of, row], look, () => this.source.row(of, look, row));
  }

  column(of: MapOf, look: Look, column: number): Line | Promise<Line> {
    return this.line(["column", of, column], look, () => this.source.column(of, look, column));
  }

  private line(name: unknown[], look: Look, ask: () => Promise<Line>): Line | Promise<Line> {
    if (look !== this.look) this.lines.clear();
    this.look = look;
    const key = JSON.stringify(name);
    let line = this.lines.get(key);
    this.lines.delete(key);
    line ??= this.asked(key, look, ask());
    this.lines.set(key, line);
    for (const oldest of this.lines.keys()) {
      if (this.lines.size <= KEPT) break;
      this.lines.delete(oldest);
    }
    return line;
  }

  private asked(key: string, look: Look, asked: Promise<Line>): Promise<Line> {
    asked.then(
      (line) => look === this.look && this.lines.has(key) && this.lines.set(key, line),
      () => look === this.look && this.lines.delete(key),
    );
    return asked;
  }
}
