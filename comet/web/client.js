/**
 * The JavaScript client of ChatRoom: rooms that are followed without a hole or a repeat, and messages that are sent
 * exactly once. For browsers and for Node with a global WebSocket; it needs nothing else but the files in
 * client/.
 *
 *     import { ChatClient } from "./client.js";
 *     const chat = new ChatClient("ws://localhost:8082/", { name: "Alice", rooms: ["room_001"] });
 *     chat.on("message", ({ user, content }) => console.log(user.username, content));
 *     await chat.connect();
 *     const ack = await chat.send("room_001", "Hello"); // stored, whatever happens from now on
 *
 * Connections come and go: after each loss the client connects again (client/link.js), joins its rooms where it stood
 * (client/joins.js) and sends again what was not acked (client/unacked.js), with the same `ref`, which is stored only
 * once. What the server refuses for the moment is tried again after a jittered wait, until which nothing else is
 * sent (client/waits.js). Same behaviour as chatroom/client.py; both are held to tests/conformance/client.json.
 *
 * Bound: `unackedLimit` messages are on their way at a time; further ones wait for their turn.
 *
 * @typedef {{ epoch: number, seq: number }} Position  behind which message of a room's log one stands
 * @typedef {{ id: string, username: string }} User
 * @typedef {{ ref: string, room: string, epoch: number, seq: number, id: string, timestamp: number }} Ack
 *   the server's word that a message is stored
 * @typedef {{ room: string, position: Position, online: number }} Joined
 *   where a room's log stood when it was joined, and how many users are online
 * @typedef {object} Message  each comes once, in seq order, without holes but for those told
 * @property {"message"} type
 * @property {string} room
 * @property {number} epoch  0, and seq 0, for one that another system pushed: it has no place in the log
 * @property {number} seq
 * @property {string} id
 * @property {string} content  text, never HTML
 * @property {number} timestamp  ms since 1970 by the server's clock
 * @property {User} user
 * @property {boolean} recent  shown on joining: older than the join
 * @typedef {object} Events  what `on` can be told of
 * @property {Message} message
 * @property {{ type: "hole", room: string, after: Position, why: "lost" }} hole
 *   the server no longer has what lies between `after` and the room's next message
 * @property {{ type: "presence", room: string, online: number, users: User[] }} presence  of a watched room
 * @property {{ type: "system", text: string }} system  a text that is no frame, pushed by an operator or a backend
 * @property {{ type: "joined" } & Joined} joined  the room is live: nothing is missing in it
 * @property {{ type: "removed", room: string, reason: string }} removed  the server does not let us in any more
 * @property {{ type: "connecting" }} connecting
 * @property {{ type: "connected", node: string, user: User }} connected  what was missed follows, room by room
 * @property {{ type: "reconnecting", code: number, reason: string, waitMs: number }} reconnecting
 * @property {{ type: "closed", code: number, reason: string }} closed  for good
 * @typedef {object} Options
 * @property {string} [name]  of a guest
 * @property {string} [uid]  id of a guest; made up if missing
 * @property {string} [token]  a JWT, where the server wants one; it goes into the URL, as browsers can set no headers
 * @property {string[]} [rooms]  to join on connecting
 * @property {number} [openTimeoutMs]  for one try: connecting, the handshake, the hello
 * @property {number} [pingMs]  between pings, and for their answers
 * @property {number} [reconnectFirstMs]  the bound of the first wait; it doubles up to reconnectCapMs
 * @property {number} [reconnectCapMs]
 * @property {number} [ackTimeoutMs]
 * @property {number} [unackedLimit]
 */

import { ChatError, Disconnected } from "./client/errors.js";
import { NotUnderstood, messagesOf, parse, userOf } from "./client/frames.js";
import { Histories } from "./client/histories.js";
import { Joins } from "./client/joins.js";
import { ABNORMAL, Link } from "./client/link.js";
import { promised } from "./client/promised.js";
import { newRef, randomHex } from "./client/refs.js";
import { Unacked } from "./client/unacked.js";
import { Pause, Waits } from "./client/waits.js";

const CLOSED_BY_US = 1000;
const RETRIABLE = new Set(["rate_limited", "overloaded", "unavailable"]);
// Comet remembers a ref for 300 s: a message sent again later than that could be stored twice.
const DEFAULTS = {
  openTimeoutMs: 10_000,
  pingMs: 20_000,
  reconnectFirstMs: 500,
  reconnectCapMs: 10_000,
  ackTimeoutMs: 240_000,
  unackedLimit: 1000,
};

export { ChatError, Disconnected };

/** One user's client. */
export class ChatClient {
  /** @type {User | null} who the server says we are, from the first hello on */
  me = null;
  #options;
  #link;
  #pause;
  #firstRooms;
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  #joins;
  #unacked;
  #histories;
  #opened = promised();
  /** @type {Disconnected | null} */
  #ended = null;

  /** @param {string | string[]} url  each new connection goes to the next @param {Options} [options] */
  constructor(url, options = {}) {
    const { name, uid, token, rooms = [], ...rest } = options;
    this.#options = { ...DEFAULTS, ...rest };
    // A guest keeps its id over reconnects: refs are kept by user.
    const who = token ? { token } : { uid: uid ?? `guest-${randomHex(12)}`, name };
    const urls = [url].flat().map((one) => withQuery(one, who));
    const waits = new Waits(this.#options.reconnectFirstMs, this.#options.reconnectCapMs);
    this.#firstRooms = new Set(rooms);
    this.#pause = new Pause(() => this.#tryAll());
    this.#link = new Link(urls, this.#options, waits, {
      opening: () => this.#emit({ type: "connecting" }),
      opened: (hello) => this.#onOpened(hello),
      text: (text) => this.#onText(text),
      lost: (code, reason, waitMs) => this.#onLost(code, reason, waitMs),
      ended: (code, reason) => this.#end(new Disconnected(code, reason)),
    });
    this.#joins = new Joins(this.#link, this.#pause, (event) => this.#emit(event));
    this.#unacked = new Unacked(this.#link, this.#pause, this.#joins, this.#options.unackedLimit);
    this.#histories = new Histories(this.#link, this.#pause);
  }

  // -- its life --

  /**
   * Connect and join the first rooms; a server that is away is waited for. Rejects with Disconnected when the server
   * does not want this client, and with what `join` does; the client is closed then.
   */
  async connect() {
    this.#link.start();
    try {
      await this.#opened.promise;
      await Promise.all([...this.#firstRooms].map((room) => this.join(room)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Close; whoever still waits for an answer gets Disconnected. Does nothing the second time. */
  close() {
    this.#end(new Disconnected(CLOSED_BY_US, "closed by its owner"));
  }

  /** Connect now rather than at the end of the wait. Does nothing while connected. */
  retryNow() {
    this.#link.retryNow();
  }

  /** Lose the connection, as when the network does: for tests. The client comes back by itself. */
  drop() {
    this.#link.lose(ABNORMAL, "dropped");
  }

  /**
   * Call back for each event of a type; returns a function that ends it. Events come in order.
   * @template {keyof Events} T
   * @param {T} type @param {(event: Events[T]) => void} listener @returns {() => void}
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  // -- what it shows --

  /** Whether there is a connection, as far as is known. */
  get connected() {
    return this.#link.isOpen;
  }

  /** How many messages wait for their acks. */
  get unacked() {
    return this.#unacked.size;
  }

  /** The rooms that were joined, and behind which message each stands: what `join` takes as `since`. */
  get rooms() {
    return this.#joins.positions;
  }

  /** Whether a room is joined now and nothing is missing in it. @param {string} room */
  isLive(room) {
    return this.#joins.isLive(room);
  }

  // -- rooms --

  /**
   * Join a room and follow it; with `since`, from there on. Rejects when it is not live within `ackTimeoutMs` (it is
   * joined nevertheless, as soon as the server can), when the server refuses it, and with Disconnected.
   * @param {string} room @param {Position} [since] @returns {Promise<Joined>}
   */
  join(room, since) {
    if (this.#ended) return Promise.reject(this.#ended);
    return this.#answer(this.#joins.join(room, since), `joining ${room}`);
  }

  /**
   * Leave a room, once all that was sent to it is acked, unless it was joined again by then. Rejects when the server
   * does not answer in time (left or not), and when it refuses it for good.
   * @param {string} room
   */
  async leave(room) {
    const view = this.#joins.willLeave(room);
    if (!view) return;
    while (this.#unacked.of(room).length > 0) await this.#unacked.settled(room);
    const asked = this.#joins.leave(view);
    if (asked) await this.#answer(asked, `leaving ${room}`);
  }

  /** Be told who is in a joined room, now and whenever that changes, or no longer. @param {string} room */
  watch(room, on = true) {
    this.#joins.watch(room, on);
  }

  /**
   * Older messages of a room, oldest first: those before the message `before` (an id), or the newest. Asked until it is
   * answered, whatever the connection does meanwhile. Rejects when there is no answer within `ackTimeoutMs`, when the
   * server refuses it for good, and with Disconnected.
   * @param {string} room @param {{ before?: string, limit?: number }} [which]
   * @returns {Promise<{ messages: Message[], hasMore: boolean }>}
   */
  history(room, { before, limit } = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    const asked = this.#histories.ask({ roomId: room, firstMessageId: before, limit, ref: newRef() });
    return this.#answer(asked, `the history of ${room}`);
  }

  // -- sending --

  /**
   * Send a message, joining the room first if need be; resolves when it is stored. It is stored once, however often it
   * has to be sent; sending again with the same `ref` within 4 minutes stores it once, too. Of several sends at a time,
   * one that the server refused for the moment may be stored behind later ones; await each where their order matters.
   * Rejects with ChatError and Disconnected.
   * @param {string} room @param {string} content @param {{ ref?: string }} [options] @returns {Promise<Ack>}
   */
  async send(room, content, { ref = newRef() } = {}) {
    if (this.#ended) throw this.#ended;
    const one = this.#unacked.add(ref, room, content);
    this.#joins.want(room);
    this.#unacked.sendAll();
    try {
      return await this.#answer(one, "the ack");
    } finally {
      this.#unacked.remove(one);
    }
  }

  /** Wait for an answer, but not forever. @param {Promised} asked @param {string} what */
  #answer(asked, what) {
    const ms = this.#options.ackTimeoutMs;
    const late = () => asked.reject(new ChatError("timeout", `${what} did not come within ${ms / 1000} s`));
    const timer = setTimeout(late, ms);
    return asked.promise.finally(() => clearTimeout(timer));
  }

  /** A pause is over, or a connection is new: leave, join, ask and send what waited for it. */
  #tryAll() {
    this.#joins.askAll();
    this.#histories.askAll();
    this.#unacked.sendAll();
  }

  // -- what becomes of the connection --

  /** @param {any} hello */
  #onOpened(hello) {
    this.me = userOf(hello.me);
    this.#emit({ type: "connected", node: String(hello.node ?? ""), user: this.me });
    this.#opened.resolve(undefined);
    this.#pause.end();
  }

  /** @param {number} code @param {string} reason @param {number} waitMs */
  #onLost(code, reason, waitMs) {
    this.#forgetConnection();
    this.#emit({ type: "reconnecting", code, reason, waitMs });
  }

  #forgetConnection() {
    this.#joins.lost();
    this.#unacked.lost();
    this.#histories.lost();
  }

  /** Fail whoever waits: there will be no more answers. @param {Disconnected} fault */
  #end(fault) {
    if (this.#ended) return;
    this.#ended = fault;
    this.#link.end();
    this.#pause.stop();
    this.#forgetConnection();
    this.#histories.end(fault);
    this.#opened.reject(fault);
    this.#unacked.end(fault);
    this.#joins.end(fault);
    this.#emit({ type: "closed", code: fault.code, reason: fault.reason });
  }

  // -- what the server says --

  /** @param {string} text */
  #onText(text) {
    const frame = parse(text);
    try {
      if (frame) this.#receivers[frame.type](frame.payload);
      else this.#emit({ type: "system", text });
    } catch (error) {
      if (!(error instanceof NotUnderstood)) throw error;
      this.#emit({ type: "system", text });
    }
  }

  /** @type {Record<string, (payload: any) => void>} one a frame type */
  #receivers = {
    hello: () => {},
    pong: () => {},
    serverMessages: (payload) => this.#joins.onMessages(payload),
    joined: (payload) => this.#onJoined(payload),
    left: ({ roomId }) => this.#joins.onLeft(roomId),
    ack: (payload) => this.#unacked.ack(payload),
    roomHistory: (payload) => this.#onHistory(payload),
    presence: ({ roomId, onlineCount, users }) =>
      this.#emit({ type: "presence", room: roomId, online: onlineCount, users: users.map(userOf) }),
    error: (payload) => this.#onError(payload),
  };

  /** @param {any} payload */
  #onJoined(payload) {
    this.#joins.onJoined(payload);
    this.#unacked.sendAll();
  }

  /** @param {any} payload */
  #onHistory(payload) {
    const hasMore = payload.hasMoreMessages === true;
    this.#histories.answer(payload.roomId, () => ({ messages: messagesOf(payload, true), hasMore }));
  }

  /** @param {any} payload */
  #onError({ ref, code, message }) {
    const fault = new ChatError(code, message);
    const passing = RETRIABLE.has(code) || code === "internal";
    if (this.#unacked.refused(ref, fault, passing)) return;
    const view = this.#joins.askedWith(ref);
    if (view) this.#joinFailed(view, fault, passing);
    else if (!this.#joins.leaveRefused(ref, fault, passing)) this.#histories.refused(ref, fault, passing);
  }

  /** @param {import("./client/room.js").RoomView} view @param {ChatError} fault @param {boolean} passing */
  #joinFailed(view, fault, passing) {
    if (!this.#joins.refused(view, fault, passing)) return;
    this.#unacked.fail(view.room, fault);
    this.#joins.tell(view.room, null, fault);
  }

  /** A listener's fault is its page's, not ours. @param {any} event */
  #emit(event) {
    for (const listener of this.#listeners.get(event.type) ?? []) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/** @typedef {import("./client/promised.js").Promised} Promised */

/** No room is joined by connecting: each is joined where it stood. @param {string} url @param {object} who */
function withQuery(url, who) {
  const target = URL.canParse(url) ? new URL(url) : null;
  if (!target || !["ws:", "wss:"].includes(target.protocol))
    throw new TypeError(`${url} is no WebSocket URL such as ws://localhost:8082/`);
  for (const [name, value] of Object.entries({ rooms: "", ...who }))
    if (value !== undefined && value !== "" || name === "rooms") target.searchParams.set(name, value);
  return target.href;
}
