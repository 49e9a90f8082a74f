/**
 * A room that the client follows. It takes each message once and in seq order, and reports each gap that the server
 * cannot fill. Pure.
 *
 * The first join fixes the end of the history: each message up to the `tail` of that `joined` is `recent`, in whichever
 * frame and on whichever connection it comes. A room that starts at a saved position has no history.
 *
 * @import { Events, Joined, Message, Position } from "../index.js"
 */

/** Before each message. @type {Position} */
const START = { epoch: 0, seq: 0 };

/** A room's position in its log, and the effect of each frame on it. */
export class Room {
  live = false; // joined on the present connection, and no message is missing
  /** @type {string | null} ref of the pending joinRoom */
  asked = null;
  /** @type {string | null} ref of the joinRoom that made it live: its recovery may still fail */
  answered = null;
  watched = false;
  watchDue = false; // requestPresence is to be sent when the room is live
  /** @type {string | null} ref of the last requestPresence */
  watchAsked = null;
  leaving = false; // the client leaves it after the acks of all messages to it
  online = 0;
  tail = START; // the end of the log at the latest join
  #historyEnd = START; // the `tail` of the first join, if that had no position

  /** @param {string} room @param {Position | null} position  of the last message taken; null before the first join */
  constructor(room, position) {
    this.room = room;
    this.position = position;
  }

  /** Mark the room as not joined: the connection is lost, or the server refused the join. */
  lost() {
    this.live = false;
    this.asked = this.answered = null;
  }

  /** Return the state of a live room. @returns {Joined} */
  joined() {
    return { room: this.room, position: /** @type {Position} */ (this.position), tail: this.tail, online: this.online };
  }

  /**
   * Take a `joined` and return its events. One that the client did not request reports a gap. If it reports none, the
   * server joined the room anew by itself: the room ignores it and is no longer live.
   * @param {any} payload @param {Position} tail @param {Message[]} messages @returns {Events[keyof Events][]}
   */
  onJoined({ epoch, seq, recovered, onlineCount }, tail, messages) {
    const asked = this.asked;
    this.live = asked !== null || !recovered;
    if (!this.live) return [];
    this.online = onlineCount ?? this.online;
    if (asked) this.answered = asked;
    this.asked = null;
    const at = { epoch, seq };
    this.tail = tail;
    const stood = this.position;
    if (!stood) {
      this.position = at;
      this.#historyEnd = tail;
      return this.#marked(messages);
    }
    if (!recovered) {
      this.position = at;
      return [{ type: "hole", room: this.room, after: stood, why: "lost" }, ...this.#marked(messages)];
    }
    const taken = this.take(messages);
    if (this.live && /** @type {Position} */ (this.position).seq < seq) this.live = false; // its messages do not reach its seq
    else if (this.live) this.position = at;
    return taken;
  }

  /**
   * Take the next messages and return them. Drop repeats. At a gap the room is no longer live, and takes nothing until
   * the next join.
   * @param {Message[]} messages
   */
  take(messages) {
    const taken = [];
    let at = this.position ?? START;
    for (const one of messages) {
      const repeat = one.seq <= at.seq && one.epoch <= at.epoch;
      if (repeat) continue;
      if (one.seq !== at.seq + 1 || one.epoch < at.epoch) {
        this.live = false;
        break;
      }
      at = { epoch: one.epoch, seq: one.seq };
      taken.push(one);
    }
    this.position = at;
    return this.#marked(taken);
  }

  /** Mark the messages that belong to the history. @param {Message[]} messages @returns {Message[]} */
  #marked(messages) {
    const { epoch, seq } = this.#historyEnd;
    return messages.map((one) => ({ ...one, recent: one.epoch < epoch || (one.epoch === epoch && one.seq <= seq) }));
  }
}
