// What an agent names (a tool call, a path, an answer, a change) as people can judge it: characters that hide, move or
// turn text around are shown as signs. An approval is given for what is read.

const HIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Control characters become their pictures, marks of direction and tags U+FFFD; line ends and tabs stay. */
export const visible = (text) => text.replace(HIDDEN, sign);

function sign(char) {
  const code = char.codePointAt(0);
  return code < 0x20 ? String.fromCodePoint(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd";
}
