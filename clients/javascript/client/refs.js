/** Makes ids that no other client makes. (Browsers have crypto.randomUUID on https only.) */

/** @param {number} digits @returns {string} */
export function randomHex(digits) {
  const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const PREFIX = `~${randomHex(16)}-`;
let made = 0;

/** Return a new ref: the random part of this program, then a counter. */
export function newRef() {
  return `${PREFIX}${made++}`;
}
