/** The client's connection. Nothing of the chat's protocol is known here but the hello and the ping. */

import { parse } from "./frames.js";

/** @typedef {import("./waits.js").Waits} Waits */

export const ABNORMAL = 1006;
/** On these the server does not want us back: policy, frame too big, rate limited too long, replaced or kicked. */
const FINAL_CODES = new Set([1008, 1009, 4002, 4003]);
const STEADY_MS = 5000; // a connection that lived so long was a good one: the next loss begins at the shortest wait

/**
 * The connection: made, kept, and made again until the server does not want it or its owner ends it. Pings find one that
 * is dead without having been closed; a browser that comes online again tries at once.
 */
export class Link {
  isOpen = false; // the server said hello, and the connection is not known to be lost
  /** @type {WebSocket | null} */
  #socket = null;
  #turn = 0;
  #began = 0;
  #heard = true;
  /** @type {any} */
  #opening;
  /** @type {any} */
  #pinging;
  /** @type {any} set exactly while it waits for the next try */
  #waiting;
  #online = () => this.retryNow();

  /**
   * @param {string[]} urls @param {{ openTimeoutMs: number, pingMs: number }} options @param {Waits} waits
   * @param {{ opening(): void, opened(hello: any): void, text(text: string): void, ended(code: number, reason: string): void,
   *   lost(code: number, reason: string, waitMs: number): void }} owner
   */
  constructor(urls, options, waits, owner) {
    this.#urls = urls;
    this.#options = options;
    this.#waits = waits;
    this.#owner = owner;
  }
  #urls;
  #options;
  #waits;
  #owner;

  start() {
    globalThis.addEventListener?.("online", this.#online);
    this.#connect();
  }

  /** Send a frame; without a connection it is dropped, as all is asked for again on the next. */
  send(/** @type {string} */ type, /** @type {object} */ payload) {
    if (this.isOpen) this.#socket?.send(JSON.stringify({ type, payload }));
  }

  retryNow() {
    if (this.#waiting === undefined) return;
    clearTimeout(this.#waiting);
    this.#connect();
  }

  end() {
    globalThis.removeEventListener?.("online", this.#online);
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#hangUp();
  }

  /** Take the connection for lost. @param {number} code @param {string} reason */
  lose(code, reason) {
    if (!this.#socket) return;
    this.#hangUp();
    if (FINAL_CODES.has(code)) {
      this.#owner.ended(code, reason);
      return;
    }
    if (Date.now() - this.#began > STEADY_MS) this.#waits.reset();
    const waitMs = this.#waits.next();
    this.#waiting = setTimeout(() => this.#connect(), waitMs);
    this.#owner.lost(code, reason, waitMs);
  }

  #connect() {
    this.#waiting = undefined;
    this.#began = Date.now();
    this.#owner.opening();
    const socket = new WebSocket(this.#urls[this.#turn++ % this.#urls.length]);
    this.#socket = socket;
    this.#opening = setTimeout(() => this.lose(ABNORMAL, "no hello in time"), this.#options.openTimeoutMs);
    socket.onmessage = ({ data: text }) => this.#socket === socket && this.#received(text);
    socket.onclose = ({ code, reason }) => this.#socket === socket && this.lose(code, reason);
    socket.onerror = () => {}; // `close` follows, and says as much as there is to say
  }

  /** @param {string} text */
  #received(text) {
    this.#heard = true;
    if (this.isOpen) {
      this.#owner.text(text);
      return;
    }
    const frame = parse(text);
    if (frame?.type !== "hello") return;
    clearTimeout(this.#opening);
    this.isOpen = true;
    this.#pinging = setInterval(() => this.#ping(), this.#options.pingMs);
    this.#owner.opened(frame.payload);
  }

  #ping() {
    if (!this.#heard) {
      this.lose(ABNORMAL, "the server is silent");
      return;
    }
    this.#heard = false;
    this.send("ping", {});
  }

  #hangUp() {
    clearTimeout(this.#opening);
    clearInterval(this.#pinging);
    const socket = this.#socket;
    this.#socket = null; // nothing more of it counts: a browser may take long to give a dead connection up
    this.isOpen = false;
    this.#heard = true;
    socket?.close();
  }
}
