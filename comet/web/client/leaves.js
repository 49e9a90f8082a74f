/**
 * The rooms that the server was asked to leave: asked again after a pause, until it says `left`, refuses it for good, or
 * the connection is lost, with which all rooms are left.
 *
 * @typedef {import("./promised.js").Promised & { room: string, held: boolean }} Leave
 *   `held`: to be asked for when the pause is over
 */

import { promised } from "./promised.js";
import { newRef } from "./refs.js";

export class Leaves {
  /** @type {Map<string, Leave>} by the leaveRoom's ref */
  #asked = new Map();
  #link;
  #pause;

  /** @param {import("./link.js").Link} link @param {import("./waits.js").Pause} pause */
  constructor(link, pause) {
    this.#link = link;
    this.#pause = pause;
  }

  /** Leave a room. @param {string} room @returns {Leave} */
  ask(room) {
    /** @type {Leave} */
    const one = { room, held: this.#pause.isOn, ...promised() };
    one.promise.finally(() => this.#forget(one)).catch(() => {});
    this.#ask(one);
    return one;
  }

  /** @param {Leave} one */
  #ask(one) {
    const ref = newRef();
    this.#asked.set(ref, one);
    if (!one.held) this.#link.send("leaveRoom", { roomId: one.room, ref });
  }

  /** @param {Leave} one */
  #forget(one) {
    this.#asked.forEach((other, ref) => other === one && this.#asked.delete(ref));
  }

  /** Whether a room is being left. @param {string} room */
  has(room) {
    return [...this.#asked.values()].some((one) => one.room === room);
  }

  /** A pause is over: ask for what waited for it, but for rooms that are wanted again. @param {(room: string) => boolean} isWanted */
  tryAll(isWanted) {
    for (const [ref, one] of [...this.#asked].filter(([, one]) => one.held)) {
      this.#asked.delete(ref);
      one.held = false;
      if (isWanted(one.room)) one.resolve(undefined);
      else this.#ask(one);
    }
  }

  /** Take a `left`. @param {string} room */
  left(room) {
    [...this.#asked.values()].find((one) => one.room === room && !one.held)?.resolve(undefined);
  }

  /** Take an error; return whether it answers a leave. @param {string} ref @param {Error} fault @param {boolean} passing */
  refused(ref, fault, passing) {
    const one = this.#asked.get(ref);
    if (!one) return false;
    one.held = passing;
    if (passing) this.#pause.begin();
    else one.reject(fault);
    return true;
  }

  /** Nothing is joined any more. */
  lost() {
    for (const one of this.#asked.values()) one.resolve(undefined);
    this.#asked.clear();
  }
}
