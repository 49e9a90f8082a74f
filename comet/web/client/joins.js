/**
 * The client's rooms: joined, left, and joined again where they stood whenever the server knows nothing of them. A room
 * in which a message is missing is joined again after a pause. Who joins is told when the room is live, or why it never
 * will be.
 *
 * @typedef {import("../client.js").Position} Position
 * @typedef {import("../client.js").Joined} Joined
 * @typedef {import("./promised.js").Promised} Promised
 */

import { ChatError } from "./errors.js";
import { messagesOf } from "./frames.js";
import { Leaves } from "./leaves.js";
import { promised } from "./promised.js";
import { newRef } from "./refs.js";
import { RoomView } from "./room.js";

export class Joins {
  /** @type {Map<string, RoomView>} */
  #views = new Map();
  /** @type {Map<string, Promised[]>} who waits for a room to be live */
  #joining = new Map();
  #leaves;
  #link;
  #pause;
  #emit;

  /**
   * @param {import("./link.js").Link} link @param {import("./waits.js").Pause} pause
   * @param {(event: any) => void} emit
   */
  constructor(link, pause, emit) {
    this.#link = link;
    this.#pause = pause;
    this.#emit = emit;
    this.#leaves = new Leaves(link, pause);
  }

  // -- what is known --

  /** The rooms that were joined, and behind which message each stands. */
  get positions() {
    const joined = [...this.#views.values()].filter((view) => view.position);
    return new Map(joined.map((view) => [view.room, /** @type {Position} */ (view.position)]));
  }

  /** Whether a room is joined now and nothing is missing in it. @param {string} room */
  isLive(room) {
    return this.#views.get(room)?.live ?? false;
  }

  /** The room that was joined with this ref, if that was the last time. @param {string} ref */
  askedWith(ref) {
    return [...this.#views.values()].find((view) => ref && (view.asked === ref || view.answered === ref));
  }

  // -- what the client wants --

  /** Follow a room from now on. @param {string} room @param {Position} [since] */
  want(room, since) {
    let view = this.#views.get(room);
    if (!view) {
      view = new RoomView(room, since ?? null);
      this.#views.set(room, view);
    }
    if (!view.live && !this.#pause.isOn) this.#ask(view);
    return view;
  }

  /** Join a room; answered with Joined when it is live. @param {string} room @param {Position} [since] */
  join(room, since) {
    const view = this.want(room, since);
    const joining = promised();
    view.leaving = false;
    if (view.live) joining.resolve(view.joined());
    else this.#joining.set(room, [...(this.#joining.get(room) ?? []), joining]);
    return joining;
  }

  /** Take note that a room is to be left; whoever joins it before that wants it again. @param {string} room */
  willLeave(room) {
    const view = this.#views.get(room);
    if (view) view.leaving = true;
    return view;
  }

  /**
   * Leave a room if it is still to be left.
   * @param {RoomView} view @returns {Promised | null} the server's answer; null if it need not be asked
   */
  leave(view) {
    const room = view.room;
    if (!view.leaving || this.#views.get(room) !== view) return null; // it is wanted again, or gone already
    this.#views.delete(room);
    this.tell(room, null, new ChatError("forbidden", `${room} was left meanwhile`));
    return this.#link.isOpen ? this.#leaves.ask(room) : null;
  }

  /** Ask to be told who is in a room, or not to be. @param {string} room @param {boolean} on */
  watch(room, on) {
    const view = this.#views.get(room);
    if (!view) throw new ChatError("bad_request", `${room} is not joined`);
    view.watched = on;
    if (view.live) this.#link.send("requestPresence", { roomId: room, watch: on });
  }

  /** Leave and join what waited for the end of a pause, and join all rooms that are not live. */
  askAll() {
    this.#leaves.tryAll((room) => this.#views.has(room));
    for (const view of this.#views.values()) if (!view.live) this.#ask(view);
  }

  /** Join a room, where it stood if it was joined before. @param {RoomView} view */
  #ask(view) {
    if (!this.#link.isOpen || view.asked) return;
    view.asked = newRef();
    const since = view.position ?? undefined;
    this.#link.send("joinRoom", { roomId: view.room, ref: view.asked, since });
  }

  // -- what becomes of the connection --

  /** Forget what the connection knew. */
  lost() {
    for (const view of this.#views.values()) view.lost();
    this.#leaves.lost();
  }

  /** Fail whoever joins: there will be no more answers. @param {Error} fault */
  end(fault) {
    for (const room of [...this.#joining.keys()]) this.tell(room, null, fault);
  }

  // -- what the server says --

  /** Take a `serverMessages`; one without a position is shown as it is. @param {any} payload */
  onMessages(payload) {
    const view = this.#views.get(payload.roomId);
    if (payload.epoch === undefined) {
      messagesOf(payload).forEach((one) => this.#emit(one));
    } else if (view?.live) {
      view.take(messagesOf(payload)).forEach((one) => this.#emit(one));
      if (!view.live) this.#pause.begin(); // it fell behind, and is joined again
    }
  }

  /** Take a `joined`. @param {any} payload */
  onJoined(payload) {
    const room = payload.roomId;
    const view = this.#views.get(room);
    if (!view) {
      if (!this.#leaves.has(room)) this.#leaves.ask(room); // joined by a message whose sender is gone
      return;
    }
    view.onJoined(payload, messagesOf(payload)).forEach((one) => this.#emit(one));
    if (!view.live) {
      this.#pause.begin();
      return;
    }
    this.tell(room, view.joined());
    this.#emit({ type: "joined", ...view.joined() });
    if (view.watched) this.#link.send("requestPresence", { roomId: room, watch: true });
  }

  /** Take a `left`. @param {string} room */
  onLeft(room) {
    this.#leaves.left(room);
  }

  /**
   * Take an error; return whether it answers a leave.
   * @param {string} ref @param {Error} fault @param {boolean} passing
   */
  leaveRefused(ref, fault, passing) {
    return this.#leaves.refused(ref, fault, passing);
  }

  /**
   * Take an error that answers a join; return whether it is for good: then `tell` whoever waits.
   * @param {RoomView} view @param {Error} fault @param {boolean} passing
   */
  refused(view, fault, passing) {
    view.lost();
    if (passing) {
      this.#pause.begin();
      return false;
    }
    this.#views.delete(view.room);
    if (view.position) this.#emit({ type: "removed", room: view.room, reason: fault.message });
    return true;
  }

  /** Answer whoever waits for a room. @param {string} room @param {Joined | null} joined @param {Error} [fault] */
  tell(room, joined, fault) {
    const waiting = this.#joining.get(room) ?? [];
    this.#joining.delete(room);
    for (const joining of waiting) fault ? joining.reject(fault) : joining.resolve(joined);
  }
}
