/**
 * The client's requests for pages of rooms' histories. Each request is repeated on each new connection until the server
 * answers it. Answers come in the order of the requests: a `roomHistory` has no ref, an `error` has it. So a request
 * whose caller gave up keeps its place until its answer.
 *
 * @import { Connection } from "./connection.js"
 * @import { Pace } from "./pace.js"
 * @import { Promised } from "./promised.js"
 * @typedef {Promised & { payload: { roomId: string, ref: string }, asked: boolean, over: boolean }} Question
 *   `asked`: sent on the present connection and not refused since; `over`: the caller no longer waits
 */

import { ChatError } from "./errors.js";
import { promised } from "./promised.js";

export class History {
  /** @type {Map<string, Question>} by ref, in the order of the requests */
  #questions = new Map();
  #connection;
  #pace;

  /** @param {Connection} connection @param {Pace} pace */
  constructor(connection, pace) {
    this.#connection = connection;
    this.#pace = pace;
  }

  /** Request a page. @param {{ roomId: string, ref: string, firstMessageId: string | undefined, limit: number | undefined }} payload */
  ask(payload) {
    /** @type {Question} */
    const question = { payload, asked: false, over: false, ...promised() };
    question.promise.finally(() => { question.over = true; }).catch(() => {});
    this.#questions.set(payload.ref, question);
    this.askAll();
    return question;
  }

  /** Send each request that was not sent on this connection, as far as the pace allows it. */
  askAll() {
    if (!this.#connection.isOpen) return;
    for (const one of this.#questions.values()) {
      if (one.asked || !this.#pace.take()) continue;
      one.asked = true;
      this.#connection.send("requestRoomHistory", one.payload);
    }
  }

  /** Answer the oldest request for a room with the page that `read` returns. @param {string} room @param {() => any} read */
  answer(room, read) {
    const first = [...this.#questions.values()].find((one) => one.asked && one.payload.roomId === room);
    if (!first) return;
    this.#questions.delete(first.payload.ref);
    try {
      first.resolve(read());
    } catch (fault) {
      first.reject(new ChatError("internal", "the page is not valid"));
      throw fault;
    }
  }

  /** Handle an error, if it answers a request. @param {string} ref @param {Error} fault @param {boolean} passing */
  refused(ref, fault, passing) {
    const one = this.#questions.get(ref);
    if (!one) return;
    this.#questions.delete(ref);
    if (passing) {
      one.asked = false;
      this.#questions.set(ref, one); // behind the requests that wait now
    } else one.reject(fault);
  }

  /** Repeat all requests on the next connection, except those whose callers gave up. */
  lost() {
    for (const [ref, one] of this.#questions) {
      if (one.over) this.#questions.delete(ref);
      one.asked = false;
    }
  }

  /** Reject all requests. @param {Error} fault */
  end(fault) {
    for (const one of this.#questions.values()) one.reject(fault);
    this.#questions.clear();
  }
}
