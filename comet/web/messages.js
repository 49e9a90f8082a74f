/**
 * The conversation on the screen. Rows are kept by key and drawn anew only where their look changed, so that a long
 * history stays cheap; the reader's place is kept whatever comes above or below.
 */

import { avatar, by, el, hueOf, icon } from "./dom.js";
import { partsOf } from "./text.js";
import { rowsOf, timeOf } from "./timeline.js";

/** @typedef {import("./room.js").Room} Room */

const NEAR_PX = 60; // so near the end counts as at the end
const AHEAD_PX = 900; // older messages are asked for before the top is reached
const LINE_PX = 40; // between the top and the line of new messages
const SOUGHT = 1000; // messages at most, in search of the first unread one
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const MARKS = { pending: "Sending", sent: "Sent", failed: "Failed" };

export class Messages {
  /** @type {Room | null} */
  #room = null;
  /** @type {Map<string, { look: string, node: HTMLElement }>} */
  #drawn = new Map();
  #atEnd = true;
  #atLine = false; // of new messages, until it has its place or the reader scrolls
  #top = 0; // where it was scrolled to when last looked at
  #unseen = 0; // came while the reader was further up
  #scheduled = false;
  #scroll = by("scroll");
  #list = by("messages");

  /**
   * @param {{ me(): string, older(room: Room): void, seen(room: Room): void, retry(room: Room, one: any): void,
   *   discard(room: Room, one: any): void }} page
   */
  constructor(page) {
    this.page = page;
    this.#scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(this.#scroll);
    by("latest").addEventListener("click", () => this.toEnd("smooth"));
  }

  get atEnd() {
    return this.#atEnd;
  }

  /** Show a room from its first unread message, or else from its end; or none. @param {Room | null} room */
  open(room) {
    this.#room = room;
    this.#drawn.clear();
    this.#list.replaceChildren();
    this.#atLine = room !== null && room.newKey !== null;
    this.#atEnd = !this.#atLine;
    this.#unseen = 0;
    this.#top = this.#scroll.scrollTop;
    this.draw();
  }

  /** A message came to the open room. */
  came() {
    if (!this.#atEnd) this.#unseen += 1;
    this.schedule();
  }

  /** Draw soon: much may come at a time. A hidden page gets no frames, so it is drawn as it is shown again. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.#scheduled = false;
    const room = this.#room;
    if (this.#scroll.scrollTop !== this.#top) this.#readerScrolled(); // faster than the event
    if (room && this.#atEnd) room.trim();
    const place = this.#atEnd ? null : this.#place();
    const rows = room ? rowsOf(room, this.page.me()) : [];
    this.#reconcile(rows);
    this.#drawAround(room, rows.length === 0); // before anything is measured: it changes the height above the messages
    if (this.#atLine && room) this.#toLine(room);
    else if (this.#atEnd) this.toEnd();
    else if (place) this.#scroll.scrollTop += (this.#drawn.get(place.key)?.node.offsetTop ?? place.top) - place.top;
    this.#top = this.#scroll.scrollTop;
    this.#wantOlder();
  }

  /** The first message before the reader's eyes, which must not move when others come above it. */
  #place() {
    for (const node of this.#list.querySelectorAll(".message"))
      if (node.offsetTop + node.offsetHeight > this.#scroll.scrollTop) return { key: node.dataset.key, top: node.offsetTop };
    return null;
  }

  /** Go to the line of new messages. It moves while older unread ones come. @param {Room} room */
  #toLine(room) {
    const line = /** @type {HTMLElement | null} */ (this.#list.querySelector(".new"));
    if (line) this.#scroll.scrollTop = line.offsetTop - LINE_PX;
    else this.toEnd();
    this.#look();
    this.#atLine = room.newIsOlder && room.entries.length < SOUGHT;
  }

  /** @param {ScrollBehavior} [behavior] */
  toEnd(behavior = "instant") {
    this.#scroll.scrollTo({ top: this.#scroll.scrollHeight, behavior });
    if (behavior === "instant") this.#top = this.#scroll.scrollTop;
  }

  /** @param {import("./timeline.js").Row[]} rows */
  #reconcile(rows) {
    const wanted = new Set(rows.map((row) => row.key));
    for (const [key, { node }] of this.#drawn) {
      if (wanted.has(key)) continue;
      node.remove();
      this.#drawn.delete(key);
    }
    const fresh = this.#drawn.size > 0;
    let next = this.#list.firstElementChild;
    for (const row of rows) {
      const before = this.#drawn.get(row.key);
      let node = before?.node;
      if (!node || before?.look !== row.look) {
        node = this.#row(row);
        node.dataset.key = row.key;
        if (before) before.node.replaceWith(node);
        else if (fresh && next === null) node.classList.add("arrives");
        if (before && before.node === next) next = node;
        this.#drawn.set(row.key, { look: row.look, node });
      }
      if (node === next) next = node.nextElementSibling;
      else this.#list.insertBefore(node, next);
    }
  }

  /** @param {import("./timeline.js").Row} row @returns {HTMLElement} */
  #row(row) {
    switch (row.kind) {
      case "message": return this.#message(row);
      case "sending": return this.#sending(row);
      case "system": return el("li.system", {}, el("b", {}, "System"), el("span", {}, ...partsOf(row.entry.text).map(inline)));
      case "hole": return el("li.hole", {}, row.entry.text);
      default: return el(`li.${row.kind}`, {}, row.text ?? "");
    }
  }

  /** @param {import("./timeline.js").Row} row */
  #message({ entry, first, last }) {
    const { user, content } = entry.message;
    const groups = `${first ? ".first" : ""}${last ? ".last" : ""}`;
    if (entry.own) return el(`li.message.own${groups}`, {}, bubble(content, timeOf(entry), "sent"));
    const who = { id: user.id || user.username, username: user.username || "Somebody" };
    const head = first ? [avatar(who), el("span.who", { hue: hueOf(who.id), title: who.id }, who.username)] : [];
    return el(`li.message${groups}`, {}, ...head, bubble(content, timeOf(entry)));
  }

  /** @param {import("./timeline.js").Row} row */
  #sending({ entry, first, last }) {
    const groups = `${first ? ".first" : ""}${last ? ".last" : ""}`;
    const room = /** @type {Room} */ (this.#room);
    const fault = entry.status === "failed" && el("div.fault", {}, el("span", {}, entry.reason),
      el("button", { type: "button", onclick: () => this.page.retry(room, entry) }, "Try again"),
      el("button", { type: "button", onclick: () => this.page.discard(room, entry) }, "Discard"));
    return el(`li.message.own.${entry.status}${groups}`, {}, bubble(entry.content, entry.at, entry.status), fault);
  }

  /** @param {Room | null} room @param {boolean} isEmpty */
  #drawAround(room, isEmpty) {
    const latest = by("latest");
    latest.hidden = this.#atEnd;
    latest.textContent = this.#unseen > 0 ? `↓ ${this.#unseen} new` : "↓ Latest";
    const empty = by("empty");
    empty.hidden = !isEmpty || (room !== null && room.hasMore);
    if (!empty.hidden) empty.replaceChildren(...emptyState(room));
    by("older").textContent = room?.loading ? "Loading older messages…"
      : room && !room.hasMore && !isEmpty ? `This is where #${room.id} begins` : "";
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.#top = scrollTop;
  }

  #readerScrolled() {
    this.#atLine = false;
    this.#look();
  }

  #scrolled() {
    if (this.#scroll.scrollTop !== this.#top) this.#readerScrolled();
    else this.#look();
    by("latest").hidden = this.#atEnd;
    if (this.#atEnd) this.#unseen = 0;
    if (this.#atEnd && this.#room) this.page.seen(this.#room);
    this.#wantOlder();
  }

  /** Not while something waits to be drawn: the place would be that of before. */
  #wantOlder() {
    if (this.#scheduled) return;
    const room = this.#room;
    const isNear = this.#atLine || this.#scroll.scrollTop < AHEAD_PX;
    if (room && room.hasMore && !room.loading && isNear) this.page.older(room);
  }
}

/** @param {string} content @param {number} at @param {keyof MARKS} [mark] */
function bubble(content, at, mark) {
  const time = el("time", { datetime: new Date(at).toISOString(), title: exact.format(at) }, clock.format(at));
  const meta = el("span.meta", {}, time, mark && icon(mark, MARKS[mark]));
  return el("div.bubble", {}, ...written(content), meta);
}

/** The paragraphs and the blocks of code of a message. @param {string} content */
function written(content) {
  /** @type {HTMLElement[]} */
  const made = [];
  for (const part of partsOf(content)) {
    if (part.kind === "block") made.push(el("pre", { tabindex: "0" }, el("code", {}, part.text)));
    else if (made.at(-1)?.tagName === "P") made.at(-1)?.append(inline(part));
    else made.push(el("p", {}, inline(part)));
  }
  return made;
}

/** @param {import("./text.js").Part} part @returns {Node | string} */
function inline(part) {
  if (part.kind === "link") return el("a", { href: part.href, target: "_blank", rel: "noopener noreferrer" }, part.text);
  return part.kind === "text" ? part.text : el("code", {}, part.text);
}

/** @param {Room | null} room */
function emptyState(room) {
  if (!room) return [el("span.avatar", {}, "#"), el("b", {}, "No room is open"), "Join one, or create your own: any name will do."];
  return [el("span.avatar", {}, "#"), el("b", {}, `Welcome to #${room.id}`), "It is quiet in here. Say the first word."];
}
