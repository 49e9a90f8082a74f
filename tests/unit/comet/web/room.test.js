// What the page keeps of a room: each message once, also one's own, which comes as sent, as acked and as delivered.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Room } from "../../../../comet/web/room.js";

const message = (seq, content = `m${seq}`, id = "bob") => ({
  type: "message", room: "r", epoch: 1, seq, id: `${seq}-0`, content, timestamp: seq * 1000, recent: false,
  user: { id, username: id },
});
const ack = (seq, ref) => ({ ref, room: "r", epoch: 1, seq, id: `${seq}-0`, timestamp: seq * 1000 });
const shown = (room) => [
  ...room.entries.map((one) => one.message?.content ?? one.text), ...room.shownSending.map((one) => `${one.content} ${one.status}`),
];

test("a message is kept once, whether it comes live or as history", () => {
  const room = new Room("r");
  assert.equal(room.add(message(2), false), "1-2");
  assert.equal(room.add(message(2), false), null);
  room.addOlder([message(1), message(2)], () => false);
  assert.deepEqual(shown(room), ["m1", "m2"]);
  assert.equal(room.oldestId, "1-0");
});

for (const order of ["ack first", "message first"])
  test(`one's own message is shown once at every moment: ${order}`, () => {
    const room = new Room("r");
    const one = room.send("a", "hi");
    assert.deepEqual(shown(room), ["hi pending"]);
    if (order === "ack first") {
      room.acked(one, ack(1, "a"));
      assert.deepEqual(shown(room), ["hi sent"]);
      room.add(message(1, "hi", "me"), true);
    } else {
      room.add(message(1, "hi", "me"), true);
      assert.deepEqual(shown(room), ["hi"]);
      room.acked(one, ack(1, "a"));
    }
    assert.deepEqual(shown(room), ["hi"]);
    assert.deepEqual(room.sending, []);
  });

test("the same text from another window of one's own is told apart by the ack", () => {
  const room = new Room("r");
  const one = room.send("a", "hi");
  room.add(message(1, "hi", "me"), true); // the other window's
  assert.deepEqual(shown(room), ["hi"]);
  room.acked(one, ack(2, "a"));
  assert.deepEqual(shown(room), ["hi", "hi sent"]);
  room.add(message(2, "hi", "me"), true);
  assert.deepEqual(shown(room), ["hi", "hi"]);
});

test("two of the same text are both shown when their acks come crosswise", () => {
  const room = new Room("r");
  const [one, two] = [room.send("a", "hi"), room.send("b", "hi")];
  room.add(message(1, "hi", "me"), true);
  room.add(message(2, "hi", "me"), true);
  room.acked(two, ack(1, "b"));
  room.acked(one, ack(2, "a"));
  assert.deepEqual(shown(room), ["hi", "hi"]);
  assert.deepEqual(room.sending, []);
});

test("what failed is shown again, with the reason, though a message seemed to stand for it", () => {
  const room = new Room("r");
  const one = room.send("a", "hi");
  room.add(message(1, "hi", "me"), true);
  room.failed(one, "too large");
  assert.deepEqual(shown(room), ["hi", "hi failed"]);
  room.drop(one);
  assert.deepEqual(shown(room), ["hi"]);
});

test("of very many the oldest are forgotten, and can be asked for again", () => {
  const room = new Room("r");
  room.hasMore = false;
  for (let seq = 1; seq <= 1000; seq++) room.add(message(seq), false);
  room.trim();
  assert.equal(room.entries.length, 300);
  assert.equal(room.hasMore, true);
  assert.equal(room.oldestId, "701-0");
  room.addOlder([message(700)], () => false);
  assert.equal(room.oldestId, "700-0");
});

test("after a reload the mark stands before the first unread message of another, and moves as older ones come", () => {
  const room = new Room("r");
  for (let seq = 41; seq <= 50; seq++) room.add(message(seq), false);
  room.resume({ epoch: 1, seq: 20 }, { epoch: 1, seq: 50 });
  assert.deepEqual([room.unread, room.newKey, room.newIsOlder], [30, "1-41", true]);
  room.addOlder([19, 20, 21, 22].map((seq) => message(seq, "m", seq === 21 ? "me" : "bob")), (one) => one.user.id === "me");
  assert.deepEqual([room.newKey, room.newIsOlder], ["1-22", false]);
  room.unmark();
  room.addOlder([message(18)], () => false);
  assert.equal(room.newKey, null);
});

test("after a reload one's own messages that are here are not unread", () => {
  const room = new Room("r");
  for (let seq = 6; seq <= 10; seq++) room.add(message(seq, `m${seq}`, seq === 8 ? "bob" : "me"), seq !== 8);
  room.add({ ...message(9, "before Redis began anew", "me"), epoch: 0 }, true);
  room.resume({ epoch: 1, seq: 7 }, { epoch: 1, seq: 10 });
  assert.deepEqual([room.unread, room.newKey], [1, "1-8"]);
  room.resume({ epoch: 1, seq: 8 }, { epoch: 1, seq: 10 });
  assert.deepEqual([room.unread, room.readSeq], [0, null]);
});

for (const [read, unread] of [
  [undefined, 0], [null, 0], ["text", 0], [{ seq: "7" }, 0], [{ seq: NaN }, 0], [() => {}, 0],
  [{ epoch: 1, seq: 10 }, 0], [{ epoch: 1, seq: 7 }, 3], [{ epoch: 0, seq: 50 }, 10], [{ epoch: 1, seq: 50 }, 0],
])
  test(`of a room at 10, read up to ${JSON.stringify(read)}, ${unread} are unread`, () => {
    const room = new Room("r");
    room.resume(read, { epoch: 1, seq: 10 });
    assert.equal(room.unread, unread);
  });

test("whatever a message holds can be shown", () => {
  const room = new Room("r");
  const user = { id: "i".repeat(1000), username: "n".repeat(1000) };
  for (const timestamp of [1e300, -1, NaN, Infinity, 0, 8.64e15 + 1])
    room.add({ ...message(0, "x".repeat(1_000_000)), timestamp, user }, false);
  for (const { message: one } of room.entries) {
    assert.ok(new Date(one.timestamp).toISOString());
    assert.ok(one.content.length < 101_000 && one.content.endsWith("… (900000 more characters)"));
    assert.deepEqual([one.user.id.length, one.user.username.length], [128, 64]);
  }
});
