// A room of the JavaScript client: each message once, in order, and each gap told. As tests/unit/clients/python/test_room.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Room } from "../../../../clients/javascript/client/room.js";

const message = (seq, epoch = 1) => ({ type: "message", room: "r", epoch, seq, content: `${epoch}:${seq}` });
const seqs = (events) => events.map((one) => one.type === "hole" ? "hole" : one.seq);

/** Return a room that stands at a position. */
function joined(epoch, seq) {
  const room = new Room("r", null);
  room.asked = "ref";
  room.onJoined({ epoch, seq, recovered: true, onlineCount: 3 }, { epoch, seq }, []);
  return room;
}

/** Answer a join that the room asked for. */
function resumed(room, { epoch, seq, recovered = true }, messages) {
  room.lost();
  room.asked = "ref";
  return room.onJoined({ epoch, seq, recovered }, { epoch, seq }, messages);
}

test("repeats are dropped, whole frames and parts of them", () => {
  const room = joined(1, 5);
  assert.deepEqual(seqs(room.take([message(4), message(5), message(6)])), [6]);
  assert.deepEqual(seqs(room.take([message(6)])), []);
  assert.deepEqual([room.live, room.position], [true, { epoch: 1, seq: 6 }]);
});

test("nothing behind a gap is taken", () => {
  const room = joined(1, 5);
  assert.deepEqual(seqs(room.take([message(6), message(8), message(9)])), [6]);
  assert.deepEqual([room.live, room.position], [false, { epoch: 1, seq: 6 }]);
});

test("a later epoch goes on behind the last message", () => {
  const room = joined(1, 5);
  assert.deepEqual(seqs(room.take([message(6, 2)])), [6]);
  assert.deepEqual([room.live, room.position], [true, { epoch: 2, seq: 6 }]);
});

test("a later epoch that gives a seq again is no repeat, and a message of an earlier one is not taken", () => {
  for (const [stood, one] of [[1, message(4, 2)], [2, message(6, 1)]]) {
    const room = joined(stood, 5);
    assert.deepEqual(seqs(room.take([one])), []);
    assert.deepEqual([room.live, room.position], [false, { epoch: stood, seq: 5 }]);
  }
});

test("a joined that claims more than it brings leaves the room behind", () => {
  const room = joined(1, 5);
  assert.deepEqual(seqs(resumed(room, { epoch: 1, seq: 8 }, [message(6)])), [6]);
  assert.deepEqual([room.live, room.position], [false, { epoch: 1, seq: 6 }]);
});

test("an empty recovery takes the epoch", () => {
  const room = joined(1, 5);
  assert.deepEqual(resumed(room, { epoch: 2, seq: 5 }, []), []);
  assert.deepEqual([room.live, room.position, room.online], [true, { epoch: 2, seq: 5 }, 3]);
});

test("a gap that the server can not fill is told, asked for or not", () => {
  const asked = joined(1, 5);
  assert.deepEqual(seqs(resumed(asked, { epoch: 2, seq: 9, recovered: false }, [message(9, 2)])), ["hole", 9]);
  const live = joined(1, 5);
  assert.deepEqual(seqs(live.onJoined({ epoch: 2, seq: 9, recovered: false }, { epoch: 2, seq: 9 }, [])), ["hole"]);
  assert.deepEqual([live.live, live.position], [true, { epoch: 2, seq: 9 }]);
});

test("a joined that nobody asked for, without a gap, is not taken", () => {
  const room = joined(1, 5);
  assert.deepEqual(room.onJoined({ epoch: 1, seq: 9, recovered: true }, { epoch: 1, seq: 9 }, [message(9)]), []);
  assert.deepEqual([room.live, room.position], [false, { epoch: 1, seq: 5 }]);
});

test("the messages up to the tail of the first join are recent, in whichever frame they come", () => {
  const room = new Room("r", null);
  room.asked = "ref";
  const tail = { epoch: 1, seq: 7 };
  assert.deepEqual(room.onJoined({ epoch: 1, seq: 5, recovered: true }, tail, [message(5)]), [{ ...message(5), recent: true }]);
  assert.equal(room.answered, "ref");
  assert.deepEqual(room.joined(), { room: "r", position: { epoch: 1, seq: 5 }, tail, online: 0 });
  const recent = (events) => events.map((one) => [one.seq, one.recent]);
  assert.deepEqual(recent(room.take([message(6)])), [[6, true]]);
  assert.deepEqual(recent(resumed(room, { epoch: 1, seq: 8 }, [message(7), message(8)])), [[7, true], [8, false]]);
  assert.deepEqual(recent(room.take([message(9, 2)])), [[9, false]]); // nothing of a later epoch is
  assert.deepEqual(room.joined().tail, { epoch: 1, seq: 8 });
  const anew = resumed(room, { epoch: 3, seq: 5, recovered: false }, [message(5, 3)]); // the log lost its end
  assert.deepEqual(anew.slice(1).map((one) => one.recent), [false]);
});

test("a room that starts at a saved position has no history", () => {
  const room = new Room("r", { epoch: 1, seq: 4 });
  assert.deepEqual(resumed(room, { epoch: 1, seq: 5 }, [message(5)]), [{ ...message(5), recent: false }]);
});
