/**
 * The JavaScript client of ChatRoom, for browsers and for Node 20 or later. It follows rooms without gaps or duplicates
 * and stores each message exactly once. It needs no package, only the files in client/.
 *
 *     import { ChatClient } from "./index.js";
 *     const chat = new ChatClient("ws://localhost:8082/", { name: "Alice", rooms: ["room_001"] });
 *     chat.on("message", ({ user, content }) => console.log(user.username, content));
 *     await chat.connect();
 *     const ack = await chat.send("room_001", "Hello"); // the message is stored
 *
 * After each loss the client connects again (client/connection.js), joins its rooms at their positions (client/rooms.js)
 * and repeats each send without an ack (client/sends.js). The repeated send has the same `ref`, so the server stores it
 * once. All frames go at the pace that the server allows. After a refusal for the moment the client sends nothing during a
 * pause (client/pace.js), then retries. The Python client behaves the same: tests/conformance/client.json holds both to one table. index.d.ts
 * documents the calls, events and options.
 *
 * Bound: at most `unackedLimit` messages are sent and not acked. Further ones wait.
 *
 * @import * as declared from "./index.js"
 * @import { Events, Joined, Options, Position, User } from "./index.js"
 * @import { Promised } from "./client/promised.js"
 * @import { Room } from "./client/room.js"
 */

import { Backoff } from "./client/backoff.js";
import { ABNORMAL, Connection } from "./client/connection.js";
import { ChatError, Disconnected, OutcomeUnknown } from "./client/errors.js";
import { NotUnderstood, messagesOf, numberOf, parse, userOf } from "./client/frames.js";
import { History } from "./client/history.js";
import { Pace } from "./client/pace.js";
import { promised } from "./client/promised.js";
import { newRef, randomHex } from "./client/refs.js";
import { Rooms } from "./client/rooms.js";
import { Sends } from "./client/sends.js";

const CLOSED_BY_US = 1000;
const RETRIABLE = new Set(["rate_limited", "overloaded", "unavailable"]);
const DEFAULTS = {
  openTimeoutMs: 10_000,
  pingMs: 20_000,
  reconnectFirstMs: 500,
  reconnectCapMs: 10_000,
  ackTimeoutMs: 240_000,
  unackedLimit: 1000,
};

export { ChatError, Disconnected, OutcomeUnknown };

/** @implements {declared.ChatClient} */
export class ChatClient {
  /** @type {User | null} */
  me = null;
  #options;
  #connection;
  #pace;
  #firstRooms;
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  #rooms;
  #sends;
  #history;
  #opened = promised();
  /** @type {Disconnected | null} */
  #ended = null;

  /** @param {string | string[]} url @param {Options} [options] */
  constructor(url, options = {}) {
    const { name, uid, token, rooms = [], ...rest } = options;
    this.#options = { ...DEFAULTS, ...rest, WebSocket: rest.WebSocket ?? globalWebSocket() };
    // The server keeps refs by user, so a guest keeps its id over reconnects.
    const who = token ? { token } : { uid: uid ?? `guest-${randomHex(12)}`, name };
    const urls = [url].flat().map((one) => withQuery(one, who));
    const backoff = new Backoff(this.#options.reconnectFirstMs, this.#options.reconnectCapMs);
    this.#firstRooms = new Set(rooms);
    this.#pace = new Pace(() => this.#tryAll());
    this.#connection = new Connection(urls, this.#options, backoff, {
      mayPing: () => this.#pace.take(),
      opening: () => this.#emit({ type: "connecting" }),
      opened: (hello) => this.#onOpened(hello),
      text: (text) => this.#onText(text),
      lost: (code, reason, waitMs) => this.#onLost(code, reason, waitMs),
      ended: (code, reason) => this.#end(new Disconnected(code, reason)),
    });
    this.#rooms = new Rooms(this.#connection, this.#pace, (event) => this.#emit(event));
    this.#sends = new Sends(this.#connection, this.#pace, this.#rooms, this.#options);
    this.#history = new History(this.#connection, this.#pace);
  }

  // -- life cycle --

  async connect() {
    this.#connection.start();
    try {
      await this.#opened.promise;
      await Promise.all([...this.#firstRooms].map((room) => this.join(room)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close() {
    this.#end(new Disconnected(CLOSED_BY_US, "closed by its owner"));
  }

  retryNow() {
    this.#connection.retryNow();
  }

  drop() {
    this.#connection.lose(ABNORMAL, "dropped");
  }

  /** @template {keyof Events} T @param {T} type @param {(event: Events[T]) => void} listener @returns {() => void} */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  // -- state --

  get connected() {
    return this.#connection.isOpen;
  }

  get unacked() {
    return this.#sends.size;
  }

  get rooms() {
    return this.#rooms.positions;
  }

  /** @param {string} room */
  isLive(room) {
    return this.#rooms.isLive(room);
  }

  // -- rooms --

  /** @param {string} room @param {Position} [since] @returns {Promise<Joined>} */
  join(room, since) {
    if (this.#ended) return Promise.reject(this.#ended);
    return this.#answer(this.#rooms.join(room, since), `joining ${room}`);
  }

  /** @param {string} room */
  async leave(room) {
    const view = this.#rooms.willLeave(room);
    if (!view) return;
    while (this.#sends.of(room).length > 0) await this.#sends.settled(room);
    const asked = this.#rooms.leave(view);
    if (asked) await this.#answer(asked, `leaving ${room}`);
  }

  /** @param {string} room */
  watch(room, on = true) {
    this.#rooms.watch(room, on);
  }

  /**
   * @param {string} room @param {{ before?: string | undefined, limit?: number | undefined }} [which]
   * @returns {Promise<declared.HistoryPage>}
   */
  history(room, { before, limit } = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    const asked = this.#history.ask({ roomId: room, firstMessageId: before, limit, ref: newRef() });
    return this.#answer(asked, `the history of ${room}`);
  }

  // -- sending --

  /**
   * @param {string} room @param {string} content @param {{ ref?: string | undefined }} [options]
   * @returns {Promise<declared.Ack>}
   */
  async send(room, content, { ref = newRef() } = {}) {
    if (this.#ended) throw this.#ended;
    const one = this.#sends.add(ref, room, content);
    this.#rooms.want(room);
    this.#sends.sendAll();
    try {
      return await one.promise;
    } finally {
      this.#sends.remove(one);
    }
  }

  /** Wait for an answer for at most `ackTimeoutMs`. @param {Promised} asked @param {string} what */
  #answer(asked, what) {
    const ms = this.#options.ackTimeoutMs;
    const late = () => asked.reject(new ChatError("timeout", `${what} did not come within ${ms / 1000} s`));
    const timer = setTimeout(late, ms);
    return asked.promise.finally(() => clearTimeout(timer));
  }

  /** Leave, join, ask and send everything that waited for its turn or for a connection, the messages last. */
  #tryAll() {
    this.#rooms.askAll();
    this.#history.askAll();
    this.#sends.sendAll();
  }

  // -- the connection --

  /** @param {any} hello */
  #onOpened(hello) {
    this.me = userOf(hello.me);
    this.#emit({ type: "connected", node: String(hello.node ?? ""), user: this.me });
    this.#opened.resolve(undefined);
    this.#sends.opened(hello.limits);
    this.#pace.begin(hello.limits);
  }

  /** @param {number} code @param {string} reason @param {number} waitMs */
  #onLost(code, reason, waitMs) {
    this.#forgetConnection();
    this.#emit({ type: "reconnecting", code, reason, waitMs });
  }

  #forgetConnection() {
    this.#rooms.lost();
    this.#sends.lost();
    this.#history.lost();
  }

  /** Close for good and reject every pending request. @param {Disconnected} fault */
  #end(fault) {
    if (this.#ended) return;
    this.#ended = fault;
    this.#connection.end();
    this.#pace.stop();
    this.#forgetConnection();
    this.#history.end(fault);
    this.#opened.reject(fault);
    this.#sends.end(fault);
    this.#rooms.end(fault);
    this.#emit({ type: "closed", code: fault.code, reason: fault.reason });
  }

  // -- frames of the server --

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

  /** @type {Record<string, (payload: any) => void>} one function for each frame type */
  #receivers = {
    hello: () => {},
    pong: () => {},
    serverMessages: (payload) => this.#rooms.onMessages(payload),
    joined: (payload) => this.#onJoined(payload),
    left: ({ roomId }) => this.#rooms.onLeft(roomId),
    ack: (payload) => this.#sends.ack(payload),
    roomHistory: (payload) => this.#onHistory(payload),
    presence: ({ roomId, onlineCount, users }) =>
      this.#emit({ type: "presence", room: roomId, online: onlineCount, users: users.map(userOf) }),
    error: (payload) => this.#onError(payload),
  };

  /** @param {any} payload */
  #onJoined(payload) {
    this.#rooms.onJoined(payload);
    this.#sends.sendAll();
  }

  /** @param {any} payload */
  #onHistory(payload) {
    const hasMore = payload.hasMoreMessages === true;
    this.#history.answer(payload.roomId, () => ({ messages: messagesOf(payload, true), hasMore }));
  }

  /** @param {any} payload */
  #onError({ ref, code, message, retryAfterMs }) {
    const fault = new ChatError(code, message);
    const passing = RETRIABLE.has(code) || code === "internal";
    if (passing) this.#pace.pause({ code, retryAfterMs: numberOf(retryAfterMs) });
    if (this.#sends.refused(ref, fault, passing)) return;
    const view = this.#rooms.askedWith(ref);
    if (view) this.#joinFailed(view, fault, passing);
    else if (!this.#rooms.leaveRefused(ref, fault, passing) && !this.#rooms.watchRefused(ref, passing))
      this.#history.refused(ref, fault, passing);
  }

  /** @param {Room} view @param {ChatError} fault @param {boolean} passing */
  #joinFailed(view, fault, passing) {
    if (!this.#rooms.refused(view, fault, passing)) return;
    this.#sends.fail(view.room, fault);
    this.#rooms.tell(view.room, null, fault);
  }

  /** Call the listeners. A listener's error goes to the page's or the program's own error handler. @param {Events[keyof Events]} event */
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

function globalWebSocket() {
  if (globalThis.WebSocket) return globalThis.WebSocket;
  throw new TypeError("there is no global WebSocket here: pass a class, such as that of the package ws, as the option WebSocket");
}

/**
 * Add the user to a URL, and an empty `rooms`, so that connecting joins no room: the client joins each at its position.
 * @param {string} url @param {object} who
 */
function withQuery(url, who) {
  const target = parsed(url);
  if (!target || !["ws:", "wss:"].includes(target.protocol))
    throw new TypeError(`${url} is no WebSocket URL such as ws://localhost:8082/`);
  for (const [name, value] of Object.entries({ rooms: "", ...who }))
    if (value !== undefined && value !== "" || name === "rooms") target.searchParams.set(name, value);
  return target.href;
}

/** Return the parsed URL, or null. Safari 16 has neither URL.parse nor URL.canParse. @param {string} url */
function parsed(url) {
  try {
    return new URL(url);
  } catch {
    return null;
  }
}
