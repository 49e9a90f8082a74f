/**
 * Reads and checks the server's frames. Pure.
 *
 * @import { Message, Position, User } from "../index.js"
 */

/** The last millisecond that a Date can hold. */
const LAST_TIME = 8.64e15;

/** @type {Record<string, (value: any) => boolean>} */
const KINDS = {
  text: (value) => typeof value === "string",
  flag: (value) => typeof value === "boolean",
  list: (value) => Array.isArray(value),
  count: isCount,
  optionalCount: (value) => value === undefined || value === null || isCount(value),
  optionalPosition: (value) => value === undefined || value === null || (isObject(value) && isCount(value.epoch) && isCount(value.seq)),
};

/**
 * The fields of each frame type. The check is needed because an operator can push any text to every client.
 * @type {Record<string, Record<string, keyof typeof KINDS>>}
 */
const SHAPES = {
  hello: {},
  pong: {},
  serverMessages: { roomId: "text", epoch: "optionalCount", messages: "list" },
  joined: {
    roomId: "text", epoch: "count", seq: "count", tail: "optionalPosition", recovered: "flag", messages: "list",
    onlineCount: "optionalCount",
  },
  left: { roomId: "text" },
  ack: { epoch: "count", messages: "list" },
  roomHistory: { roomId: "text", epoch: "count", messages: "list" },
  presence: { roomId: "text", onlineCount: "count", users: "list" },
  error: { code: "text", message: "text" },
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
  const { type, payload } = frame;
  const shape = typeof type === "string" && Object.hasOwn(SHAPES, type) ? SHAPES[type] : null;
  const fits = shape && isObject(payload) && Object.entries(shape).every(([name, kind]) => KINDS[kind](payload[name]));
  return fits ? frame : null;
}

/** Return the messages of a frame. Throw NotUnderstood if one is not valid. @param {any} payload @param {boolean} [recent] @returns {Message[]} */
export function messagesOf({ roomId: room, epoch, messages }, recent = false) {
  return messages.map((/** @type {any} */ one) => {
    if (!isObject(one) || typeof one.content !== "string") throw new NotUnderstood();
    const { content } = one;
    const seq = epoch ? countOf(one.seq) : 0; // without an epoch the message has no place in the log
    const timestamp = countOf(one.timestamp, LAST_TIME);
    return { type: "message", room, epoch: epoch ?? 0, seq, id: textOf(one.id), content, timestamp, user: userOf(one.user), recent };
  });
}

/** Return the end of the room's log that a `joined` names. An older server names none. @param {any} joined @returns {Position} */
export function tailOf({ epoch, seq, tail }) {
  return tail ? { epoch: tail.epoch, seq: tail.seq } : { epoch, seq };
}

/** Return a user, with an empty text for each missing field. Throw NotUnderstood if it is not valid. @param {any} user @returns {User} */
export function userOf(user) {
  if (!isObject(user ?? {})) throw new NotUnderstood();
  return { id: textOf(user?.id), username: textOf(user?.username) };
}

/** @param {any} value @param {number} [most] */
function isCount(value, most = Number.MAX_SAFE_INTEGER) {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

/** @param {any} value @param {number} [most] @returns {number} 0 if it is missing */
function countOf(value, most) {
  if (!isCount(value ?? 0, most)) throw new NotUnderstood();
  return value ?? 0;
}

/** @param {any} value  a text or a number @returns {string} empty if it is missing */
function textOf(value) {
  if (!["string", "number"].includes(typeof (value ?? ""))) throw new NotUnderstood();
  return String(value ?? "");
}

/** Return a number of a frame that must not be negative, or 0 for one that is missing or invalid. @param {any} value @returns {number} */
export function numberOf(value) {
  return Number.isFinite(value) && value >= 0 ? value : 0;
}

/** @param {unknown} value */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
