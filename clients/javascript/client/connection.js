/**
 * The client's connection. Of the chat's protocol this module knows the hello and the ping only.
 *
 * An HTTP status instead of a handshake comes from a proxy, because Comet refuses a client with a close code. A client
 * that was greeted before retries, whatever the status: during a rollout a proxy may send any. A client that was never
 * greeted probably has a wrong URL, so it ends once it has tried each URL. Only the package ws tells the status. In
 * browsers a refusal looks like an unreachable server, so the client retries.
 *
 * @import { Socket } from "../index.js"
 * @import { Backoff } from "./backoff.js"
 */

import { parse } from "./frames.js";

export const ABNORMAL = 1006;
/** Close codes after which the client stays away: policy, frame too big, rate limited too long, replaced or kicked. */
const FINAL_CODES = new Set([1008, 1009, 4002, 4003]);
/** HTTP statuses that tell of an unreachable or busy server. A client retries after them also before its first hello. */
const UNREACHABLE_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
const STEADY_MS = 5000; // after a connection of this length, the waits start at the shortest again

/**
 * One connection at a time, replaced after each loss until the server refuses the client or its owner ends it. Pings find
 * a dead connection that was never closed. A browser that comes online again reconnects at once.
 */
export class Connection {
  isOpen = false; // from the server's hello to the loss of the connection
  /** @type {Socket | null} */
  #socket = null;
  #turn = 0;
  #began = 0;
  #heard = true;
  #greeted = false; // at least once
  /** @type {any} */
  #opening;
  /** @type {any} */
  #pinging;
  /** @type {any} set during the wait for the next attempt only */
  #waiting;
  #online = () => this.retryNow();

  /**
   * @param {string[]} urls @param {{ openTimeoutMs: number, pingMs: number, WebSocket: new (url: string) => Socket }} options
   * @param {Backoff} backoff
   * @param {{ mayPing(): boolean, opening(): void, opened(hello: any): void, text(text: string): void, ended(code: number, reason: string): void,
   *   lost(code: number, reason: string, waitMs: number): void }} owner
   */
  constructor(urls, options, backoff, owner) {
    this.#urls = urls;
    this.#options = options;
    this.#backoff = backoff;
    this.#owner = owner;
  }
  #urls;
  #options;
  #backoff;
  #owner;

  start() {
    globalThis.addEventListener?.("online", this.#online);
    this.#connect();
  }

  /** Send a frame. Without a connection, drop it: the owner repeats everything on the next one. */
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

  /** Treat the connection as lost. @param {number} code @param {string} reason */
  lose(code, reason) {
    if (!this.#socket) return;
    this.#hangUp();
    if (FINAL_CODES.has(code)) {
      this.#owner.ended(code, reason);
      return;
    }
    if (Date.now() - this.#began > STEADY_MS) this.#backoff.reset();
    const waitMs = this.#backoff.next();
    this.#waiting = setTimeout(() => this.#connect(), waitMs);
    this.#owner.lost(code, reason, waitMs);
  }

  #connect() {
    this.#waiting = undefined;
    this.#began = Date.now();
    this.#owner.opening();
    const url = this.#urls[this.#turn++ % this.#urls.length];
    const socket = new this.#options.WebSocket(url);
    let status = 0;
    let opened = false;
    const ended = (/** @type {number} */ code, /** @type {string} */ reason) => {
      if (this.#socket !== socket) return;
      if (status) this.#refused(url, status);
      else this.lose(code, reason);
    };
    this.#socket = socket;
    this.#opening = setTimeout(() => this.lose(ABNORMAL, "no hello in time"), this.#options.openTimeoutMs);
    socket.onmessage = ({ data: text }) => this.#socket === socket && this.#received(text);
    socket.onopen = () => { opened = true; };
    socket.onerror = (event) => {
      status = statusOf(event);
      // After a failed attempt the class of Node 20 and 22 fires no `close`. An open connection's `close` tells its code.
      if (!opened) setTimeout(ended, 0, ABNORMAL, "");
    };
    socket.onclose = ({ code, reason }) => ended(code, reason);
  }

  /** Handle a refused handshake. @param {string} url @param {number} status */
  #refused(url, status) {
    const address = url.split("?", 1)[0]; // the query may hold a token
    const reason = `${address} refused the WebSocket handshake with HTTP status ${status}`;
    const retry = this.#greeted || this.#turn < this.#urls.length || UNREACHABLE_STATUSES.has(status);
    if (retry) this.lose(ABNORMAL, reason);
    else this.#owner.ended(status, reason);
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
    this.isOpen = this.#greeted = true;
    this.#pinging = setInterval(() => this.#ping(), this.#options.pingMs);
    this.#owner.opened(frame.payload);
  }

  #ping() {
    if (!this.#heard) {
      this.lose(ABNORMAL, "the server is silent");
      return;
    }
    if (!this.#owner.mayPing()) return; // the next one will do
    this.#heard = false;
    this.send("ping", {});
  }

  #hangUp() {
    clearTimeout(this.#opening);
    clearInterval(this.#pinging);
    const socket = this.#socket;
    this.#socket = null; // ignore its later events: a browser may take long to give up a dead connection
    this.isOpen = false;
    this.#heard = true;
    socket?.close();
  }
}

/** Return the HTTP status of a refused handshake from an `error` event of the package ws, otherwise 0. @param {any} event */
function statusOf({ message }) {
  return Number(/^Unexpected server response: (\d{3})$/.exec(message)?.[1] ?? 0);
}
