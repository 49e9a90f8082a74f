/**
 * Who looks at the page, and what it remembers for them. A guest's id is of one window, so that two windows are two
 * people; name, rooms and what was read are the browser's. `?uid=`, `?name=` and `?token=` in the address win.
 */

import { randomHex } from "./client/refs.js";
import { by, icon } from "./dom.js";

const KEY = "chatroom";
const FIRST = ["Amber", "Brisk", "Calm", "Dapper", "Early", "Fern", "Gentle", "Hazel", "Jolly", "Lucky", "Merry", "Quiet"];
const SECOND = ["Badger", "Crane", "Finch", "Fox", "Hare", "Heron", "Lynx", "Marten", "Otter", "Robin", "Swift", "Wren"];

/** @param {Storage} store @returns {Record<string, any>} */
function read(store) {
  try {
    return JSON.parse(store.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {}; // what others left there
  }
}

/** @param {Storage} store @param {object} change */
function write(store, change) {
  try {
    store.setItem(KEY, JSON.stringify({ ...read(store), ...change }));
  } catch {
    return; // full or forbidden: then it is not remembered
  }
}

/** @param {object} change */
export const remember = (change) => write(localStorage, change);
export const remembered = () => read(localStorage);

const address = new URLSearchParams(location.search);
export const token = address.get("token") ?? undefined;
/** Whether one's name is one's own choice here. */
export const canChange = !token && !address.has("name");

/** @returns {Promise<{ token?: string, uid?: string, name?: string }>} who to connect as, asking for the name if need be */
export async function whoAmI() {
  if (token) return { token };
  const { uid = address.get("uid") ?? `guest-${randomHex(12)}`, name: chosen } = read(sessionStorage);
  const id = address.get("uid") ?? uid;
  write(sessionStorage, { uid: id });
  const name = address.get("name") ?? chosen ?? (await askName("Welcome to ChatRoom", "Start chatting"));
  return { uid: id, name };
}

/** @param {string} title @param {string} action @returns {Promise<string>} */
export function askName(title, action) {
  const dialog = by("welcome");
  const input = by("name");
  const before = read(sessionStorage).name ?? remembered().name;
  by("welcome-title").textContent = title;
  dialog.querySelector(".primary").textContent = action;
  input.value = before ?? `${pick(FIRST)} ${pick(SECOND)}`;
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const name = input.value.trim() || before || `${pick(FIRST)} ${pick(SECOND)}`;
      write(sessionStorage, { name });
      remember({ name });
      resolve(name);
    }, { once: true });
  });
}

/** Light or dark: the system's choice until one makes one's own. */
export function setUpTheme() {
  const button = by("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const chosen = remembered().theme;
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
