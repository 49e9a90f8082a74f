// The rows that messages make: days, groups of one sender, and where the unread ones begin.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Room } from "../../../../comet/web/room.js";
import { dayLabel, rowsOf } from "../../../../comet/web/timeline.js";

const MINUTE = 60_000;
const NOON = new Date().setHours(12, 0, 0, 0);

function roomOf(...messages) {
  const room = new Room("r");
  messages.forEach(([id, timestamp], i) => {
    const user = { id, username: id };
    room.add({ type: "message", room: "r", epoch: 1, seq: i + 1, id: "", content: "", timestamp, user, recent: false }, id === "me");
  });
  return room;
}
const short = (rows) => rows.map((row) => row.text ?? [row.first && "first", row.last && "last"].filter(Boolean).join(" "));

test("neighbours of one sender make a group, until there was a pause", () => {
  const room = roomOf(["bob", NOON], ["bob", NOON + MINUTE], ["eve", NOON + 2 * MINUTE], ["eve", NOON + 9 * MINUTE]);
  assert.deepEqual(short(rowsOf(room, "me")), ["Today", "first", "last", "first last", "first last"]);
});

test("what is on its way goes on one's own group", () => {
  const room = roomOf(["me", Date.now()]);
  room.send("a", "hi");
  assert.deepEqual(short(rowsOf(room, "me")).slice(1), ["first", "last"]);
});

test("a day and the first unread message break a group", () => {
  const room = roomOf(["bob", NOON - 24 * 60 * MINUTE], ["bob", NOON], ["bob", NOON + 1]);
  room.newKey = "1-3";
  assert.deepEqual(short(rowsOf(room, "me")), ["Yesterday", "first last", "Today", "first last", "New messages", "first last"]);
});

test("holes and system lines are nobody's", () => {
  const room = roomOf(["bob", Date.now()]);
  room.note("hole", "gone");
  room.note("system", "maintenance");
  assert.deepEqual(rowsOf(room, "me").map((row) => row.kind), ["day", "message", "hole", "system"]);
});

test("every row has a key of its own, and a look that tells when to draw it anew", () => {
  const room = roomOf(["bob", NOON], ["bob", NOON + 1]);
  const before = rowsOf(room, "me");
  assert.equal(new Set(before.map((row) => row.key)).size, before.length);
  room.addOlder([{ ...room.entries[0].message, epoch: 0, timestamp: NOON - 1 }], () => false);
  const after = rowsOf(room, "me").find((row) => row.key === "1-1");
  assert.notEqual(after.look, before.find((row) => row.key === "1-1").look);
});

test("days are named as people do", () => {
  const now = new Date(2026, 2, 1, 0, 30);
  assert.equal(dayLabel(new Date(2026, 2, 1), now), "Today");
  assert.equal(dayLabel(new Date(2026, 1, 28, 23, 59), now), "Yesterday");
  assert.match(dayLabel(new Date(2026, 0, 5), now), /January/);
  assert.match(dayLabel(new Date(2025, 11, 5), now), /2025/);
});
