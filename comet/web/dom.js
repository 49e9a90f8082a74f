/** Elements made from what they hold. Text becomes text nodes, so that no content is ever read as HTML. */

/**
 * @param {string} kind  tag and classes: "li.message.own"
 * @param {Record<string, any>} [attributes]  "on..." are listeners, `hue` is the colour of one's own
 * @param {...(Node | string | null | false | undefined)} children
 */
export function el(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  made.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "hue") made.style.setProperty("--hue", value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flatMap((child) => (child ? [child] : [])));
  return made;
}

/** @param {string} id @returns {any} */
export const by = (id) => document.getElementById(id);

const ICONS = {
  pending: "M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  sent: "M5 13l4.500 4.500L19 7",
  failed: "M12 7v6M12 16.800v.2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M5.600 18.400l1.100-1.100M17.300 6.700l1.100-1.100",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500",
};

/** @param {keyof typeof ICONS} name @param {string} [label]  for who can't see it */
export function icon(name, label) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** The initials of a user on a colour of their own. @param {{ id: string, username: string }} user */
export function avatar({ id, username }) {
  const words = username.trim().split(/[\s_.-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  const initials = letters.map((word) => [...word][0]).join("").toUpperCase() || "?";
  return el("span.avatar", { hue: hueOf(id), "aria-hidden": "true" }, initials);
}

/** An angle on the colour wheel that is always the same for an id. @param {string} id */
export function hueOf(id) {
  let hash = 0;
  for (const char of id) hash = (Math.imul(hash, 31) + /** @type {number} */ (char.codePointAt(0))) | 0;
  return Math.floor(((Math.imul(hash, 0x9e3779b1) >>> 0) / 2 ** 32) * 360); // the golden angle parts neighbours
}
