/**
 * Who looks at the page, and what it remembers for them. A browser's tabs are one guest, until one of them becomes a new
 * user: a tab keeps its user, and a new tab takes the browser's latest. `?uid=`, `?name=` and `?token=` in the address win.
 * A name is kept once the server has accepted it.
 */

import { randomHex } from "./client/refs.js";
import { by, icon } from "./dom.js";
import { Store } from "./storage.js";

/** @typedef {{ uid: string, name?: string }} Me */

const browser = new Store(() => localStorage);
const tab = new Store(() => sessionStorage);
const FIRST = ["Amber", "Brisk", "Calm", "Dapper", "Early", "Fern", "Gentle", "Hazel", "Jolly", "Lucky", "Merry", "Quiet"];
const SECOND = ["Badger", "Crane", "Finch", "Fox", "Hare", "Heron", "Lynx", "Marten", "Otter", "Robin", "Swift", "Wren"];

/** @param {object} change */
export const remember = (change) => browser.write(change);
export const remembered = () => browser.read();

const address = new URLSearchParams(location.search);
export const token = address.get("token") ?? undefined;
/** Whether a user may come without a token. Comet writes it into the page. */
export const guestsAllowed = document.querySelector("meta[name=guests]")?.content !== "no";
/** Whether one's name is one's own choice here. */
export const canChange = guestsAllowed && !token && !address.has("name");

let uid = ""; // of the user that this page connects as

/** @returns {Promise<{ token?: string, uid?: string, name?: string }>} who to connect as, asking for the name if need be */
export async function whoAmI() {
  if (token) return { token };
  if (!guestsAllowed) return {}; // a proxy in front of Comet may know the user
  const user = next() ?? me() ?? keep({ uid: newUid() }); // at once, for tabs that open meanwhile
  uid = user.uid;
  return { uid: address.get("uid") ?? uid, name: address.get("name") ?? user.name ?? (await askName()) };
}

/** The new user of this tab whom the server has not accepted yet. @returns {Me | null} */
function next() {
  const user = tab.read().next;
  return typeof user?.uid === "string" && typeof user.name === "string" ? user : null;
}

/** Keep the name that the server accepted. @param {string} name */
export function accepted(name) {
  if (!canChange) return;
  tab.write({ next: null });
  const before = me();
  if (before?.uid !== uid || before.name !== name) keep({ uid, name });
}

/** The user of this tab, or of the browser's latest. @returns {Me | null} */
function me() {
  const users = [tab.read().me, browser.read().me].filter((one) => typeof one?.uid === "string");
  const found = users.find((one) => one.name) ?? users[0];
  return found ? keep(found, tab) : null;
}

/** @param {Me} user @param {...Store} stores @returns {Me} */
function keep({ uid, name }, ...stores) {
  const user = { uid, name: typeof name === "string" ? name : undefined };
  for (const store of stores.length > 0 ? stores : [tab, browser]) store.write({ me: user });
  return user;
}

const newUid = () => `guest-${randomHex(12)}`;

/** Ask for the first name. Also without an answer there is one. @param {string} [fault]  of the name before */
export async function askName(fault) {
  tab.write({ next: null });
  return (await ask("Welcome to ChatRoom", "Start chatting", `${pick(FIRST)} ${pick(SECOND)}`, { fault })).text;
}

/**
 * Let the user choose another name, or be a new user after a reload. @param {string} before
 * @param {string} [fault]  of a name that was refused
 * @returns {Promise<{ name: string, isNew: boolean } | null>} null: nothing is changed
 */
export async function changeName(before, fault) {
  const { choice, text: name } = await ask("Change your name", "Save", before, { isChange: true, fault });
  const isNew = choice === "new";
  if (choice === "" || (name === before && !isNew)) return null;
  if (isNew) tab.write({ next: { uid: newUid(), name } });
  return { name, isNew };
}

/** Tell when another tab renames this user. @param {(name: string) => void} renamed */
export function onRenamed(renamed) {
  addEventListener("storage", () => {
    const [mine, latest] = [me(), browser.read().me];
    if (!mine?.name || latest?.uid !== mine.uid || typeof latest.name !== "string" || latest.name === mine.name) return;
    keep(latest, tab);
    renamed(latest.name);
  });
}

/**
 * Ask in the dialog. While it is open, only show the fault: the answer goes to the first call.
 * @param {string} title @param {string} action @param {string} name  stands there already
 * @param {{ isChange?: boolean, fault?: string | undefined }} how
 * @returns {Promise<{ choice: string, text: string }>} `choice` is a button's value, empty without one: Escape, Cancel
 */
function ask(title, action, name, { isChange = false, fault = "" }) {
  const dialog = by("welcome");
  by("name-fault").textContent = fault;
  if (dialog.open) return new Promise(() => {});
  const input = by("name");
  by("welcome-title").textContent = title;
  by("save").textContent = action;
  by("cancel").hidden = by("new-user").hidden = !isChange;
  input.value = name;
  by("cancel").onclick = () => dialog.close("");
  dialog.returnValue = "";
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    const closed = () => resolve({ choice: dialog.returnValue, text: input.value.trim() || name });
    dialog.addEventListener("close", closed, { once: true });
  });
}

/** Light or dark: the system's choice until one makes one's own. */
export function setUpTheme() {
  const button = by("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const chosen = ["light", "dark"].find((one) => one === remembered().theme);
    if (chosen) document.documentElement.dataset.theme = chosen;
    const dark = chosen ? chosen === "dark" : system.matches;
    const label = dark ? "Use the light theme" : "Use the dark theme";
    button.replaceChildren(icon(dark ? "sun" : "moon"));
    button.setAttribute("aria-label", label);
    button.title = label;
    return dark;
  };
  button.addEventListener("click", () => {
    remember({ theme: draw() ? "light" : "dark" });
    draw();
  });
  system.addEventListener("change", draw);
  draw();
}

/** @param {string[]} words */
const pick = (words) => words[crypto.getRandomValues(new Uint32Array(1))[0] % words.length];
