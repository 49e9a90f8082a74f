/**
 * A room as the client follows it. Each message is taken once and in seq order; the server tells what it can't give
 * back. Pure.
 *
 * @typedef {import("../client.js").Position} Position
 * @typedef {import("../client.js").Message} Message
 * @typedef {import("../client.js").Joined} Joined
 */

/** A room as the client follows it: where it stands in the log, and what a frame means from there. */
export class RoomView {
  live = false; // joined on the present connection, and nothing is missing
  /** @type {string | null} ref of the joinRoom that waits for its answer */
  asked = null;
  /** @type {string | null} ref of the one that made it live: its recovery may still fail */
  answered = null;
  watched = false;
  leaving = false; // as soon as all that was sent to it is acked
  online = 0;

  /** @param {string} room @param {Position | null} position  behind the last message taken; null: never joined yet */
  constructor(room, position) {
    this.room = room;
    this.position = position;
  }

  /** Stand outside: the connection is gone, or the server says that the room is not joined. */
  lost() {
    this.live = false;
    this.asked = this.answered = null;
  }

  /** @returns {Joined} of a live room */
  joined() {
    return { room: this.room, position: /** @type {Position} */ (this.position), online: this.online };
  }

  /**
   * Take a `joined` and return what it brings. One that nobody asked for tells a hole; if it does not (the server joined
   * anew by itself), it is not taken and the room falls behind.
   * @param {any} payload @param {Message[]} messages
   */
  onJoined({ epoch, seq, recovered, onlineCount }, messages) {
    const asked = this.asked;
    this.live = asked !== null || !recovered;
    if (!this.live) return [];
    this.online = onlineCount ?? this.online;
    if (asked) this.answered = asked;
    this.asked = null;
    const at = { epoch, seq };
    const stood = this.position;
    if (!stood) {
      this.position = at;
      return messages.map((one) => ({ ...one, recent: true }));
    }
    if (!recovered) {
      this.position = at;
      return [{ type: "hole", room: this.room, after: stood, why: "lost" }, ...messages];
    }
    const taken = this.take(messages);
    if (this.live && /** @type {Position} */ (this.position).seq < seq) this.live = false; // it claims more than it brought
    else if (this.live) this.position = at;
    return taken;
  }

  /**
   * Take the messages that follow and return them: a repeat is dropped; one that does not follow makes the room fall
   * behind, and nothing more is taken until it was joined again.
   * @param {Message[]} messages
   */
  take(messages) {
    const taken = [];
    let at = this.position ?? { epoch: 0, seq: 0 };
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
    return taken;
  }
}
