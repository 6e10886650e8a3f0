// Escape codes of a terminal stream, incrementally: text in pieces cut anywhere goes in, calls on a sink come out.
// Colours and weights (SGR) are kept, the few moves that progress bars need are passed on, all else is removed.

/** A sequence longer than this is no sequence; it is skipped to its end without being kept. */
export const SEQUENCE_MAX_CHARS = 256;
/** Different styles remembered at once (true-colour gradients make thousands). */
export const STYLES_MAX = 4096;

/**
 * The parser of one stream. `sink` has text(string, style), newline(), carriageReturn(), backspace(),
 * column(index), forward(count), eraseLine(mode). A style is null or {fg, bg, bold, dim, italic, underline, strike,
 * inverse, hidden}, the same object for the same look; a colour is 0-15 or "#rrggbb".
 */
export class AnsiParser {
  constructor() {
    this.state = "ground";
    this.sequence = "";
    this.style = null;
  }

  feed(text, sink) {
    let at = 0;
    while (at < text.length) {
      at = this.state === "ground" ? this.ground(text, at, sink) : this.escaped(text, at, sink);
    }
  }

  ground(text, at, sink) {
    CONTROL.lastIndex = at;
    const match = CONTROL.exec(text);
    const end = match ? match.index : text.length;
    if (end > at) sink.text(text.slice(at, end), this.style);
    if (!match) return end;
    const control = match[0];
    if (control === "\n") sink.newline();
    else if (control === "\r") sink.carriageReturn();
    else if (control === "\b") sink.backspace();
    else if (control === "\x1b") this.enter("escape");
    else if (control === "\x9b") this.enter("csi");
    else if (STRING_C1.includes(control)) this.enter("string");
    return end + 1;
  }

  escaped(text, at, sink) {
    const char = text[at];
    if (this.state === "string") this.inString(char);
    else if (this.state === "string-escape") this.afterStringEscape(char);
    else if (char === "\x18" || char === "\x1a") this.state = "ground"; // CAN and SUB abandon a sequence
    else if (char === "\x1b") this.enter("escape");
    else if (this.state === "escape") this.afterEscape(char);
    else if (this.state === "csi") this.inSequence(char, sink);
    else this.inEscape(char);
    return at + 1;
  }

  enter(state) {
    this.state = state;
    this.sequence = "";
  }

  afterEscape(char) {
    if (char === "[") this.enter("csi");
    else if ("]PX^_".includes(char)) this.enter("string");
    else if (char >= " " && char <= "/") this.enter("escape-intermediate");
    else this.state = "ground";
  }

  inEscape(char) {
    if (char < " " || char > "/") this.state = "ground";
  }

  /** OSC, DCS, APC, PM, SOS: skipped to BEL or ST. A line feed ends it too: no title or link spans lines. */
  inString(char) {
    if (char === "\x1b") this.state = "string-escape";
    else if (char === "\x07" || char === "\x9c" || char === "\n") this.state = "ground";
  }

  afterStringEscape(char) {
    this.state = char === "\\" ? "ground" : "string";
    if (char !== "\\") this.inString(char);
  }

  inSequence(char, sink) {
    if (char < "@" || char > "~") {
      if (this.sequence.length < SEQUENCE_MAX_CHARS) this.sequence += char;
      else this.sequence = "?"; // too long: a private one, which is removed
      return;
    }
    this.state = "ground";
    if (!/^[0-9;:]*$/.test(this.sequence)) return;
    const first = Number.parseInt(this.sequence, 10);
    if (char === "m") this.style = applySgr(this.style, this.sequence);
    else if (char === "K") sink.eraseLine(first || 0);
    else if (char === "G") sink.column(Math.max(1, first || 1) - 1);
    else if (char === "C") sink.forward(Math.max(1, first || 1));
    else if (char === "D") for (let n = Math.min(first || 1, 500); n > 0; n--) sink.backspace();
  }
}

// Controls that end plain text: C0 but tab, DEL, C1.
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const STRING_C1 = ["\x90", "\x98", "\x9d", "\x9e", "\x9f"];

const PLAIN = { fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false, hidden: false };
const styles = new Map();

/** The style after a "select graphic rendition" with these parameters. */
export function applySgr(style, sequence) {
  const next = { ...(style ?? PLAIN) };
  const fields = sequence.split(";");
  for (let at = 0; at < fields.length; at++) {
    const parts = fields[at].split(":").map((part) => (part === "" ? 0 : Number(part)));
    const code = parts[0];
    if (code === 38 || code === 48) {
      const [colour, used] = parts.length > 1 ? [colonColour(parts), 0] : semicolonColour(fields, at);
      at += used;
      if (colour !== null) next[code === 38 ? "fg" : "bg"] = colour;
    } else {
      applyCode(next, code, parts[1]);
    }
  }
  return intern(next);
}

function applyCode(style, code, detail) {
  if (code === 0) Object.assign(style, PLAIN);
  else if (code >= 30 && code <= 37) style.fg = code - 30;
  else if (code >= 40 && code <= 47) style.bg = code - 40;
  else if (code >= 90 && code <= 97) style.fg = code - 90 + 8;
  else if (code >= 100 && code <= 107) style.bg = code - 100 + 8;
  else if (code === 4) style.underline = detail !== 0;
  else Object.assign(style, FLAGS[code]);
}

const FLAGS = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 7: { inverse: true }, 8: { hidden: true }, 9: { strike: true },
  21: { underline: true }, 22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false },
  27: { inverse: false }, 28: { hidden: false }, 29: { strike: false }, 39: { fg: null }, 49: { bg: null },
};

function semicolonColour(fields, at) {
  const number = (offset) => Number(fields[at + offset] || 0);
  if (fields[at + 1] === "5") return [palette(number(2)), 2];
  if (fields[at + 1] === "2") return [rgb(number(2), number(3), number(4)), 4];
  return [null, 0];
}

function colonColour(parts) {
  if (parts[1] === 5) return palette(parts[2] ?? 0);
  if (parts[1] === 2) return rgb(...parts.slice(-3));
  return null;
}

/** A colour of the 256 as 0-15 or "#rrggbb". */
export function palette(index) {
  if (!(index >= 0 && index <= 255)) return null;
  if (index < 16) return index;
  if (index >= 232) return rgb(...Array(3).fill(8 + (index - 232) * 10));
  const level = (step) => (step === 0 ? 0 : 55 + step * 40);
  const cube = index - 16;
  return rgb(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

function rgb(...levels) {
  const hex = (level) => Math.max(0, Math.min(255, level | 0)).toString(16).padStart(2, "0");
  return `#${levels.map(hex).join("")}`;
}

function intern(style) {
  const key = JSON.stringify(style);
  if (key === PLAIN_KEY) return null;
  if (!styles.has(key)) {
    if (styles.size >= STYLES_MAX) styles.clear();
    styles.set(key, Object.freeze(style));
  }
  return styles.get(key);
}
const PLAIN_KEY = JSON.stringify(PLAIN);
