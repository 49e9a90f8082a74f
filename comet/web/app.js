/**
 * The page: connects what the client says with what is shown, and what one does with what the client is asked.
 *
 * client.js follows the rooms; room.js keeps what is shown of each; messages.js, sides.js, composer.js and connection.js
 * show it; visitor.js knows who looks at it.
 */

import { ChatClient, Disconnected, OutcomeUnknown } from "./client.js";
import { newRef } from "./client/refs.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { by } from "./dom.js";
import { Messages } from "./messages.js";
import { Room, clipUser } from "./room.js";
import { drawMe, drawPeople, drawRooms, drawer, setUpDrawers } from "./sides.js";
import {
  accepted, askName, canChange, changeName, guestsAllowed, onRenamed, remember, remembered, setUpTheme, token, whoAmI,
} from "./visitor.js";

// Comet writes its own default rooms into the page, by commas.
const DEFAULT_ROOMS = (document.querySelector("meta[name=default-rooms]")?.content ?? "").split(",").filter(Boolean);

const REFUSED = 1008; // the close code
const NEWS_CHARS = 1000; // of a message, read aloud

setUpTheme();
setUpDrawers();
let who = await whoAmI();
const server = new URL("./", location.href);
server.protocol = location.protocol === "https:" ? "wss:" : "ws:";
server.search = server.hash = "";

let chat = new ChatClient(server.href, who); // another one after a change of the name
/** @type {Map<string, Room>} */
const rooms = new Map();
const known = new Set(); // ids of rooms that were live before
/** @type {Room | null} */
let open = null;
let node = "";
let acceptedName = ""; // the last one with which the server let the user in

const me = () => chat.me?.id ?? who.uid ?? "";
const messages = new Messages({ me, older, seen, retry, discard });
const composer = new Composer(send);
const connection = new Connection({ retry: () => chat.retryNow(), again: () => location.reload() });

// -- rooms --

/** Follow a room, and show it if wanted. @param {string} id @param {boolean} [show] */
function join(id, show = true) {
  if (!rooms.has(id)) {
    rooms.set(id, new Room(id));
    chat.join(id).catch((fault) => notJoined(id, fault));
    saveRooms();
  }
  if (show) choose(/** @type {Room} */ (rooms.get(id)));
  else drawSides();
}

/** @param {string} id @param {Error} fault */
function notJoined(id, fault) {
  if (fault instanceof Disconnected || /** @type {any} */ (fault).code === "timeout") return; // it is tried on
  forget(id);
  by("join-fault").textContent = fault.message;
}

/** @param {Room | null} room */
function choose(room) {
  if (open && open !== room) {
    open.unmark();
    if (chat.rooms.has(open.id)) chat.watch(open.id, false);
  }
  open = room;
  if (room && chat.rooms.has(room.id)) chat.watch(room.id);
  by("title").textContent = room ? `# ${room.id}` : "ChatRoom";
  by("leave").hidden = !room;
  messages.open(room);
  composer.open(room);
  showAddress(room);
  if (document.body.dataset.drawer) drawer("");
  if (room) seen(room);
  drawSides();
}

/** @param {Room} room */
function leave(room) {
  chat.leave(room.id).catch(() => {}); // left or not, it is out of sight; a reload would join only what is listed
  forget(room.id);
}

/** @param {string} id */
function forget(id) {
  rooms.delete(id);
  known.delete(id);
  saveRooms();
  remember({ read: readPositions(([room]) => room !== id) });
  if (open?.id === id) choose(rooms.values().next().value ?? null);
  else drawSides();
}

/** The open room's messages are before the reader's eyes. @param {Room} room */
function seen(room) {
  if (document.hidden || room !== open || !messages.atEnd) return;
  room.unread = 0;
  saveRead(room);
  drawSides();
}

const saveRooms = () => remember({ rooms: [...rooms.keys()] });

/** @param {Room} room @param {import("./client.js").Position} [position] */
function saveRead(room, position = chat.rooms.get(room.id)) {
  if (position) remember({ read: { ...readPositions(), [room.id]: position } });
}

/** What was read, by room. @param {(one: [string, any]) => boolean} [filter] @returns {Record<string, any>} */
function readPositions(filter = () => true) {
  return Object.fromEntries(Object.entries(remembered().read ?? {}).filter(filter));
}

/** @param {string} id */
const readIn = (id) => new Map(Object.entries(readPositions())).get(id);

/** @param {Room | null} room */
function showAddress(room) {
  if (location.hash === hashOf(room)) return;
  try {
    history.pushState(null, "", hashOf(room) || "./" + location.search);
  } catch {
    return; // Safari allows 100 of them in 30 seconds
  }
}

/** The room that the page's address names. */
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // a broken % in it
  }
}

/** @param {Room | null} room */
const hashOf = (room) => (room ? `#${encodeURIComponent(room.id.replace(/[\ud800-\udfff]/gu, "\ufffd"))}` : "");

function drawSides() {
  drawRooms(rooms.values(), open, choose);
  drawPeople(open, me());
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${open ? `#${open.id} · ` : ""}ChatRoom`;
}

// -- messages --

/** @param {Room} room @param {string} content */
function send(room, content) {
  const one = room.send(newRef(), content);
  room.unmark();
  transmit(room, one);
  messages.draw();
  messages.toEnd();
}

/** @param {Room} room @param {import("./room.js").Sending} one */
function retry(room, one) {
  one.status = "pending";
  transmit(room, one);
  messages.schedule();
  composer.focus(); // the button goes
}

/** @param {Room} room @param {import("./room.js").Sending} one */
function discard(room, one) {
  room.drop(one);
  messages.schedule();
  composer.focus();
}

/** @param {Room} room @param {import("./room.js").Sending} one @returns {Promise<void>} */
async function transmit(room, one) {
  const by = chat;
  try {
    room.acked(one, await by.send(room.id, one.content, { ref: one.ref }));
  } catch (fault) {
    if (by !== chat) return transmit(room, one); // renamed meanwhile: the ref still stores it once
    const unknown = fault instanceof OutcomeUnknown && "No answer came in time: it may or may not have been sent";
    room.failed(one, unknown || `Not sent: ${/** @type {Error} */ (fault).message}`);
  }
  messages.schedule();
}

/** @param {Room} room */
async function older(room) {
  if (!chat.isLive(room.id)) return;
  room.loading = true;
  messages.schedule();
  try {
    const before = room.oldestId;
    const page = await chat.history(room.id, { before });
    if (room.oldestId !== before) return; // it was trimmed meanwhile: the page would stand before a gap
    room.addOlder(page.messages, (one) => one.user.id === me());
    room.hasMore = page.hasMore;
  } catch {
    return; // refused, or too slow: asked again on the next scroll
  } finally {
    room.loading = false;
    messages.schedule();
  }
}

// -- what the client says --

/** @param {ChatClient} client */
function listen(client) {
  /** @template {keyof import("./client.js").Events} T @param {T} type @param {(event: import("./client.js").Events[T]) => void} listener */
  const on = (type, listener) => client.on(type, (event) => client === chat && listener(event));

  on("message", (message) => {
    const room = rooms.get(message.room);
    if (!room) return;
    const own = message.user.id !== "" && message.user.id === me();
    const key = room.add(message, own);
    if (key === null) return;
    if (room === open) messages.came();
    if (message.recent) return;
    if (own) {
      if (room === open) soon(); // it counts as read
      return;
    }
    if (room === open) by("news").textContent = `${message.user.username}: ${message.content}`.slice(0, NEWS_CHARS);
    if (room === open && !document.hidden && messages.atEnd) return;
    if (room.unread === 0 && (room !== open || document.hidden)) room.newKey = key;
    room.unread += 1;
    soon();
  });

  on("hole", ({ room }) => {
    rooms.get(room)?.note("hole", "Some messages are missing here: the server no longer has them.");
    messages.schedule();
  });

  on("system", ({ text }) => {
    open?.note("system", text);
    messages.came();
  });

  on("joined", ({ room: id, tail, online }) => {
    const room = rooms.get(id);
    if (!room) return;
    room.online = online;
    if (!known.has(id)) {
      known.add(id);
      if (room === open) chat.watch(id);
      room.resume(readIn(id), tail);
      if (room.unread === 0) saveRead(room, tail); // what follows up to it is history, too
      if (room === open) messages.open(room);
    }
    if (room === open) seen(room);
    soon();
    showState();
    messages.schedule();
  });

  on("presence", ({ room: id, online, users }) => {
    const room = rooms.get(id);
    if (room) Object.assign(room, { online, users: users.map(clipUser) });
    soon();
  });

  on("removed", ({ room, reason }) => {
    forget(room);
    by("join-fault").textContent = `You are no longer in ${room}: ${reason}`;
  });

  on("connecting", () => connection.connecting());
  on("connected", (event) => {
    node = event.node;
    acceptedName = who.name ?? "";
    accepted(acceptedName);
    drawMe(event.user, canChange);
    showState();
  });
  on("reconnecting", ({ code, waitMs }) => connection.lost(code, waitMs));
  on("closed", ({ code, reason }) => {
    if (code === REFUSED && !guestsAllowed && !chat.me) connection.refused(token !== undefined, reason);
    else connection.ended(code, reason);
    if (code === REFUSED && canChange && reason.startsWith("name ")) nameRefused(`This name was not accepted: ${reason}`);
  });
}

// -- what becomes of the connection --

function showState() {
  if (!chat.connected) return;
  if ([...rooms.keys()].every((id) => chat.isLive(id))) connection.live(node);
  else connection.catchingUp();
}

/** Connect again with another name. Rooms, drafts and what is on its way stay. @param {string} name */
function rename(name) {
  who = { ...who, name };
  const [before, positions] = [chat, chat.rooms];
  chat = new ChatClient(server.href, who);
  before.close();
  start(positions);
}

/** Go on with the name before, if there is one, and ask for another. @param {string} fault */
async function nameRefused(fault) {
  if (!acceptedName || acceptedName === who.name) {
    rename(await askName(fault));
    return;
  }
  rename(acceptedName);
  await change(fault);
}

/** Let the user choose another name. @param {string} [fault]  of a name that was refused */
async function change(fault) {
  const chosen = await changeName(who.name ?? "", fault);
  if (chosen?.isNew) location.reload(); // whose rooms these were is not the new user's business
  else if (chosen) rename(chosen.name);
}

/** @param {Map<string, import("./client.js").Position>} [positions] */
function start(positions) {
  listen(chat);
  drawMe({ id: me(), username: who.name ?? "" }, canChange);
  for (const id of rooms.keys()) chat.join(id, positions?.get(id)).catch((fault) => notJoined(id, fault));
  if (open) chat.watch(open.id);
  chat.connect().catch((fault) => { if (!(fault instanceof Disconnected)) throw fault; });
}

let scheduled = false;
/** Draw the sides soon: much may come at a time. */
function soon() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    if (open) seen(open);
    drawSides();
  }, 50);
}

// -- what one does --

by("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = by("join-room");
  const id = input.value.trim().replace(/^#/, "").replace(/[\s,]+/g, "-");
  if (!id) return;
  input.value = by("join-fault").textContent = "";
  join(id);
});
by("leave").addEventListener("click", () => open && leave(open));
by("me").addEventListener("click", () => change());
onRenamed(rename);
addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!event.altKey || !step || rooms.size === 0) return;
  event.preventDefault();
  const all = [...rooms.values()];
  choose(all[(all.indexOf(/** @type {Room} */ (open)) + step + all.length) % all.length]);
});
addEventListener("popstate", () => {
  const id = addressed();
  if (id && id !== open?.id) join(id);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && open) {
    messages.draw();
    seen(open);
  }
});

addEventListener("beforeunload", (event) => {
  if (chat.unacked > 0) event.preventDefault(); // what is on its way would be lost
});

const first = addressed();
const kept = remembered().rooms;
const listed = Array.isArray(kept) ? kept.filter((id) => typeof id === "string") : DEFAULT_ROOMS;
start();
for (const id of listed) join(id, false);
if (first || listed.length > 0) join(first || listed[0]);
else choose(null);
