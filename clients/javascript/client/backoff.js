/**
 * The wait before the next attempt: random, between 0 and a bound that doubles from firstMs to capMs. It spreads out
 * thousands of clients that lost one server at the same time.
 */
export class Backoff {
  #bound = 0;

  /** @param {number} firstMs @param {number} capMs */
  constructor(firstMs, capMs) {
    this.firstMs = firstMs;
    this.capMs = capMs;
  }

  next() {
    this.#bound = Math.min(this.capMs, this.#bound * 2 || this.firstMs);
    return Math.random() * this.#bound;
  }

  reset() {
    this.#bound = 0;
  }
}
