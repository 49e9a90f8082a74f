/**
 * A room as the page knows it: what it shows, what is on its way, what was not read. No protocol (client.js), no
 * element (messages.js).
 *
 * One's own message comes twice, as it is sent and as the room's, and the ack that says which is which may come last.
 * So what is sent is hidden behind the first message of one's own with the same content, until the ack or a fault tells.
 *
 * @typedef {import("./client.js").Message} Message
 * @typedef {{ kind: "message", key: string, message: Message, own: boolean }} MessageEntry
 * @typedef {{ kind: "hole" | "system", key: string, text: string, at: number }} OtherEntry
 * @typedef {{ kind: "sending", key: string, ref: string, content: string, at: number, status: "pending" | "sent" | "failed",
 *   reason: string, behind: string | null }} Sending  `behind`: key of the message that stands for it
 */

const LAST_TIME = 8.64e15; // the last ms that a Date can hold
const NAME_CHARS = 64; // the server's limits of a name and of an id; a pushed message may hold more
const ID_CHARS = 128;
const TEXT_CHARS = 100_000; // of one message on the screen
const KEPT = 300; // messages, when there are twice as many and the newest are looked at; older ones can be asked for

let keys = 0;

export class Room {
  /** @type {(MessageEntry | OtherEntry)[]} oldest first */
  entries = [];
  /** @type {Sending[]} */
  sending = [];
  unread = 0;
  /** @type {string | null} key of the first message that was not read when the room was opened */
  newKey = null;
  /** @type {number | null} seq of the last message that was read before the page was opened; null: nothing is unread */
  readSeq = null;
  online = 0;
  /** @type {{ id: string, username: string }[]} */
  users = [];
  hasMore = true;
  loading = false;
  draft = "";
  #keys = new Set();

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** Take a message that came. @param {Message} message @param {boolean} own @returns {string | null} key; null: a repeat */
  add(message, own) {
    const entry = this.#entry(message, own);
    if (!entry) return null;
    this.entries.push(entry);
    if (own) this.#hide(entry);
    return entry.key;
  }

  /** Take older messages, oldest first. @param {Message[]} messages @param {(message: Message) => boolean} isOwn */
  addOlder(messages, isOwn) {
    const older = messages.map((one) => this.#entry(one, isOwn(one))).filter((one) => one !== null);
    this.entries.unshift(...older);
    this.markNew();
  }

  /**
   * Take where the reader was when the page was last open. One's own messages that are here are not unread.
   * @param {unknown} read @param {import("./client.js").Position} end
   */
  resume(read, end) {
    const since = unreadSince(read, end);
    const readSeq = end.seq - since;
    const own = this.entries.filter((one) => one.kind === "message" && one.own && isBetween(one.message, readSeq, end));
    this.unread = since - own.length;
    this.readSeq = this.unread > 0 ? readSeq : null;
    this.markNew();
  }

  /** Put the mark where the unread messages begin, among those that are here. */
  markNew() {
    const read = this.readSeq;
    if (read === null) return;
    const first = this.entries.find((one) => one.kind === "message" && !one.own && one.message.seq > read);
    this.newKey = first?.key ?? null;
  }

  /** Take the mark of unread messages away. */
  unmark() {
    this.newKey = this.readSeq = null;
  }

  /** Whether older messages may be unread, too. */
  get newIsOlder() {
    const oldest = this.entries.find((one) => one.kind === "message" && one.message.seq > 0);
    return this.readSeq !== null && this.hasMore && oldest?.kind === "message" && oldest.message.seq > this.readSeq + 1;
  }

  /** @param {"hole" | "system"} kind @param {string} text */
  note(kind, text) {
    this.entries.push({ kind, key: `${kind}-${keys++}`, text: clip(text), at: Date.now() });
  }

  /** The id that older messages are asked with. */
  get oldestId() {
    const first = this.entries.find((one) => one.kind === "message" && one.message.seq > 0);
    return first?.kind === "message" ? first.message.id : undefined;
  }

  /** Forget the oldest of very many. */
  trim() {
    if (this.entries.length < 2 * KEPT) return;
    for (const one of this.entries.splice(0, this.entries.length - KEPT)) this.#keys.delete(one.key);
    this.hasMore = true;
  }

  /** @param {string} ref @param {string} content @returns {Sending} */
  send(ref, content) {
    /** @type {Sending} */
    const one = { kind: "sending", key: ref, ref, content, at: Date.now(), status: "pending", reason: "", behind: null };
    this.sending.push(one);
    return one;
  }

  /** It is stored, as this message. @param {Sending} one @param {import("./client.js").Ack} ack */
  acked(one, ack) {
    const key = keyOf(ack);
    const other = this.sending.find((other) => other !== one && other.behind === key);
    if (other) other.behind = one.behind; // it stood behind ours
    one.status = "sent";
    one.behind = key;
    one.at = timeOf(ack.timestamp);
    if (this.#keys.has(key)) this.drop(one);
  }

  /** @param {Sending} one @param {string} reason */
  failed(one, reason) {
    one.status = "failed";
    one.reason = reason;
    one.behind = null;
  }

  /** @param {Sending} one */
  drop(one) {
    this.sending = this.sending.filter((other) => other !== one);
  }

  /** What is on its way, but for what a message stands for already. */
  get shownSending() {
    return this.sending.filter((one) => one.behind === null || !this.#keys.has(one.behind));
  }

  /** @param {Message} message @param {boolean} own @returns {MessageEntry | null} */
  #entry(message, own) {
    const key = message.seq > 0 ? keyOf(message) : `pushed-${keys++}`;
    if (this.#keys.has(key)) return null;
    this.#keys.add(key);
    const shown = { timestamp: timeOf(message.timestamp), user: clipUser(message.user), content: clip(message.content) };
    return { kind: "message", key, message: { ...message, ...shown }, own };
  }

  /** @param {MessageEntry} entry */
  #hide({ key, message }) {
    const acked = this.sending.find((one) => one.behind === key);
    if (acked?.status === "sent") this.drop(acked);
    if (acked) return;
    const first = this.sending.find((one) => !one.behind && one.status === "pending" && one.content === message.content);
    if (first) first.behind = key;
  }
}

/** @param {{ epoch: number, seq: number }} position */
const keyOf = ({ epoch, seq }) => `${epoch}-${seq}`;

/** @param {Message} message @param {number} after @param {import("./client.js").Position} end */
const isBetween = ({ epoch, seq }, after, end) => epoch === end.epoch && seq > after && seq <= end.seq;

/** @param {number} at ms @returns {number} a time that a Date can hold; now, if there is none */
const timeOf = (at) => (at > 0 && at <= LAST_TIME ? at : Date.now());

/** @param {string} text */
const clip = (text) =>
  text.length <= TEXT_CHARS ? text : `${text.slice(0, TEXT_CHARS)}… (${text.length - TEXT_CHARS} more characters)`;

/** @param {import("./client.js").User} user */
export const clipUser = ({ id, username }) => ({ id: id.slice(0, ID_CHARS), username: username.slice(0, NAME_CHARS) });

/** How many messages came since a position that the browser kept. @param {any} read @param {import("./client.js").Position} end */
function unreadSince(read, end) {
  if (!Number.isSafeInteger(read?.seq)) return 0;
  if (end.seq >= read.seq) return end.seq - read.seq;
  return end.epoch > read.epoch ? end.seq : 0; // the room began anew
}
