/**
 * The client's pending `leaveRoom` requests. A request ends with the server's `left` or its refusal for good. The loss of
 * the connection ends them all, because it leaves all rooms. After a refusal for the moment, a request is repeated.
 *
 * @import { Connection } from "./connection.js"
 * @import { Pace } from "./pace.js"
 * @import { Promised } from "./promised.js"
 * @typedef {Promised & { room: string, held: boolean }} Leave  `held`: to be sent when the pace allows it
 */

import { promised } from "./promised.js";
import { newRef } from "./refs.js";

export class Leaves {
  /** @type {Map<string, Leave>} by ref */
  #asked = new Map();
  #connection;
  #pace;

  /** @param {Connection} connection @param {Pace} pace */
  constructor(connection, pace) {
    this.#connection = connection;
    this.#pace = pace;
  }

  /** Leave a room. @param {string} room @returns {Leave} */
  ask(room) {
    /** @type {Leave} */
    const one = { room, held: false, ...promised() };
    one.promise.finally(() => this.#forget(one)).catch(() => {});
    this.#ask(one);
    return one;
  }

  /** @param {Leave} one */
  #ask(one) {
    const ref = newRef();
    this.#asked.set(ref, one);
    one.held = !this.#pace.take();
    if (!one.held) this.#connection.send("leaveRoom", { roomId: one.room, ref });
  }

  /** @param {Leave} one */
  #forget(one) {
    this.#asked.forEach((other, ref) => other === one && this.#asked.delete(ref));
  }

  /** Return whether a room is being left. @param {string} room */
  has(room) {
    return [...this.#asked.values()].some((one) => one.room === room);
  }

  /** Send the requests that waited for their turn, except for rooms that are wanted again. @param {(room: string) => boolean} isWanted */
  tryAll(isWanted) {
    for (const [ref, one] of [...this.#asked].filter(([, one]) => one.held)) {
      this.#asked.delete(ref);
      if (isWanted(one.room)) one.resolve(undefined);
      else this.#ask(one);
    }
  }

  /** Handle a `left`. @param {string} room */
  left(room) {
    [...this.#asked.values()].find((one) => one.room === room && !one.held)?.resolve(undefined);
  }

  /** Handle an error. Return whether it answers a leave. @param {string} ref @param {Error} fault @param {boolean} passing */
  refused(ref, fault, passing) {
    const one = this.#asked.get(ref);
    if (!one) return false;
    one.held = passing;
    if (!passing) one.reject(fault);
    return true;
  }

  /** End all requests: without a connection no room is joined. */
  lost() {
    for (const one of this.#asked.values()) one.resolve(undefined);
    this.#asked.clear();
  }
}
