// The line a stream is still writing: runs of text with a style, and a cursor that may go back into it.

/** Columns a cursor move may leave empty before it: more is a screen program, which this is not. */
export const COLUMN_MAX = 500;

export class Line {
  constructor() {
    this.runs = []; // {text, style}
    this.length = 0;
    this.cursor = 0;
  }

  /** Writes at the cursor, over what is there. */
  write(text, style) {
    if (this.cursor > this.length) this.append(" ".repeat(this.cursor - this.length), null);
    if (this.cursor === this.length) {
      this.append(text, style);
    } else {
      const before = slice(this.runs, 0, this.cursor);
      const after = slice(this.runs, this.cursor + text.length, this.length);
      this.runs = [...before, { text, style }, ...after];
      this.length = Math.max(this.length, this.cursor + text.length);
    }
    this.cursor += text.length;
  }

  append(text, style) {
    const last = this.runs[this.runs.length - 1];
    if (last && last.style === style) last.text += text;
    else this.runs.push({ text, style });
    this.length += text.length;
    if (this.cursor > this.length) this.cursor = this.length;
  }

  moveTo(column) {
    this.cursor = Math.max(0, Math.min(column, Math.max(this.length, COLUMN_MAX)));
  }

  /** Mode 0: from the cursor on; 1: up to the cursor; 2: all. */
  erase(mode) {
    if (mode === 0) this.keep(slice(this.runs, 0, this.cursor));
    else if (mode === 2) this.keep([]);
    else if (mode === 1) {
      const end = Math.min(this.cursor + 1, this.length);
      this.keep([{ text: " ".repeat(end), style: null }, ...slice(this.runs, end, this.length)]);
    }
  }

  keep(runs) {
    this.runs = runs;
    this.length = runs.reduce((sum, run) => sum + run.text.length, 0);
  }
}

function slice(runs, from, to) {
  const out = [];
  let at = 0;
  for (const { text, style } of runs) {
    const part = text.slice(Math.max(0, from - at), Math.max(0, to - at));
    if (part !== "") out.push({ text: part, style });
    at += text.length;
  }
  return out;
}
