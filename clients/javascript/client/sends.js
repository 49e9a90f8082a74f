/**
 * The client's sends without an ack. Sends them in order, a bounded number at a time. Repeats them on each new connection,
 * and after a pause those that the server refused for the moment.
 *
 * @import { Connection } from "./connection.js"
 * @import { Pause } from "./pause.js"
 * @import { Promised } from "./promised.js"
 * @import { Rooms } from "./rooms.js"
 * @typedef {Promised & { ref: string, room: string, content: string, sent: boolean, faults: number }} Outgoing
 *   `sent`: on the present connection and not refused since; `faults`: the number of `internal` errors
 */

import { ChatError } from "./errors.js";
import { NotUnderstood, isObject } from "./frames.js";
import { promised } from "./promised.js";

const INTERNAL_TRIES = 5; // the message itself may cause the server's fault

export class Sends {
  /** @type {Map<string, Outgoing>} in the order of sending */
  #byRef = new Map();
  #connection;
  #pause;
  #rooms;
  #limit;

  /** @param {Connection} connection @param {Pause} pause @param {Rooms} rooms @param {number} limit */
  constructor(connection, pause, rooms, limit) {
    this.#connection = connection;
    this.#pause = pause;
    this.#rooms = rooms;
    this.#limit = limit;
  }

  get size() {
    return this.#byRef.size;
  }

  /** Return a room's messages. @param {string} room */
  of(room) {
    return [...this.#byRef.values()].filter((one) => one.room === room);
  }

  /** Wait for the present messages of a room. @param {string} room */
  settled(room) {
    return Promise.allSettled(this.of(room).map((one) => one.promise));
  }

  /** Add a message, which `sendAll` sends. @param {string} ref @param {string} room @param {string} content */
  add(ref, room, content) {
    if (this.#byRef.has(ref)) throw new ChatError("bad_request", `${ref} waits for its ack already`);
    /** @type {Outgoing} */
    const one = { ref, room, content, sent: false, faults: 0, ...promised() };
    this.#byRef.set(ref, one);
    return one;
  }

  /** Forget a message: it is acked, failed, or no longer waited for. @param {Outgoing} one */
  remove(one) {
    this.#byRef.delete(one.ref);
    this.sendAll(); // another message takes its place
  }

  /** Send what may be sent now. A message to a room that is not live waits: it would join the room anew, and open a gap. */
  sendAll() {
    if (this.#pause.isOn || !this.#connection.isOpen) return;
    let places = this.#limit;
    for (const one of this.#byRef.values()) {
      if (places-- === 0) return;
      if (one.sent || !this.#rooms.isLive(one.room)) continue;
      one.sent = true;
      this.#connection.send("clientMessages", { roomId: one.room, content: one.content, ref: one.ref });
    }
  }

  /** Handle an `ack`. Ignore one for a send that is no longer waited for. @param {any} payload */
  ack({ ref, epoch, messages }) {
    const one = this.#byRef.get(ref);
    const [stored] = messages;
    if (!isObject(stored) || ref === undefined) throw new NotUnderstood();
    one?.resolve({ ref, room: one.room, epoch, seq: stored.seq, id: stored.id, timestamp: stored.timestamp });
  }

  /**
   * Handle an error. Return whether it answers a message.
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

  /** Reject a room's messages. @param {string} room @param {Error} fault */
  fail(room, fault) {
    for (const one of this.of(room)) one.reject(fault);
  }

  /** Repeat all messages on the next connection. */
  lost() {
    for (const one of this.#byRef.values()) one.sent = false;
  }

  /** Reject all messages. @param {Error} fault */
  end(fault) {
    for (const one of this.#byRef.values()) one.reject(fault);
  }
}
