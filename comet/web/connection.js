/** What the connection does, in words: one line in the bar, with a countdown, and what one can do about it. */

import { by, el } from "./dom.js";

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

/**
 * Say why the connection is lost. Without a network a server on this machine can still be reached.
 * @param {number} code @param {boolean} onLine @param {string} host
 */
export function lostBecause(code, onLine, host) {
  const isLocal = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);
  if (!onLine && !isLocal) return "You are offline";
  return LOST.get(code) ?? "The server cannot be reached";
}

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
    const why = lostBecause(code, navigator.onLine !== false, location.hostname);
    this.#show("lost", `${why}. Trying again`, "Try now");
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

  /** The user was never let in, and guests are not. @param {boolean} hasToken @param {string} reason */
  refused(hasToken, reason) {
    this.ended(1008, hasToken ? "your token is not valid" : "a token is needed");
    document.body.dataset.refused = "true";
    by("refused").hidden = false;
    by("refused").replaceChildren(
      el("span.avatar", { "aria-hidden": "true" }, "?"),
      el("b", {}, hasToken ? "Your token was not accepted" : "Sign in to chat here"),
      el("p", {}, "This chat is open to users with a token. Sign in to the product that this chat belongs to and open the chat there,"
        + " or open the link that you were given: its address ends in ", el("code", {}, "?token="), " and your token."),
      el("small", {}, `The server says: ${reason || "no reason"}`),
    );
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
