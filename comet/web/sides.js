/** What stands beside the conversation: the rooms, who one is, who is online; drawers on narrow screens. */

import { avatar, by, el } from "./dom.js";

/** @typedef {import("./room.js").Room} Room */

const LISTED = 100; // users, which is what the server names

/** @param {number} count */
const short = (count) => (count > 99 ? "99+" : String(count));

/** @param {Iterable<Room>} rooms @param {Room | null} open @param {(room: Room) => void} choose */
export function drawRooms(rooms, open, choose) {
  const items = [...rooms].map((room) => {
    const isOpen = room === open;
    const unread = room.unread > 0 && el("span.badge", {}, short(room.unread), el("span.unseen", {}, " unread"));
    const kind = `button.room${room.unread > 0 ? ".unread" : ""}`;
    const button = el(kind, { type: "button", "aria-current": isOpen && "page", title: room.id, onclick: () => choose(room) },
      el("span.hash", { "aria-hidden": "true" }, "#"), el("span", {}, room.id), unread);
    return el("li", {}, button);
  });
  const focused = document.activeElement?.closest("#rooms .room")?.getAttribute("title");
  by("rooms").replaceChildren(...items);
  if (focused) [...by("rooms").querySelectorAll(".room")].find((one) => one.title === focused)?.focus();
  const elsewhere = [...rooms].reduce((sum, room) => sum + (room === open ? 0 : room.unread), 0);
  by("menu-unread").hidden = elsewhere === 0;
  by("menu-unread").textContent = short(elsewhere);
}

/** @param {{ id: string, username: string }} user @param {boolean} canChange */
export function drawMe(user, canChange) {
  const me = by("me");
  me.disabled = !canChange;
  me.replaceChildren(avatar(user), el("span", {}, el("b", {}, user.username), el("small", {}, canChange ? "Change your name" : user.id)));
}

/** @param {Room | null} room @param {string} me */
export function drawPeople(room, me) {
  const count = room ? room.online : 0;
  by("online").textContent = room ? `${count}` : "";
  by("people-toggle").hidden = by("people").hidden = !room;
  by("people-toggle").setAttribute("aria-label", `${count} online; show who`);
  by("people-count").textContent = room ? String(count) : "";
  const users = [...(room?.users ?? [])].slice(0, LISTED).sort((a, b) => Number(b.id === me) - Number(a.id === me) || a.username.localeCompare(b.username));
  const more = count - users.length;
  by("people-list").replaceChildren(
    ...users.map((user) => el("li", { title: user.id }, avatar(user), el("span.name", {}, user.username), user.id === me && el("small", {}, "(you)"))),
    ...(users.length > 0 && more > 0 ? [el("li", {}, el("small", {}, `and ${more} more`))] : []),
  );
}

/** Open one drawer, or close both. @param {"sidebar" | "people" | ""} which */
export function drawer(which) {
  const before = document.body.dataset.drawer;
  document.body.dataset.drawer = which;
  by("scrim").hidden = which === "";
  /** @type {HTMLElement} */ (document.querySelector("main")).inert = which !== "";
  by("menu").setAttribute("aria-expanded", String(which === "sidebar"));
  by("people-toggle").setAttribute("aria-expanded", String(which === "people"));
  if (which) (by(which).querySelector("[aria-current]") ?? by(which).querySelector("button"))?.focus();
  else if (before) by(before === "people" ? "people-toggle" : "menu").focus();
}

export function setUpDrawers() {
  drawer("");
  by("menu").addEventListener("click", () => drawer(document.body.dataset.drawer === "sidebar" ? "" : "sidebar"));
  by("people-toggle").addEventListener("click", () => drawer(document.body.dataset.drawer === "people" ? "" : "people"));
  by("people-close").addEventListener("click", () => drawer(""));
  by("scrim").addEventListener("click", () => drawer(""));
  addEventListener("keydown", ({ key }) => key === "Escape" && document.body.dataset.drawer && drawer(""));
}
