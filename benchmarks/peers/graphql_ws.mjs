// The peer in JavaScript, as one writes it first: graphql-js, graphql-ws and ws, one Redis subscription a process.
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { MongoClient } from 'mongodb';
import { createClient } from 'redis';
import { WebSocketServer } from 'ws';

const schema = buildSchema(`
  type Progress { current: Float! total: Float! message: String! }
  type Task {
    id: ID! name: String! status: String! revision: Int! isFinal: Boolean! createdAt: String! updatedAt: String!
    progress: Progress!
  }
  type Query { ok: Boolean }
  type Subscription { taskUpdated(id: ID!): Task! }
`);

const tasks = (await MongoClient.connect(process.env.MONGODB_URL)).db('peers').collection('tasks');
const watchers = new Map();

async function* taskUpdated({ id }) {
  const queue = [];
  let wake = () => {};
  const put = (task) => {
    queue.push(task);
    wake();
  };
  if (!watchers.has(id)) watchers.set(id, new Set());
  watchers.get(id).add(put);
  try {
    yield { taskUpdated: await stored(id) };
    while (true) {
      while (queue.length > 0) yield { taskUpdated: queue.shift() };
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    watchers.get(id).delete(put);
  }
}

async function stored(id) {
  const { _id, ...task } = await tasks.findOne({ _id: id });
  return { id: _id, ...task };
}

const redis = createClient({ url: process.env.REDIS_URL });
await redis.connect();
await redis.pSubscribe('gql-api:*:task:*', (message) => {
  const { _id: id, ...rest } = JSON.parse(message);
  const task = { id, ...rest };
  for (const put of watchers.get(id) ?? []) put(task);
});

const server = createServer((request, response) => response.writeHead(404).end());
const sockets = new WebSocketServer({ server, path: '/graphql' });
useServer({ schema, roots: { subscription: { taskUpdated } } }, sockets);
server.listen(Number(process.env.PORT), '127.0.0.1');
