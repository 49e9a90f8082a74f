// The JavaScript client as a test asks for it: a line of JSON in for each call, one out for each answer and event.
import readline from "node:readline";
import { ChatClient } from "../../comet/web/client.js";

const EVENTS = ["message", "hole", "presence", "system", "removed", "connected", "reconnecting", "closed"];
const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
const chats = new Map();

const calls = {
  enter(client, { url, options }) {
    const chat = new ChatClient(url, { ...options, uid: options.uid ?? undefined });
    for (const type of EVENTS) chat.on(type, (event) => say({ client, event }));
    chats.set(client, chat);
    return chat.connect();
  },
  send: (client, { room, content, ref }) => chats.get(client).send(room, content, { ref }),
  join: (client, { room, since }) => chats.get(client).join(room, since),
  leave: (client, { room }) => chats.get(client).leave(room),
  watch: (client, { room }) => chats.get(client).watch(room),
  end: (client) => chats.get(client)?.close(),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, client, what, ...how } = JSON.parse(line);
  Promise.resolve(calls[what](client, how)).then(
    (answer = null) => say({ id, answer }),
    (error) => say({ id, fault: error.code ?? String(error) }),
  );
}
process.exit();
