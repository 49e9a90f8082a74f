/**
 * The pace: when the client may send its next frame.
 *
 * The server counts each frame. The pace stays within the limits that the server told in `hello`, with a margin, because
 * the network may bunch frames: a bucket with half of the burst that refills with 95 % of the rate. A server that tells no
 * limits is not paced.
 *
 * After a refusal for the moment the client sends nothing until `retryAfterMs` has passed, if the refusal told it, and a
 * jittered pause. The bound of that pause doubles from one to the next, unless the last one began long ago.
 *
 * Order: requests such as joins, leaves and history go before messages, and a tenth of the bucket is kept for them. So they
 * wait for no message. Messages go in the order of their calls.
 */

import { Backoff } from "./backoff.js";
import { numberOf } from "./frames.js";

const RATE_SHARE = 0.95;
const BURST_SHARE = 0.5;
const RESERVE_SHARE = 0.1; // of the bucket, for requests other than messages
const TICK_MS = 10; // between two bunches of frames: a wake-up for each one would cost more than it brings
const RETRY_FIRST_MS = 100;
const RETRY_CAP_MS = 2000;
const LONGEST_MS = 2 ** 31 - 1; // a longer timer fires at once

/** A bucket of frames that fills with time, like that of the server. Pure: its caller tells the time. */
export class Bucket {
  #ratePerMs;
  #most;
  #reserve;
  #left;
  #at;

  /** @param {number} ratePerS @param {number} burst @param {number} now */
  constructor(ratePerS, burst, now) {
    this.#ratePerMs = (ratePerS * RATE_SHARE) / 1000;
    this.#most = Math.max(1, burst * BURST_SHARE);
    this.#reserve = Math.min(this.#most * RESERVE_SHARE, this.#most - 1);
    this.#left = this.#most;
    this.#at = now; // when so much was left
  }

  /** Take for one frame. Return 0, or the ms to wait if too little is left; then nothing is taken. @param {number} now @param {boolean} message */
  take(now, message) {
    this.#left = Math.min(this.#most, this.#left + Math.max(0, now - this.#at) * this.#ratePerMs);
    this.#at = now;
    const missing = 1 + (message ? this.#reserve : 0) - this.#left;
    if (missing > 0) return missing / this.#ratePerMs;
    this.#left--;
    return 0;
  }

  /** Count nothing as left: the server has refused a frame. */
  empty() {
    this.#left = Math.min(this.#left, 0);
  }
}

/** Says of each frame whether it may go now. If one may not, `sendAll` is called as soon as one may. */
export class Pace {
  #backoff = new Backoff(RETRY_FIRST_MS, RETRY_CAP_MS);
  #sendAll;
  /** @type {Bucket | null} */
  #bucket = null;
  #shut = false; // nothing may go until the timer fires
  #shutToMessages = false; // a message waits for the timer, and those behind it as well
  /** @type {any} */
  #timer;
  #due = Infinity; // when the timer fires
  #pauseBegan = -Infinity;
  #pausedUntil = -Infinity;
  #stopped = false;

  /** @param {() => void} sendAll */
  constructor(sendAll) {
    this.#sendAll = sendAll;
  }

  /** Start a connection with a full bucket of these limits, if they are valid, and send all requests. @param {any} limits */
  begin(limits) {
    const [ratePerS, burst] = [numberOf(limits?.messagesPerSecond), numberOf(limits?.burstMessages)];
    this.#bucket = ratePerS > 0 && burst >= 1 ? new Bucket(ratePerS, burst, performance.now()) : null;
    this.#open();
  }

  /** Return whether a frame may be sent now, and count it. @param {{ message?: boolean }} [which] */
  take({ message = false } = {}) {
    if (this.#shut || (message && this.#shutToMessages)) return false;
    const now = performance.now();
    const waitMs = this.#bucket?.take(now, message) ?? 0;
    if (waitMs === 0) return true;
    this.#shutToMessages = true;
    this.#shut = !message;
    const due = now + Math.max(waitMs, TICK_MS);
    if (due < this.#due) this.#arm(due, now);
    return false;
  }

  /** Send nothing for a while: the server refused a request for the moment, or a message of a room is missing. */
  pause({ code = "", retryAfterMs = 0 } = {}) {
    if (this.#stopped) return;
    const now = performance.now();
    if (code === "rate_limited") this.#bucket?.empty();
    const jitterMs = now >= this.#pausedUntil ? this.#jitter(now) : 0;
    this.#pausedUntil = Math.max(this.#pausedUntil, now + retryAfterMs + jitterMs);
    this.#shut = this.#shutToMessages = true;
    this.#arm(this.#pausedUntil, now);
  }

  /** @param {number} now */
  #jitter(now) {
    if (now - this.#pauseBegan > 2 * RETRY_CAP_MS) this.#backoff.reset();
    this.#pauseBegan = now;
    return this.#backoff.next();
  }

  /** @param {number} due @param {number} now */
  #arm(due, now) {
    clearTimeout(this.#timer);
    this.#due = due;
    if (!this.#stopped) this.#timer = setTimeout(() => this.#open(), Math.min(Math.ceil(due - now), LONGEST_MS));
  }

  /** Let requests through again, first of all those that wait. */
  #open() {
    clearTimeout(this.#timer);
    this.#due = Infinity;
    this.#pausedUntil = -Infinity;
    this.#shut = this.#shutToMessages = false;
    this.#sendAll();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#stopped = this.#shut = true;
  }
}
