/** What the connection does, in words: one line in the bar, with a countdown, and what one can do about it. */

import { by } from "./dom.js";

const LOST = new Map([
  [1001, "The server goes away"],
  [1011, "The server did not hear from us"],
  [1012, "The server is restarting"],
  [1013, "The server is full"],
  [4001, "The connection was too slow"],
]);
const ENDED = new Map([
  [1009, "A message was too large"],
  [4002, "You sent too much for too long"],
  [4003, "You are connected elsewhere, or were removed"],
]);

export class Connection {
  /** @type {any} */
  #ticking;

  /** @param {{ retry(): void, again(): void }} page */
  constructor(page) {
    by("retry").addEventListener("click", () => (by("retry").dataset.ended ? page.again() : page.retry()));
  }

  connecting() {
    this.#show("busy", "Connecting…");
  }

  catchingUp() {
    this.#show("busy", "Catching up…");
  }

  /** @param {string} node */
  live(node) {
    this.#show("live", "Connected");
    by("state").title = `Connected to node ${node}`;
  }

  /** @param {number} code @param {number} waitMs */
  lost(code, waitMs) {
    const until = Date.now() + waitMs;
    const offline = globalThis.navigator?.onLine === false;
    this.#show("lost", `${offline ? "You are offline" : (LOST.get(code) ?? "Connection lost")}. Trying again`, "Try now");
    const tick = () => {
      const seconds = Math.ceil((until - Date.now()) / 1000);
      by("state-wait").textContent = seconds > 0 ? ` in ${seconds} s` : "…";
    };
    tick();
    this.#ticking = setInterval(tick, 250);
  }

  /** @param {number} code @param {string} reason */
  ended(code, reason) {
    this.#show("ended", ENDED.get(code) ?? `Not let in: ${reason || code}`, "Connect again");
    by("retry").dataset.ended = "true";
  }

  /** @param {string} state @param {string} text @param {string} [action] */
  #show(state, text, action) {
    clearInterval(this.#ticking);
    by("state").dataset.state = state;
    by("state").removeAttribute("title");
    by("state-text").textContent = text;
    by("state-wait").textContent = "";
    by("retry").hidden = !action;
    by("retry").textContent = action ?? "";
    delete by("retry").dataset.ended;
  }
}
