// Hostile frames: each is taken as valid, or shown as text. tests/conformance/hostile.json has the table.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ChatClient } from "../../../../clients/javascript/index.js";

const TABLE = JSON.parse(readFileSync(new URL("../../../conformance/hostile.json", import.meta.url)));
const LONG = "x".repeat(1_000_000);
const DEEP = "[".repeat(100_000) + "]".repeat(100_000);

/** A server that greets a client and answers its joins. */
class Server {
  static last;
  constructor() {
    Server.last = this;
    setImmediate(() => this.say("hello", { me: { id: "a", username: "A" }, node: "n" }));
  }
  send(text) {
    const { type, payload } = JSON.parse(text);
    if (type === "joinRoom") setImmediate(() => this.say("joined", { roomId: payload.roomId, epoch: 1, seq: 0, recovered: true, messages: [], onlineCount: 1 }));
  }
  say(type, payload) {
    this.onmessage({ data: JSON.stringify({ type, payload }) });
  }
  close() {}
}

for (const { name, text, shown } of TABLE)
  test(`a hostile frame does no harm: ${name}`, async (t) => {
    const chat = new ChatClient("ws://localhost/", { uid: "a", rooms: ["r"], WebSocket: Server });
    t.after(() => chat.close()); // a failure must not leave its timers
    const seen = [];
    chat.on("message", (one) => seen.push(one.room === "r" ? "message" : "elsewhere"));
    chat.on("system", () => seen.push("system"));
    await chat.connect();
    Server.last.onmessage({ data: text.replaceAll("<room>", "r").replaceAll("<long>", LONG).replaceAll("<deep>", DEEP) });
    if (shown !== "any") assert.deepEqual(seen, shown === "nothing" ? [] : [shown]);
  });

test("a message without an epoch has no place in the log, whatever it says", async (t) => {
  const chat = new ChatClient("ws://localhost/", { uid: "a", rooms: ["r"], WebSocket: Server });
  t.after(() => chat.close());
  await chat.connect();
  const seen = [];
  chat.on("message", ({ epoch, seq, id, timestamp, user }) => seen.push({ epoch, seq, id, timestamp, user }));
  Server.last.say("serverMessages", { roomId: "r", messages: [{ content: "hi", seq: 5, timestamp: null }] });
  assert.deepEqual(seen, [{ epoch: 0, seq: 0, id: "", timestamp: 0, user: { id: "", username: "" } }]);
});
