import { Backoff } from "./backoff.js";

const RETRY_FIRST_MS = 100;
const RETRY_CAP_MS = 2000;

/** The pause after a refusal for the moment: the client sends nothing until its end. At most one at a time. */
export class Pause {
  #backoff = new Backoff(RETRY_FIRST_MS, RETRY_CAP_MS);
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
    if (Date.now() - this.#begun > 2 * RETRY_CAP_MS) this.#backoff.reset();
    this.#begun = Date.now();
    this.#timer = setTimeout(() => this.end(), this.#backoff.next());
  }

  /** End the pause, if there is one, and retry everything. */
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
