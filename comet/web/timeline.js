/**
 * The rows that a room's entries make: days, groups of one sender, and where the unread ones begin. Pure.
 *
 * @typedef {import("./room.js").Room} Room
 * @typedef {{ key: string, kind: string, look: string, entry?: any, text?: string, first?: boolean, last?: boolean }} Row
 *   `look` changes exactly when the row has to be drawn anew
 */

const GROUP_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const longYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** @param {Room} room @param {string} me  one's own id @returns {Row[]} */
export function rowsOf(room, me) {
  const now = new Date();
  const entries = [...room.entries, ...room.shownSending];
  /** @type {Row[]} */
  const rows = [];
  let day = "";
  let before = null;
  for (const entry of entries) {
    const at = timeOf(entry);
    const label = dayLabel(new Date(at), now);
    const breaks = label !== day || entry.key === room.newKey;
    if (label !== day) rows.push({ key: `day-${entry.key}`, kind: "day", look: label, text: label });
    if (entry.key === room.newKey) rows.push({ key: "new", kind: "new", look: "", text: "New messages" });
    day = label;
    const first = breaks || !goesOn(before, entry, me);
    if (first && before) endGroup(rows, before);
    rows.push({ key: entry.key, kind: entry.kind, look: lookOf(entry, first), entry, first, last: false });
    before = entry;
  }
  if (before) endGroup(rows, before);
  return rows;
}

/** @param {Row[]} rows @param {any} entry */
function endGroup(rows, entry) {
  const row = rows.filter((one) => one.entry === entry).pop(); // Firefox ESR 102 has no findLast
  if (!row) return;
  row.last = true;
  row.look += " last";
}

/** @param {any} before @param {any} entry @param {string} me */
function goesOn(before, entry, me) {
  const sender = senderOf(entry, me);
  if (!before || sender === null || senderOf(before, me) !== sender) return false;
  return timeOf(entry) - timeOf(before) < GROUP_MS && before.status !== "failed";
}

/** @param {any} entry @param {string} me @returns {string | null} null: nobody's */
function senderOf(entry, me) {
  if (entry.kind === "sending") return me;
  return entry.kind === "message" ? entry.message.user.id || entry.message.user.username : null;
}

/** @param {any} entry @returns {number} ms */
export function timeOf(entry) {
  return entry.kind === "message" ? entry.message.timestamp : entry.at;
}

/** @param {any} entry @param {boolean} first */
function lookOf(entry, first) {
  return [entry.kind, first ? "first" : "", entry.status ?? "", entry.reason ?? ""].join(" ");
}

/** @param {Date} day @param {Date} now */
export function dayLabel(day, now) {
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(day).setHours(0, 0, 0, 0)) / DAY_MS);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (day.getFullYear() === now.getFullYear() ? longDay : longYear).format(day);
}
