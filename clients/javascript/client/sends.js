/**
 * The client's sends without an ack, in order. Each is sent while its room is live, when the pace allows it
 * (client/pace.js), again on each new connection, and again after a pause if the server refused it for the moment. It is not
 * sent again when the server may have forgotten its `ref`: then its outcome is unknown.
 *
 * Time: a message that may be stored waits `ackTimeoutMs` for its ack, from its first attempt on. One that was never sent
 * waits for its turn, as long as other messages are acked meanwhile, and otherwise for `ackTimeoutMs`.
 *
 * Bound: at most `unackedLimit` messages are sent and not acked. The others wait here, as many as the program sends.
 *
 * @import { Connection } from "./connection.js"
 * @import { Pace } from "./pace.js"
 * @import { Promised } from "./promised.js"
 * @import { Rooms } from "./rooms.js"
 * @typedef {Promised & { ref: string, room: string, content: string, began: number, timer: any, sent: boolean,
 *   attempts: number, age: Age | null, faults: number, over: boolean }} Outgoing
 *   `sent`: on the present connection and not refused since; `attempts`: those that may have been stored; `age`: since the
 *   first of these; `faults`: the number of `internal` errors; `over`: it is acked or failed
 */

import { Age } from "./age.js";
import { ChatError, OutcomeUnknown } from "./errors.js";
import { NotUnderstood, isObject, numberOf } from "./frames.js";
import { promised } from "./promised.js";

const INTERNAL_TRIES = 5; // the message itself may cause the server's fault
const REF_WINDOW_S = 300; // of a server that does not tell its own (COMET_REF_WINDOW_SECONDS)
const WINDOW_SHARE = 0.8; // the rest is for a frame that is long on its way
const MOST_BYTES_PER_CHARACTER = 6; // in JSON: \\u0001
const NOTHING_STORED = new Set(["rate_limited", "overloaded"]);

export class Sends {
  /** @type {Map<string, Outgoing>} in the order of sending */
  #byRef = new Map();
  #connection;
  #pace;
  #rooms;
  #limit;
  #ackTimeoutMs;
  #windowMs = REF_WINDOW_S * WINDOW_SHARE * 1000;
  #frameBytes = Infinity; // a larger frame makes the server close the connection for good
  #acked = 0; // the time of the last ack

  /**
   * @param {Connection} connection @param {Pace} pace @param {Rooms} rooms
   * @param {{ unackedLimit: number, ackTimeoutMs: number }} options
   */
  constructor(connection, pace, rooms, { unackedLimit, ackTimeoutMs }) {
    this.#connection = connection;
    this.#pace = pace;
    this.#rooms = rooms;
    this.#limit = unackedLimit;
    this.#ackTimeoutMs = ackTimeoutMs;
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
    const state = { began: performance.now(), timer: undefined, sent: false, attempts: 0, age: null, faults: 0, over: false };
    /** @type {Outgoing} */
    const one = { ref, room, content, ...state, ...promised() };
    one.timer = setTimeout(() => this.#checkTime(one), this.#ackTimeoutMs);
    this.#byRef.set(ref, one);
    return one;
  }

  /** Forget a message: it is acked or failed. @param {Outgoing} one */
  remove(one) {
    clearTimeout(one.timer);
    this.#byRef.delete(one.ref);
    this.sendAll(); // another message takes its place
  }

  /** Send what may be sent now. A message to a room that is not live waits: it would join the room anew, and open a gap. */
  sendAll() {
    if (!this.#connection.isOpen) return;
    let places = this.#limit;
    for (const one of this.#byRef.values()) {
      if (places-- === 0) return;
      if (one.sent || one.over || !this.#rooms.isLive(one.room)) continue;
      if (one.age && one.age.ms > this.#windowMs) this.#fail(one, new OutcomeUnknown(one.ref));
      else if (this.#isTooLarge(one)) this.#fail(one, new ChatError("too_large", `its frame has more than ${this.#frameBytes} bytes`));
      else if (this.#pace.take({ message: true })) this.#send(one);
      else return;
    }
  }

  /** @param {Outgoing} one */
  #send(one) {
    one.sent = true;
    one.attempts++;
    one.age ??= new Age();
    this.#connection.send("clientMessages", payloadOf(one));
  }

  /** Return whether the server would close the connection for good because of this frame. @param {Outgoing} one */
  #isTooLarge(one) {
    if (one.content.length * MOST_BYTES_PER_CHARACTER < this.#frameBytes / 2) return false;
    const text = JSON.stringify({ type: "clientMessages", payload: payloadOf(one) });
    return new TextEncoder().encode(text).length > this.#frameBytes;
  }

  /** End the wait for an ack, or go on waiting. @param {Outgoing} one */
  #checkTime(one) {
    const ms = this.#ackTimeoutMs;
    const leftMs = one.age ? ms - one.age.ms : Math.max(one.began, this.#acked) + ms - performance.now();
    if (leftMs > 0) one.timer = setTimeout(() => this.#checkTime(one), leftMs);
    else if (one.age) this.#fail(one, new OutcomeUnknown(one.ref));
    else this.#fail(one, new ChatError("timeout", `nothing could be sent for ${ms / 1000} s`));
  }

  /** @param {Outgoing} one @param {Error} fault */
  #fail(one, fault) {
    one.over = true;
    one.reject(fault);
  }

  /** Handle an `ack`. Ignore one for a send that is no longer waited for. @param {any} payload */
  ack({ ref, epoch, messages }) {
    const one = this.#byRef.get(ref);
    const [stored] = messages;
    if (!isObject(stored) || ref === undefined) throw new NotUnderstood();
    this.#acked = performance.now();
    if (!one) return;
    one.over = true;
    one.resolve({ ref, room: one.room, epoch, seq: stored.seq, id: stored.id, timestamp: stored.timestamp });
  }

  /**
   * Handle an error. Return whether it answers a message.
   * @param {string} ref @param {ChatError} fault @param {boolean} passing
   */
  refused(ref, fault, passing) {
    const one = this.#byRef.get(ref);
    if (!one) return false;
    one.faults += Number(fault.code === "internal");
    if (NOTHING_STORED.has(fault.code) && --one.attempts === 0) one.age = null;
    if (passing && one.faults < INTERNAL_TRIES) one.sent = false;
    else this.#fail(one, fault);
    return true;
  }

  /** Reject a room's messages. @param {string} room @param {Error} fault */
  fail(room, fault) {
    for (const one of this.of(room)) this.#fail(one, fault);
  }

  /** Take the ref window and the size of a frame from the limits in a `hello`, if it tells them. @param {any} limits */
  opened(limits) {
    this.#frameBytes = numberOf(limits?.frameBytes) || Infinity;
    this.#windowMs = (numberOf(limits?.refWindowSeconds) || REF_WINDOW_S) * WINDOW_SHARE * 1000;
  }

  /** Repeat all messages on the next connection. */
  lost() {
    for (const one of this.#byRef.values()) one.sent = false;
  }

  /** Reject all messages. @param {Error} fault */
  end(fault) {
    for (const one of this.#byRef.values()) this.#fail(one, fault);
  }
}

/** @param {Outgoing} one */
function payloadOf({ room, content, ref }) {
  return { roomId: room, content, ref };
}
