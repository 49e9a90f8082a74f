// Requests of the JavaScript client for history and for leaving a room: which answer belongs to which.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatError } from "../../../../clients/javascript/client/errors.js";
import { History } from "../../../../clients/javascript/client/history.js";
import { Leaves } from "../../../../clients/javascript/client/leaves.js";

/** Return a connection that notes what is sent, and a pace that the test stops and starts. */
function rig() {
  const sent = [];
  const connection = { isOpen: true, send: (type, payload) => sent.push({ type, ...payload }) };
  const pace = { isShut: false, take() { return !this.isShut; } };
  return { sent, connection, pace };
}
const payload = (ref, roomId = "r") => ({ roomId, ref, firstMessageId: undefined, limit: undefined });
const fault = new ChatError("forbidden", "no");

test("a page answers the oldest request for its room", async () => {
  const { connection, pace } = rig();
  const history = new History(connection, pace);
  const [one, two, other] = [history.ask(payload("1")), history.ask(payload("2")), history.ask(payload("3", "other"))];
  history.answer("r", () => "first");
  history.answer("other", () => "of another room");
  history.answer("r", () => "second");
  assert.deepEqual(await Promise.all([one.promise, two.promise, other.promise]), ["first", "second", "of another room"]);
});

test("a late page is not taken for the next request's", async () => {
  const { connection, pace } = rig();
  const history = new History(connection, pace);
  history.ask(payload("1")).reject(new ChatError("timeout", "late")); // its caller gave up
  const next = history.ask(payload("2"));
  history.answer("r", () => "late");
  history.answer("r", () => "in time");
  assert.equal(await next.promise, "in time");
});

test("on the next connection each request is sent again, but for those whose caller gave up", async () => {
  const { sent, connection, pace } = rig();
  const history = new History(connection, pace);
  const over = history.ask(payload("1"));
  history.ask(payload("2"));
  over.reject(fault);
  await assert.rejects(over.promise);
  await new Promise(setImmediate);
  history.lost();
  history.askAll();
  assert.deepEqual(sent.map(({ ref }) => ref), ["1", "2", "2"]);
});

test("a page that is not valid rejects its request, and is thrown", async () => {
  const { connection, pace } = rig();
  const history = new History(connection, pace);
  const one = history.ask(payload("1"));
  const bad = new Error("bad");
  assert.throws(() => history.answer("r", () => { throw bad; }), bad);
  const told = assert.rejects(one.promise, { code: "internal" });
  history.end(fault); // would reject it with another reason
  await told;
});

test("a history that is refused for the moment is asked for after the pause, behind the others", async () => {
  const { sent, connection, pace } = rig();
  const history = new History(connection, pace);
  history.ask(payload("1"));
  const two = history.ask(payload("2"));
  history.refused("1", fault, true);
  pace.isShut = true;
  history.askAll();
  assert.equal(sent.length, 2);
  pace.isShut = false;
  history.askAll();
  assert.deepEqual(sent.map(({ ref }) => ref), ["1", "2", "1"]);
  history.refused("2", fault, false);
  await assert.rejects(two.promise, fault);
});

test("a leave that is held is sent after the pause, unless its room is wanted again", async () => {
  const { sent, connection, pace } = rig();
  const leaves = new Leaves(connection, pace);
  pace.isShut = true;
  const [left, kept] = [leaves.ask("a"), leaves.ask("b")];
  assert.equal(sent.length, 0);
  assert.ok(leaves.has("a"));
  pace.isShut = false;
  leaves.tryAll((room) => room === "b");
  await kept.promise;
  assert.deepEqual(sent.map(({ roomId }) => roomId), ["a"]);
  leaves.left("a");
  await left.promise;
  await new Promise(setImmediate);
  assert.ok(!leaves.has("a") && !leaves.has("b"));
});

test("a leave that is refused for the moment is held, one that is refused for good rejects", async () => {
  const { sent, connection, pace } = rig();
  const leaves = new Leaves(connection, pace);
  const one = leaves.ask("a");
  assert.ok(!leaves.refused("another", fault, true));
  assert.ok(leaves.refused(sent[0].ref, fault, true));
  leaves.left("a"); // of nobody: the request is not under way
  pace.isShut = true;
  leaves.tryAll(() => false);
  assert.equal(sent.length, 1);
  pace.isShut = false;
  leaves.tryAll(() => false);
  assert.equal(sent.length, 2);
  assert.notEqual(sent[0].ref, sent[1].ref);
  assert.ok(leaves.refused(sent[1].ref, fault, false));
  await assert.rejects(one.promise, fault);
});

test("a lost connection ends all leaves", async () => {
  const { connection, pace } = rig();
  const leaves = new Leaves(connection, pace);
  const one = leaves.ask("a");
  leaves.lost();
  await one.promise;
});
