/**
 * Reads and checks the server's frames. Pure.
 *
 * @import { Message, Position, User } from "../index.js"
 */

/**
 * The fields of each frame type. The check is needed because an operator can push any text to every client.
 * @type {Record<string, Record<string, string>>}
 */
const SHAPES = {
  hello: {},
  pong: {},
  serverMessages: { roomId: "string", messages: "array" },
  joined: { roomId: "string", epoch: "number", seq: "number", recovered: "boolean", messages: "array" },
  left: { roomId: "string" },
  ack: { epoch: "number", messages: "array" },
  roomHistory: { roomId: "string", epoch: "number", messages: "array" },
  presence: { roomId: "string", onlineCount: "number", users: "array" },
  error: { code: "string", message: "string" },
};

/** A frame of a known type has an invalid payload. */
export class NotUnderstood extends Error {}

/** Return a valid frame, or null. @param {unknown} text @returns {{ type: string, payload: any } | null} */
export function parse(text) {
  if (typeof text !== "string" || !text.startsWith("{")) return null;
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  const shape = Object.hasOwn(SHAPES, frame.type) ? SHAPES[frame.type] : null;
  /** @param {[string, string]} field */
  const fits = ([name, kind]) => kind === (Array.isArray(frame.payload[name]) ? "array" : typeof frame.payload[name]);
  return shape && isObject(frame.payload) && Object.entries(shape).every(fits) ? frame : null;
}

/** @param {any} payload @param {boolean} [recent] @returns {Message[]} */
export function messagesOf({ roomId: room, epoch = 0, messages }, recent = false) {
  return messages.map((/** @type {any} */ one) => {
    if (!isObject(one) || typeof one.content !== "string") throw new NotUnderstood();
    const { seq = 0, id = "", content, timestamp = 0 } = one;
    return { type: "message", room, epoch, seq, id, content, timestamp, user: userOf(one.user), recent };
  });
}

/** Return the end of the room's log that a `joined` names. An older server names none. @param {any} joined @returns {Position} */
export function tailOf({ epoch, seq, tail = { epoch, seq } }) {
  if (!isObject(tail) || typeof tail.epoch !== "number" || typeof tail.seq !== "number") throw new NotUnderstood();
  return { epoch: tail.epoch, seq: tail.seq };
}

/** @param {any} user @returns {User} */
export function userOf(user) {
  return { id: String(user?.id ?? ""), username: String(user?.username ?? "") };
}

/** Return a number of a frame that must not be negative, or 0 for one that is missing or invalid. @param {any} value @returns {number} */
export function numberOf(value) {
  return Number.isFinite(value) && value >= 0 ? value : 0;
}

/** @param {unknown} value */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
