/**
 * What the client asks of rooms' histories: each page is asked for until it is answered, again on each new connection.
 * Answers come in the order of asking, a `roomHistory` without a ref, an `error` with it; so one that nobody waits for
 * any more is still waited for here.
 *
 * @typedef {import("./promised.js").Promised & { payload: { roomId: string, ref: string }, asked: boolean, over: boolean }} Question
 *   `asked`: on the present connection, and not refused since; `over`: nobody waits for it
 */

import { ChatError } from "./errors.js";
import { promised } from "./promised.js";

export class Histories {
  /** @type {Map<string, Question>} by ref, in the order of asking */
  #questions = new Map();
  #link;
  #pause;

  /** @param {import("./link.js").Link} link @param {import("./waits.js").Pause} pause */
  constructor(link, pause) {
    this.#link = link;
    this.#pause = pause;
  }

  /** Ask for a page. @param {{ roomId: string, ref: string, firstMessageId?: string, limit?: number }} payload */
  ask(payload) {
    /** @type {Question} */
    const question = { payload, asked: false, over: false, ...promised() };
    question.promise.finally(() => { question.over = true; }).catch(() => {});
    this.#questions.set(payload.ref, question);
    this.askAll();
    return question;
  }

  /** Ask what was not asked on this connection, unless nothing is to be sent now. */
  askAll() {
    if (this.#pause.isOn || !this.#link.isOpen) return;
    for (const one of this.#questions.values()) {
      if (one.asked) continue;
      one.asked = true;
      this.#link.send("requestRoomHistory", one.payload);
    }
  }

  /** Take a page, read by `read`: the answer to the first that was asked for this room. @param {string} room @param {() => any} read */
  answer(room, read) {
    const first = [...this.#questions.values()].find((one) => one.asked && one.payload.roomId === room);
    if (!first) return;
    this.#questions.delete(first.payload.ref);
    try {
      first.resolve(read());
    } catch (fault) {
      first.reject(new ChatError("internal", "the page makes no sense"));
      throw fault;
    }
  }

  /** Take an error, if it answers a question. @param {string} ref @param {Error} fault @param {boolean} passing */
  refused(ref, fault, passing) {
    const one = this.#questions.get(ref);
    if (!one) return;
    this.#questions.delete(ref);
    if (passing) {
      one.asked = false;
      this.#questions.set(ref, one); // it is asked behind those that wait now
      this.#pause.begin();
    } else one.reject(fault);
  }

  /** Ask all again on the next connection, but for those that nobody waits for. */
  lost() {
    for (const [ref, one] of this.#questions) {
      if (one.over) this.#questions.delete(ref);
      one.asked = false;
    }
  }

  /** Fail whoever waits: there will be no more answers. @param {Error} fault */
  end(fault) {
    for (const one of this.#questions.values()) one.reject(fault);
    this.#questions.clear();
  }
}
