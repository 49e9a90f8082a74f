// The server's frames as the JavaScript client reads them: anybody may push any text, so each is checked.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NotUnderstood, messagesOf, parse } from "../../../../clients/javascript/client/frames.js";

const frame = (type, payload) => JSON.stringify({ type, payload });
const JOINED = { roomId: "r", epoch: 1, seq: 1, recovered: true, messages: [] };

for (const text of ["", "hello", "[1]", "{", "{}", "null", 7, frame("unknown", {}), frame("toString", {}), frame("left", null), frame("left", [])])
  test(`no frame: ${text}`, () => assert.equal(parse(text), null));

for (const [type, payload] of [
  ["left", { roomId: 1 }],
  ["ack", { epoch: "1", messages: [] }],
  ["serverMessages", { roomId: "r", messages: {} }],
  ["joined", { roomId: "r", epoch: 1, seq: 1, messages: [] }],
  ["joined", { ...JOINED, tail: 5 }],
  ["joined", { ...JOINED, tail: { epoch: 1 } }],
  ["joined", { ...JOINED, tail: { epoch: 1, seq: -1 } }],
  ["joined", { ...JOINED, tail: { epoch: "1", seq: 1 } }],
  ["joined", { ...JOINED, onlineCount: 0.5 }],
  ["error", { code: "internal" }],
])
  test(`a field is missing or of another type: ${frame(type, payload)}`, () => assert.equal(parse(frame(type, payload)), null));

for (const tail of [undefined, null, { epoch: 1, seq: 1 }])
  test(`a tail may be missing: ${tail}`, () => assert.notEqual(parse(frame("joined", { ...JOINED, tail })), null));

test("unknown fields are ignored", () => {
  assert.deepEqual(parse(frame("left", { roomId: "r", more: 1 })), { type: "left", payload: { roomId: "r", more: 1 } });
});

test("a message without a content is not understood, one without a user has an empty one", () => {
  assert.throws(() => messagesOf({ roomId: "r", messages: [{ seq: 1 }] }), NotUnderstood);
  assert.throws(() => messagesOf({ roomId: "r", messages: [null] }), NotUnderstood);
  const [one] = messagesOf({ roomId: "r", epoch: 2, messages: [{ seq: 1, content: "x" }] });
  assert.deepEqual(one.user, { id: "", username: "" });
});
