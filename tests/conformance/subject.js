// The JavaScript client as a test asks for it: a line of JSON in for each call, one out for each answer and event.
import { ChatClient } from "../../clients/javascript/index.js";

const EVENTS = ["message", "hole", "presence", "system", "removed", "connected", "reconnecting", "closed"];

const wallMs = Date.now;
let asleepMs = 0; // the time that this device has slept
Date.now = () => wallMs() + asleepMs;

/** Return what is to be called with each line; `say` is called with each line that is said. */
export function subject(say) {
  const chats = new Map();
  const calls = {
    enter(client, { url, options }) {
      const chat = new ChatClient(url, { ...options, uid: options.uid ?? undefined });
      for (const type of EVENTS) chat.on(type, (event) => say(JSON.stringify({ client, event })));
      chats.set(client, chat);
      return chat.connect();
    },
    send: (client, { room, content, ref }) => chats.get(client).send(room, content, { ref }),
    join: (client, { room, since }) => chats.get(client).join(room, since),
    history: (client, { room, before, limit }) => chats.get(client).history(room, { before, limit }),
    leave: (client, { room }) => chats.get(client).leave(room),
    watch: (client, { room }) => chats.get(client).watch(room),
    sleep: (_client, { ms }) => { asleepMs += ms; },
    end: (client) => chats.get(client)?.close(),
  };
  return (line) => {
    const { id, client, what, ...how } = JSON.parse(line);
    Promise.resolve(calls[what](client, how)).then(
      (answer = null) => say(JSON.stringify({ id, answer })),
      (error) => say(JSON.stringify({ id, fault: error.code ?? String(error) })),
    );
  };
}
