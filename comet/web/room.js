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
  }

  /** @param {"hole" | "system"} kind @param {string} text */
  note(kind, text) {
    this.entries.push({ kind, key: `${kind}-${keys++}`, text, at: Date.now() });
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
    one.at = ack.timestamp;
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
    return { kind: "message", key, message: { ...message, timestamp: message.timestamp || Date.now() }, own };
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
