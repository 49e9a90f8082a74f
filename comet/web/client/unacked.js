/**
 * The client's messages that wait for their acks: sent in the order in which they came, a bounded number at a time, and
 * sent again on each new connection and after each pause.
 *
 * @typedef {import("./promised.js").Promised} Promised
 * @typedef {Promised & { ref: string, room: string, content: string, sent: boolean, faults: number }} Outgoing
 *   `sent`: on the present connection, and not refused since; `faults`: `internal` answers
 */

import { ChatError } from "./errors.js";
import { NotUnderstood, isObject } from "./frames.js";
import { promised } from "./promised.js";

const INTERNAL_TRIES = 5; // a fault of the server's may be one of this very message

export class Unacked {
  /** @type {Map<string, Outgoing>} in the order of sending */
  #byRef = new Map();
  #link;
  #pause;
  #joins;
  #limit;

  /**
   * @param {import("./link.js").Link} link @param {import("./waits.js").Pause} pause
   * @param {import("./joins.js").Joins} joins @param {number} limit
   */
  constructor(link, pause, joins, limit) {
    this.#link = link;
    this.#pause = pause;
    this.#joins = joins;
    this.#limit = limit;
  }

  get size() {
    return this.#byRef.size;
  }

  /** A room's messages. @param {string} room */
  of(room) {
    return [...this.#byRef.values()].filter((one) => one.room === room);
  }

  /** Wait for all messages that a room has now. @param {string} room */
  settled(room) {
    return Promise.allSettled(this.of(room).map((one) => one.promise));
  }

  /** Add a message, to be sent by `sendAll`. @param {string} ref @param {string} room @param {string} content */
  add(ref, room, content) {
    if (this.#byRef.has(ref)) throw new ChatError("bad_request", `${ref} waits for its ack already`);
    /** @type {Outgoing} */
    const one = { ref, room, content, sent: false, faults: 0, ...promised() };
    this.#byRef.set(ref, one);
    return one;
  }

  /** Forget a message: it is acked, failed, or its sender waits no more. @param {Outgoing} one */
  remove(one) {
    this.#byRef.delete(one.ref);
    this.sendAll(); // another has its place
  }

  /** Send what may be sent. Not while its room is not live: that would join it anew, and miss what came meanwhile. */
  sendAll() {
    if (this.#pause.isOn || !this.#link.isOpen) return;
    let places = this.#limit;
    for (const one of this.#byRef.values()) {
      if (places-- === 0) return;
      if (one.sent || !this.#joins.isLive(one.room)) continue;
      one.sent = true;
      this.#link.send("clientMessages", { roomId: one.room, content: one.content, ref: one.ref });
    }
  }

  /** Take an `ack`; one that nobody waits for any more is dropped. @param {any} payload */
  ack({ ref, epoch, messages }) {
    const one = this.#byRef.get(ref);
    const [stored] = messages;
    if (!isObject(stored) || ref === undefined) throw new NotUnderstood();
    one?.resolve({ ref, room: one.room, epoch, seq: stored.seq, id: stored.id, timestamp: stored.timestamp });
  }

  /**
   * Take an error; return whether it answers a message.
   * @param {string} ref @param {ChatError} fault @param {boolean} passing
   */
  refused(ref, fault, passing) {
    const one = this.#byRef.get(ref);
    if (!one) return false;
    one.faults += Number(fault.code === "internal");
    if (passing && one.faults < INTERNAL_TRIES) {
      one.sent = false;
      this.#pause.begin();
    } else one.reject(fault);
    return true;
  }

  /** Fail a room's messages. @param {string} room @param {Error} fault */
  fail(room, fault) {
    for (const one of this.of(room)) one.reject(fault);
  }

  /** Send all again on the next connection. */
  lost() {
    for (const one of this.#byRef.values()) one.sent = false;
  }

  /** Fail whoever waits: there will be no more answers. @param {Error} fault */
  end(fault) {
    for (const one of this.#byRef.values()) one.reject(fault);
  }
}
