/**
 * The parts of a message's text: plain text, links, inline code and blocks of code. The page makes a text node of each, so
 * nothing in a message is ever read as HTML. Takes time in proportion to the length of the text. Pure.
 *
 * @typedef {{ kind: "text" | "code" | "block", text: string }} Plain
 * @typedef {{ kind: "link", text: string, href: string }} Link
 * @typedef {Plain | Link} Part
 */

const FENCE = "```";
const LANGUAGE = /[\w+#.-]{0,32}[ \t]*\n/y;
const SCHEME = /https?:\/\/|mailto:/gi;
// A link ends before blanks, quotes, and characters that turn the direction of the text around.
const REST = /[^\s<>"`\u200e\u200f\u202a-\u202e\u2066-\u2069]*/y;
const PUNCTUATION = ".,;:!?'*_~…»”’";
const CLOSING = new Map([[")", "("], ["]", "["], ["}", "{"]]);
const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);

/** Return the parts of a text, in order. @param {string} text @returns {Part[]} */
export function partsOf(text) {
  /** @type {Part[]} */
  const parts = [];
  let at = 0;
  for (const { start, end, code } of blocksOf(text)) {
    parts.push(...inlineOf(text.slice(at, start).replace(/\n$/, "")), { kind: "block", text: code });
    at = text[end] === "\n" ? end + 1 : end;
  }
  parts.push(...inlineOf(text.slice(at)));
  return parts;
}

/** The fenced blocks: a fence that begins a line, perhaps a language, and all up to the next fence. @param {string} text */
function blocksOf(text) {
  const blocks = [];
  let end = 0;
  for (let start = text.indexOf(FENCE); start !== -1; start = text.indexOf(FENCE, end)) {
    end = start + FENCE.length;
    if (start > 0 && text[start - 1] !== "\n") continue;
    LANGUAGE.lastIndex = end;
    if (!LANGUAGE.test(text)) continue;
    const from = LANGUAGE.lastIndex;
    const to = text.indexOf(FENCE, from);
    if (to === -1) break;
    end = to + FENCE.length;
    const code = text.slice(from, to).replace(/\n$/, "");
    if (code.trim() !== "") blocks.push({ start, end, code });
  }
  return blocks;
}

/** Inline code stands between two runs of backticks of one length, in one line. @param {string} text @returns {Part[]} */
function inlineOf(text) {
  const runs = [...text.matchAll(/`+|\n/g)];
  const closing = closingRuns(runs);
  /** @type {Part[]} */
  const parts = [];
  let at = 0;
  for (let i = 0; i < runs.length; i++) {
    const close = closing[i];
    if (close === undefined) continue;
    const [from, to] = [runs[i].index + runs[i][0].length, runs[close].index];
    parts.push(...linksOf(text.slice(at, runs[i].index)), { kind: "code", text: text.slice(from, to) });
    at = to + runs[close][0].length;
    i = close;
  }
  parts.push(...linksOf(text.slice(at)));
  return parts;
}

/** For each run of backticks, the next one of its length in the same line. @param {RegExpMatchArray[]} runs */
function closingRuns(runs) {
  /** @type {(number | undefined)[]} */
  const closing = Array.from({ length: runs.length });
  /** @type {Map<number, number>} the nearest run behind, by length */
  const next = new Map();
  for (let i = runs.length - 1; i >= 0; i--) {
    if (runs[i][0] === "\n") {
      next.clear();
      continue;
    }
    closing[i] = next.get(runs[i][0].length);
    next.set(runs[i][0].length, i);
  }
  return closing;
}

/** @param {string} text @returns {Part[]} */
function linksOf(text) {
  /** @type {Part[]} */
  const parts = [];
  let at = 0;
  let tried = 0; // a word is looked at once, whatever number of schemes it holds
  for (const { index } of text.matchAll(SCHEME)) {
    if (index < tried || (index > 0 && /[\p{L}\p{N}_]/u.test(text[index - 1]))) continue;
    REST.lastIndex = index;
    const word = REST.exec(text)?.[0] ?? "";
    tried = index + word.length;
    const link = withoutEnd(word);
    const href = hrefOf(link);
    if (!href) continue;
    if (index > at) parts.push({ kind: "text", text: text.slice(at, index) });
    parts.push({ kind: "link", text: link, href });
    at = index + link.length;
  }
  if (at < text.length) parts.push({ kind: "text", text: text.slice(at) });
  return parts;
}

/** A link without the punctuation of the sentence, and without brackets that it does not open. @param {string} link */
function withoutEnd(link) {
  /** @type {Map<string, number>} closing brackets beyond the opening ones */
  const extra = new Map([...CLOSING].map(([close, open]) => [close, count(link, close) - count(link, open)]));
  let end = link.length;
  for (; end > 0; end--) {
    const last = link[end - 1];
    const unopened = extra.get(last) ?? 0;
    if (unopened > 0) extra.set(last, unopened - 1);
    else if (!PUNCTUATION.includes(last)) break;
  }
  return link.slice(0, end);
}

/** @param {string} text @param {string} one */
const count = (text, one) => text.split(one).length - 1;

/** @param {string} link @returns {string | null} null if it leads nowhere */
function hrefOf(link) {
  try {
    const { protocol, hostname, pathname, href } = new URL(link);
    const leads = protocol === "mailto:" ? /^[^@]+@[^@]+$/.test(pathname) : hostname !== "";
    return PROTOCOLS.has(protocol) && leads ? href : null;
  } catch {
    return null;
  }
}
