/** How the client waits before it tries again, so that thousands that lost one server come back spread over time. */

const RETRY_FIRST_MS = 100;
const RETRY_CAP_MS = 2000;

/** How long to wait before the next try: at random between 0 and a bound that doubles from firstMs to capMs. */
export class Waits {
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

/** At most one at a time: the server refused something for the moment, and nothing is sent until it is over. */
export class Pause {
  #waits = new Waits(RETRY_FIRST_MS, RETRY_CAP_MS);
  #begun = 0;
  #over;
  #stopped = false;
  /** @type {any} */
  #timer;

  /** @param {() => void} over */
  constructor(over) {
    this.#over = over;
  }

  get isOn() {
    return this.#timer !== undefined;
  }

  begin() {
    if (this.isOn || this.#stopped) return;
    if (Date.now() - this.#begun > 2 * RETRY_CAP_MS) this.#waits.reset();
    this.#begun = Date.now();
    this.#timer = setTimeout(() => this.end(), this.#waits.next());
  }

  /** End it now, if one is on, and try all again. */
  end() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#over();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stopped = true;
  }
}
