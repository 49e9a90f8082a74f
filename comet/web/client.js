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
 * Connections come and go: after each loss the client connects again, joins its rooms where it stood and sends again
 * what was not acked, with the same `ref`, which the server stores only once. What the server refuses for the moment is
 * tried again after a jittered wait, until which nothing else is sent. Same behaviour as chatroom/client.py; both are
 * held to tests/conformance/client.json.
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

import { NotUnderstood, isObject, messagesOf, parse, userOf } from "./client/frames.js";
import { ABNORMAL, Link } from "./client/link.js";
import { RoomView } from "./client/room.js";
import { Pause, Waits } from "./client/waits.js";

const CLOSED_BY_US = 1000;
const RETRIABLE = new Set(["rate_limited", "overloaded", "unavailable"]);
const INTERNAL_TRIES = 5; // a fault of the server's may be one of this very message
// Comet remembers a ref for 300 s: a message sent again later than that could be stored twice.
const DEFAULTS = {
  openTimeoutMs: 10_000,
  pingMs: 20_000,
  reconnectFirstMs: 500,
  reconnectCapMs: 10_000,
  ackTimeoutMs: 240_000,
  unackedLimit: 1000,
};
/** The server refuses something for good, or did not answer in time. `code` is the protocol's, or "timeout". */
export class ChatError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ChatError";
    this.code = code;
  }
}

/** The connection is gone for good: `code` is the WebSocket close code, 1000 if its owner closed it. */
export class Disconnected extends Error {
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    super(`disconnected for good: ${code} ${reason}`.trimEnd());
    this.name = "Disconnected";
    this.code = code;
    this.reason = reason;
  }
}

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
  /** @type {Map<string, RoomView>} */
  #views = new Map();
  /** @type {Map<string, Promised[]>} who waits for a room to be live */
  #joining = new Map();
  /** @type {Map<string, Promised & { room: string, held: boolean }>} rooms being left, by the leaveRoom's ref */
  #leaving = new Map();
  /** @type {Map<string, Outgoing>} in the order of sending */
  #unacked = new Map();
  /** @type {Map<string, Promised & { ref: string }>} by room; one at a time */
  #histories = new Map();
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
    const joined = [...this.#views.values()].filter((view) => view.position);
    return new Map(joined.map((view) => [view.room, /** @type {Position} */ (view.position)]));
  }

  /** Whether a room is joined now and nothing is missing in it. @param {string} room */
  isLive(room) {
    return this.#views.get(room)?.live ?? false;
  }

  // -- rooms --

  /**
   * Join a room and follow it; with `since`, from there on. Rejects when it is not live within `ackTimeoutMs` (it is
   * joined nevertheless, as soon as the server can), when the server refuses it, and with Disconnected.
   * @param {string} room @param {Position} [since] @returns {Promise<Joined>}
   */
  join(room, since) {
    if (this.#ended) return Promise.reject(this.#ended);
    const view = this.#want(room, since);
    view.leaving = false;
    if (view.live) return Promise.resolve(view.joined());
    const joining = promised();
    this.#joining.set(room, [...(this.#joining.get(room) ?? []), joining]);
    return this.#answer(joining, `joining ${room}`);
  }

  /**
   * Leave a room, once all that was sent to it is acked, unless it was joined again by then. Rejects when the server does not answer in time (left or not),
   * and when it refuses it for good.
   * @param {string} room
   */
  async leave(room) {
    const view = this.#views.get(room);
    if (!view) return;
    view.leaving = true;
    while (this.#unackedOf(room).length > 0) await Promise.allSettled(this.#unackedOf(room).map((one) => one.promise));
    if (!view.leaving || this.#views.get(room) !== view) return; // it is wanted again, or gone already
    this.#views.delete(room);
    this.#tell(room, null, new ChatError("forbidden", `${room} was left meanwhile`));
    if (this.#link.isOpen) await this.#askToLeave(room);
  }

  /** Be told who is in a joined room, now and whenever that changes, or no longer. @param {string} room */
  watch(room, on = true) {
    const view = this.#views.get(room);
    if (!view) throw new ChatError("bad_request", `${room} is not joined`);
    view.watched = on;
    if (view.live) this.#link.send("requestPresence", { roomId: room, watch: on });
  }

  /**
   * Older messages of a room, oldest first: those before the message `before` (an id), or the newest. One call at a
   * time a room.
   * @param {string} room @param {{ before?: string, limit?: number }} [which]
   * @returns {Promise<{ messages: Message[], hasMore: boolean }>}
   */
  history(room, { before, limit } = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    if (!this.#link.isOpen) return Promise.reject(new ChatError("unavailable", "not connected"));
    if (this.#histories.has(room)) return Promise.reject(new ChatError("bad_request", "one history at a time"));
    const asked = { ref: newRef(), ...promised() };
    this.#histories.set(room, asked);
    this.#link.send("requestRoomHistory", { roomId: room, firstMessageId: before, limit, ref: asked.ref });
    return this.#answer(asked, `the history of ${room}`).finally(() => this.#histories.delete(room));
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
    if (this.#unacked.has(ref)) throw new ChatError("bad_request", `${ref} waits for its ack already`);
    const one = { ref, room, content, sent: false, faults: 0, ...promised() };
    this.#unacked.set(ref, one);
    this.#want(room);
    this.#flush();
    try {
      return await this.#answer(one, "the ack");
    } finally {
      this.#unacked.delete(ref);
      this.#flush();
    }
  }

  /** Send what may be sent. Not while its room is not live: sending would join it anew, and miss what came meanwhile. */
  #flush() {
    if (this.#pause.isOn || !this.#link.isOpen) return;
    let places = this.#options.unackedLimit;
    for (const one of this.#unacked.values()) {
      if (places-- === 0) return;
      if (one.sent || !this.isLive(one.room)) continue;
      one.sent = true;
      this.#link.send("clientMessages", { roomId: one.room, content: one.content, ref: one.ref });
    }
  }

  /** @param {string} room */
  #unackedOf(room) {
    return [...this.#unacked.values()].filter((one) => one.room === room);
  }

  /** Wait for an answer, but not forever. @param {Promised} asked @param {string} what */
  #answer(asked, what) {
    const ms = this.#options.ackTimeoutMs;
    const late = () => asked.reject(new ChatError("timeout", `${what} did not come within ${ms / 1000} s`));
    const timer = setTimeout(late, ms);
    return asked.promise.finally(() => clearTimeout(timer));
  }

  // -- joining and leaving --

  /** Follow a room from now on. @param {string} room @param {Position} [since] */
  #want(room, since) {
    let view = this.#views.get(room);
    if (!view) {
      view = new RoomView(room, since ?? null);
      this.#views.set(room, view);
    }
    if (!view.live && !this.#pause.isOn) this.#ask(view);
    return view;
  }

  /** Join a room, where it stood if it was joined before. @param {RoomView} view */
  #ask(view) {
    if (!this.#link.isOpen || view.asked) return;
    view.asked = newRef();
    const since = view.position ?? undefined;
    this.#link.send("joinRoom", { roomId: view.room, ref: view.asked, since });
  }

  /** @param {string} room */
  #askToLeave(room) {
    const ref = newRef();
    const one = { room, held: this.#pause.isOn, ...promised() };
    this.#leaving.set(ref, one);
    if (!one.held) this.#link.send("leaveRoom", { roomId: room, ref });
    const forget = () => this.#leaving.forEach((other, key) => other === one && this.#leaving.delete(key));
    return this.#answer(one, `leaving ${room}`).finally(forget);
  }

  /** A pause is over, or a connection is new: leave, join and send what waited for it. */
  #tryAll() {
    for (const [ref, one] of [...this.#leaving].filter(([, one]) => one.held)) {
      this.#leaving.delete(ref);
      if (this.#views.has(one.room)) {
        one.resolve(undefined); // it is wanted again
        continue;
      }
      const again = newRef();
      one.held = false;
      this.#leaving.set(again, one);
      this.#link.send("leaveRoom", { roomId: one.room, ref: again });
    }
    for (const view of this.#views.values()) if (!view.live) this.#ask(view);
    this.#flush();
  }

  /** Answer whoever waits for a room. @param {string} room @param {Joined | null} joined @param {Error} [fault] */
  #tell(room, joined, fault) {
    const waiting = this.#joining.get(room) ?? [];
    this.#joining.delete(room);
    for (const joining of waiting) fault ? joining.reject(fault) : joining.resolve(joined);
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
    this.#forgetConnection(new ChatError("unavailable", "the connection is lost"));
    this.#emit({ type: "reconnecting", code, reason, waitMs });
  }

  /** @param {Error} fault */
  #forgetConnection(fault) {
    for (const view of this.#views.values()) view.lost();
    for (const one of this.#unacked.values()) one.sent = false;
    for (const one of this.#leaving.values()) one.resolve(undefined); // nothing is joined any more
    for (const one of this.#histories.values()) one.reject(fault);
    this.#leaving.clear();
  }

  /** Fail whoever waits: there will be no more answers. @param {Disconnected} fault */
  #end(fault) {
    if (this.#ended) return;
    this.#ended = fault;
    this.#link.end();
    this.#pause.stop();
    this.#forgetConnection(fault);
    this.#opened.reject(fault);
    for (const one of this.#unacked.values()) one.reject(fault);
    for (const room of [...this.#joining.keys()]) this.#tell(room, null, fault);
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
    serverMessages: (payload) => this.#onMessages(payload),
    joined: (payload) => this.#onJoined(payload),
    left: ({ roomId }) => [...this.#leaving.values()].find((one) => one.room === roomId && !one.held)?.resolve(undefined),
    ack: (payload) => this.#onAck(payload),
    roomHistory: (payload) => this.#onHistory(payload),
    presence: ({ roomId, onlineCount, users }) =>
      this.#emit({ type: "presence", room: roomId, online: onlineCount, users: users.map(userOf) }),
    error: (payload) => this.#onError(payload),
  };

  /** @param {any} payload */
  #onMessages(payload) {
    const view = this.#views.get(payload.roomId);
    if (payload.epoch === undefined) {
      messagesOf(payload).forEach((one) => this.#emit(one));
    } else if (view?.live) {
      view.take(messagesOf(payload)).forEach((one) => this.#emit(one));
      if (!view.live) this.#pause.begin(); // it fell behind, and is joined again
    }
  }

  /** @param {any} payload */
  #onJoined(payload) {
    const room = payload.roomId;
    const view = this.#views.get(room);
    if (!view) {
      const leaving = [...this.#leaving.values()].some((one) => one.room === room);
      if (!leaving) this.#askToLeave(room).catch(() => {}); // joined by a message whose sender is gone
      return;
    }
    view.onJoined(payload, messagesOf(payload)).forEach((one) => this.#emit(one));
    if (!view.live) {
      this.#pause.begin();
      return;
    }
    this.#tell(room, view.joined());
    this.#emit({ type: "joined", ...view.joined() });
    if (view.watched) this.#link.send("requestPresence", { roomId: room, watch: true });
    this.#flush();
  }

  /** @param {any} payload */
  #onAck({ ref, epoch, messages }) {
    const one = this.#unacked.get(ref);
    const [stored] = messages;
    if (!isObject(stored) || ref === undefined) throw new NotUnderstood();
    one?.resolve({ ref, room: one.room, epoch, seq: stored.seq, id: stored.id, timestamp: stored.timestamp });
  }

  /** @param {any} payload */
  #onHistory(payload) {
    const hasMore = payload.hasMoreMessages === true;
    this.#histories.get(payload.roomId)?.resolve({ messages: messagesOf(payload, true), hasMore });
  }

  /** @param {any} payload */
  #onError({ ref, code, message }) {
    const fault = new ChatError(code, message);
    const passing = RETRIABLE.has(code) || code === "internal";
    const one = this.#unacked.get(ref);
    const view = [...this.#views.values()].find((view) => ref && (view.asked === ref || view.answered === ref));
    const leave = this.#leaving.get(ref);
    if (one) this.#sendFailed(one, fault);
    else if (view) this.#joinFailed(view, fault, passing);
    else if (leave && passing) {
      leave.held = true;
      this.#pause.begin();
    } else if (leave) leave.reject(fault);
    else for (const asked of this.#histories.values()) if (asked.ref === ref) asked.reject(fault);
  }

  /** @param {Outgoing} one @param {ChatError} fault */
  #sendFailed(one, fault) {
    one.faults += Number(fault.code === "internal");
    if (RETRIABLE.has(fault.code) || (fault.code === "internal" && one.faults < INTERNAL_TRIES)) {
      one.sent = false;
      this.#pause.begin();
    } else one.reject(fault);
  }

  /** @param {RoomView} view @param {ChatError} fault @param {boolean} passing */
  #joinFailed(view, fault, passing) {
    view.lost();
    if (passing) {
      this.#pause.begin();
      return;
    }
    this.#views.delete(view.room);
    if (view.position) this.#emit({ type: "removed", room: view.room, reason: fault.message });
    for (const one of this.#unackedOf(view.room)) one.reject(fault);
    this.#tell(view.room, null, fault);
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

/**
 * @typedef {{ promise: Promise<any>, resolve(answer: any): void, reject(fault: Error): void }} Promised
 * @typedef {Promised & { ref: string, room: string, content: string, sent: boolean, faults: number }} Outgoing
 *   `sent`: on the present connection, and not refused since; `faults`: `internal` answers
 */

/** @returns {Promised} a promise that is answered elsewhere; nobody has to be waiting for it */
function promised() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {});
  return made;
}

/** No room is joined by connecting: each is joined where it stood. @param {string} url @param {object} who */
function withQuery(url, who) {
  const target = URL.canParse(url) ? new URL(url) : null;
  if (!target || !["ws:", "wss:"].includes(target.protocol))
    throw new TypeError(`${url} is no WebSocket URL such as ws://localhost:8082/`);
  for (const [name, value] of Object.entries({ rooms: "", ...who }))
    if (value !== undefined && value !== "" || name === "rooms") target.searchParams.set(name, value);
  return target.href;
}

/** @param {number} digits @returns {string} (randomUUID is there only on https) */
function randomHex(digits) {
  const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const REF_PREFIX = `~${randomHex(16)}-`;
let refs = 0;

/** A ref that nobody else makes: a random part once, then a counter. */
function newRef() {
  return `${REF_PREFIX}${refs++}`;
}
