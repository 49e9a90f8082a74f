/** What nobody else makes. (crypto.randomUUID is there only on https.) */

/** @param {number} digits @returns {string} */
export function randomHex(digits) {
  const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const PREFIX = `~${randomHex(16)}-`;
let made = 0;

/** A ref: a random part once, then a counter. */
export function newRef() {
  return `${PREFIX}${made++}`;
}
