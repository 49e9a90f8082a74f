/**
 * The client's rooms. Joins and leaves them, and joins each again at its position on each new connection. After a gap,
 * joins the room again at the end of a pause. A pending `join` resolves when its room is live, and rejects when the server
 * refuses the room for good.
 *
 * @import { Events, Joined, Position } from "../index.js"
 * @import { Connection } from "./connection.js"
 * @import { Pace } from "./pace.js"
 * @import { Promised } from "./promised.js"
 */

import { ChatError } from "./errors.js";
import { messagesOf, tailOf } from "./frames.js";
import { Leaves } from "./leaves.js";
import { promised } from "./promised.js";
import { newRef } from "./refs.js";
import { Room } from "./room.js";

export class Rooms {
  /** @type {Map<string, Room>} */
  #views = new Map();
  /** @type {Map<string, Promised[]>} pending joins by room */
  #joining = new Map();
  #leaves;
  #connection;
  #pace;
  #emit;

  /** @param {Connection} connection @param {Pace} pace @param {(event: Events[keyof Events]) => void} emit */
  constructor(connection, pace, emit) {
    this.#connection = connection;
    this.#pace = pace;
    this.#emit = emit;
    this.#leaves = new Leaves(connection, pace);
  }

  // -- state --

  /** The positions of the rooms that were joined. @returns {Map<string, Position>} */
  get positions() {
    const joined = [...this.#views.values()].filter((view) => view.position);
    return new Map(joined.map((view) => [view.room, /** @type {Position} */ (view.position)]));
  }

  /** Return whether a room is joined now and no message is missing. @param {string} room */
  isLive(room) {
    return this.#views.get(room)?.live ?? false;
  }

  /** Return the room whose latest joinRoom has this ref. @param {string} ref */
  askedWith(ref) {
    return [...this.#views.values()].find((view) => ref && (view.asked === ref || view.answered === ref));
  }

  // -- requests of the client --

  /** Follow a room from now on. @param {string} room @param {Position} [since] */
  want(room, since) {
    let view = this.#views.get(room);
    if (!view) {
      view = new Room(room, since ?? null);
      this.#views.set(room, view);
    }
    if (!view.live) this.#ask(view);
    return view;
  }

  /** Join a room. Resolves with Joined when the room is live. @param {string} room @param {Position} [since] */
  join(room, since) {
    const view = this.want(room, since);
    const joining = promised();
    view.leaving = false;
    if (view.live) joining.resolve(view.joined());
    else this.#joining.set(room, [...(this.#joining.get(room) ?? []), joining]);
    return joining;
  }

  /** Mark a room as to be left. A later join takes the mark away. @param {string} room */
  willLeave(room) {
    const view = this.#views.get(room);
    if (view) view.leaving = true;
    return view;
  }

  /**
   * Leave a room if it still has the mark of `willLeave`.
   * @param {Room} view @returns {Promised | null} the server's answer; null without a request
   */
  leave(view) {
    const room = view.room;
    if (!view.leaving || this.#views.get(room) !== view) return null; // it is wanted again, or left already
    this.#views.delete(room);
    this.tell(room, null, new ChatError("forbidden", `${room} was left meanwhile`));
    return this.#connection.isOpen ? this.#leaves.ask(room) : null;
  }

  /** Start or stop a room's `presence` events. @param {string} room @param {boolean} on */
  watch(room, on) {
    const view = this.#views.get(room);
    if (!view) throw new ChatError("bad_request", `${room} is not joined`);
    view.watched = on;
    view.watchDue = true;
    this.#askWatch(view);
  }

  /** Send the leaves that waited for their turn, join all rooms that are not live, and watch the others. */
  askAll() {
    this.#leaves.tryAll((room) => this.#views.has(room));
    for (const view of this.#views.values()) {
      if (!view.live) this.#ask(view);
      this.#askWatch(view);
    }
  }

  /** Join a room, at its position if it has one. @param {Room} view */
  #ask(view) {
    if (!this.#connection.isOpen || view.asked || !this.#pace.take()) return;
    view.asked = newRef();
    const since = view.position ?? undefined;
    this.#connection.send("joinRoom", { roomId: view.room, ref: view.asked, since });
  }

  /** Start or stop a room's `presence` events, if that is due. @param {Room} view */
  #askWatch(view) {
    if (!view.watchDue || !view.live || !this.#connection.isOpen || !this.#pace.take()) return;
    view.watchDue = false;
    view.watchAsked = newRef();
    this.#connection.send("requestPresence", { roomId: view.room, watch: view.watched, ref: view.watchAsked });
  }

  // -- the connection --

  /** Mark all rooms as not joined. */
  lost() {
    for (const view of this.#views.values()) view.lost();
    this.#leaves.lost();
  }

  /** Reject all pending joins. @param {Error} fault */
  end(fault) {
    for (const room of [...this.#joining.keys()]) this.tell(room, null, fault);
  }

  // -- frames of the server --

  /** Handle a `serverMessages`. Emit one without a position unchecked. @param {any} payload */
  onMessages(payload) {
    const view = this.#views.get(payload.roomId);
    if (!payload.epoch) {
      messagesOf(payload).forEach((one) => this.#emit(one));
    } else if (view?.live) {
      view.take(messagesOf(payload)).forEach((one) => this.#emit(one));
      if (!view.live) this.#pace.pause(); // at a gap: the room is joined again after the pause
    }
  }

  /** Handle a `joined`. @param {any} payload */
  onJoined(payload) {
    const room = payload.roomId;
    const view = this.#views.get(room);
    if (!view) {
      if (!this.#leaves.has(room)) this.#leaves.ask(room); // joined by a message that its sender no longer waits for
      return;
    }
    view.onJoined(payload, tailOf(payload), messagesOf(payload)).forEach((one) => this.#emit(one));
    if (!view.live) {
      this.#pace.pause();
      return;
    }
    this.tell(room, view.joined());
    this.#emit({ type: "joined", ...view.joined() });
    view.watchDue ||= view.watched;
    this.#askWatch(view);
  }

  /** Handle a `left`. @param {string} room */
  onLeft(room) {
    this.#leaves.left(room);
  }

  /**
   * Handle an error. Return whether it answers a leave.
   * @param {string} ref @param {Error} fault @param {boolean} passing
   */
  leaveRefused(ref, fault, passing) {
    return this.#leaves.refused(ref, fault, passing);
  }

  /**
   * Handle an error that answers a join. Return whether it is for good: the caller then calls `tell`.
   * @param {Room} view @param {Error} fault @param {boolean} passing
   */
  refused(view, fault, passing) {
    view.lost();
    if (passing) return false;
    this.#views.delete(view.room);
    if (view.position) this.#emit({ type: "removed", room: view.room, reason: fault.message });
    return true;
  }

  /** Handle an error. Return whether it answers a requestPresence. @param {string} ref @param {boolean} passing */
  watchRefused(ref, passing) {
    const view = [...this.#views.values()].find((one) => ref && one.watchAsked === ref);
    if (view) view.watchDue = passing;
    return view !== undefined;
  }

  /** Settle the pending joins of a room. @param {string} room @param {Joined | null} joined @param {Error} [fault] */
  tell(room, joined, fault) {
    const waiting = this.#joining.get(room) ?? [];
    this.#joining.delete(room);
    for (const joining of waiting) fault ? joining.reject(fault) : joining.resolve(joined);
  }
}
