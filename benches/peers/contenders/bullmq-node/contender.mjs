// BullMQ on Node as a contender: what it is told, reports and obeys is as for the others, see
// ../../protocol/src.

import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';

// Jobs in one addBulk, and calls under way at once.
const BATCH = 1000;
const AT_ONCE = 2;

// Workers in the process, which share its concurrency. Each has connections of its own.
const WORKERS = 2;

const PAYLOAD_BYTES = 100;
const RECORD_WORDS = 3;

const told = JSON.parse(process.argv[2]);
const tuned = (name, own) => told.tuning?.[name] ?? own;
const { version } = JSON.parse(
  readFileSync(new URL('node_modules/bullmq/package.json', import.meta.url)),
);

const url = new URL(told.redis);
// As BullMQ's documentation asks for it.
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };

const now = () => process.hrtime.bigint();
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
const say = (report) => process.stdout.write(JSON.stringify(report) + '\n');

function payload(number, due) {
  const bare = `{"number":${number},"due":${due},"pad":""}`.length;
  return { number, due: Number(due), pad: 'x'.repeat(PAYLOAD_BYTES - bare) };
}

async function produce() {
  const queue = new Queue(told.queue, { connection });
  await queue.waitUntilReady();
  say({ said: 'ready', version });

  const first = told.first ?? 0;
  const end = first + told.jobs;
  const options = () => ({
    ...(told.at_ms ? { delay: Math.max(0, told.at_ms - Date.now()) } : {}),
    ...(told.retried ? { attempts: 3, backoff: { type: 'fixed', delay: 1000 } } : {}),
  });
  const one = (number, due) => queue.add('no-op', payload(number, due), options());
  let next = first;
  const oneByOne = async () => {
    while (next < end) await one(next++, now());
  };
  const lanes = (count, lane) => Promise.all(Array.from({ length: count }, lane));
  const batch = tuned('batch', BATCH);

  const began = now();
  const used = cpu();
  switch (told.shape.by) {
    case 'one_by_one':
      await oneByOne();
      break;
    case 'tasks':
      await lanes(told.shape.tasks, oneByOne);
      break;
    case 'bulk':
      await lanes(tuned('at_once', AT_ONCE), async () => {
        while (next < end) {
          const from = next;
          next = Math.min(end, next + batch);
          const jobs = [];
          for (let number = from; number < next; number += 1) {
            jobs.push({ name: 'no-op', data: payload(number, now()), opts: options() });
          }
          await queue.addBulk(jobs);
        }
      });
      break;
    case 'paced':
      for (; next < end; next += 1) {
        await sleep(told.shape.every_us / 1000);
        await one(next, now());
      }
      break;
    case 'open': {
      // Node's timer is a millisecond coarse.
      const base = now() + 10_000_000n;
      const due = (number) => base + BigInt(Math.round(((number - first) / told.shape.rate) * 1e9));
      const underWay = [];
      while (next < end) {
        while (next < end && due(next) <= now()) {
          underWay.push(one(next, due(next)));
          next += 1;
        }
        await sleep(1);
      }
      await Promise.all(underWay);
      break;
    }
    default:
      throw new Error(`no such shape: ${told.shape.by}`);
  }
  say({ said: 'produced', ...span(began, used) });
  await queue.close();
}

async function work() {
  const { numbers } = told;
  const begun = new Uint8Array(numbers);
  const places = numbers * (told.fail_first ? 2 : 1) + Math.floor(numbers / 10) + 1000;
  const records = new BigUint64Array(places * RECORD_WORDS);
  let recorded = 0;
  let completed = 0;
  let began;
  let used;

  const writeLog = () => {
    const words = Math.min(recorded, places) * RECORD_WORDS;
    appendFileSync(told.log, new Uint8Array(records.buffer, 0, words * 8));
  };
  const run = async ({ data: { number, due } }) => {
    began ??= now();
    used ??= cpu();
    if (told.dies_after != null && completed >= told.dies_after) {
      writeLog();
      process.kill(process.pid, 'SIGKILL');
    }
    if (recorded < places) {
      records[recorded * RECORD_WORDS] = BigInt(number);
      records[recorded * RECORD_WORDS + 1] = told.timed ? now() : 0n;
      records[recorded * RECORD_WORDS + 2] = BigInt(due);
    }
    recorded += 1;
    if (told.fail_first && begun[number]++ === 0) {
      throw new Error('the first attempt fails, as it was told to');
    }
    completed += 1;
    if (completed === told.expected) say({ said: 'done', ...span(began, used) });
  };

  const count = Math.min(tuned('workers', WORKERS), told.concurrency);
  const workers = Array.from({ length: count }, () => {
    const worker = new Worker(told.queue, run, {
      connection,
      lockDuration: tuned('lease_ms', 30_000),
      stalledInterval: tuned('lease_ms', 30_000),
      concurrency: Math.ceil(told.concurrency / count),
      removeOnComplete: told.keep_completed ? { age: 3600 } : { count: 0 },
    });
    // Without a listener, an error ends the process.
    worker.on('error', (error) => process.stderr.write(`${error}\n`));
    return worker;
  });
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  say({ said: 'ready', version });

  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'cpu') say({ said: 'cpu', cpu_us: cpu() });
    if (line === 'stop') break;
  }
  await Promise.all(workers.map((worker) => worker.close()));
  writeLog();
  say({ said: 'stopped' });
}

function span(began, used) {
  return { began_ns: Number(began), ended_ns: Number(now()), cpu_us: cpu() - used };
}

try {
  await (told.role === 'produce' ? produce() : work());
  process.exit(0);
} catch (error) {
  say({ said: 'failed', why: String(error?.stack ?? error) });
  process.exit(1);
}
