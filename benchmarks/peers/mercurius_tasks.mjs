// The peer in JavaScript of http_rates.py: Mercurius on Fastify with its just-in-time compiler, MongoDB's driver, and
// a message in the form of Celery's, so that Celery's workers can run the task.
import { randomUUID } from 'node:crypto';
import Fastify from 'fastify';
import { GraphQLScalarType } from 'graphql';
import mercurius from 'mercurius';
import { MongoClient } from 'mongodb';
import { createClient } from 'redis';

const schema = `
  scalar JSON
  scalar DateTime
  type TaskProgress { current: Float total: Float message: String }
  type Task {
    id: ID! name: String! status: String! metadata: JSON! progress: TaskProgress result: JSON
    createdAt: DateTime! updatedAt: DateTime!
  }
  type TaskList { nodes: [Task!]! }
  type UserError { code: String! message: String! }
  type CreateTaskPayload { task: Task userErrors: [UserError!]! }
  input CreateTaskInput { name: String! args: JSON kwargs: JSON metadata: JSON }
  type Query { task(id: ID!): Task tasks(first: Int = 20): TaskList! }
  type Mutation { createTask(input: CreateTaskInput!): CreateTaskPayload! }
`;

const newestFirst = { createdAt: -1, _id: -1 };
const mongo = await MongoClient.connect(process.env.MONGODB_URL);
const tasks = mongo.db(process.env.MONGODB_DATABASE).collection('tasks');
await tasks.createIndex(newestFirst);
const redis = createClient({ url: process.env.CELERY_BROKER_URL });
await redis.connect();

function message({ _id: id, name, args, kwargs }) {
  const embed = { callbacks: null, errbacks: null, chain: null, chord: null };
  return JSON.stringify({
    body: Buffer.from(JSON.stringify([args, kwargs, embed])).toString('base64'),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: {
      lang: 'js', task: name, id, root_id: id, parent_id: null, group: null, eta: null, expires: null, retries: 0,
      timelimit: [null, null], argsrepr: JSON.stringify(args), kwargsrepr: JSON.stringify(kwargs), origin: 'mercurius',
    },
    properties: {
      correlation_id: id, reply_to: '', delivery_mode: 2, delivery_info: { exchange: '', routing_key: 'celery' },
      priority: 0, body_encoding: 'base64', delivery_tag: randomUUID(),
    },
  });
}

const resolvers = {
  JSON: new GraphQLScalarType({ name: 'JSON' }),
  DateTime: new GraphQLScalarType({ name: 'DateTime', serialize: (date) => date.toISOString() }),
  Task: { id: (task) => task._id },
  Query: {
    task: (_, { id }) => tasks.findOne({ _id: id }),
    tasks: async (_, { first }) => ({ nodes: await tasks.find().sort(newestFirst).limit(first).toArray() }),
  },
  Mutation: {
    async createTask(_, { input: { name, args, kwargs, metadata } }) {
      const now = new Date();
      const task = {
        _id: randomUUID(), name, status: 'QUEUED', args: args ?? [], kwargs: kwargs ?? {}, metadata: metadata ?? {},
        progress: null, result: null, createdAt: now, updatedAt: now,
      };
      await tasks.insertOne(task);
      await redis.lPush('celery', message(task));
      return { task, userErrors: [] };
    },
  },
};

const app = Fastify();
await app.register(mercurius, { schema, resolvers, jit: 1 });
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
