/* ollama-js: embed, embeddings, list, show, ps, version and its errors. */
import assert from 'node:assert/strict';
import { Ollama } from 'ollama';
import { BATCH, Client, MODEL, rejects, same, sameBatch, says, SETUP, TEXTS, URL_, version } from './features.mjs';

const client = new Client('ollama (JS)', version('ollama'), 'Ollama');
const api = new Ollama({ host: URL_ });
const embed = async (input, more = {}) => (await api.embed({ model: MODEL, input, ...more })).embeddings;

await client.feature('single', async () => same((await embed(TEXTS.short))[0], 'short'));
await client.feature('batch', async () => sameBatch(await embed(BATCH, { keep_alive: '5m', options: {} })));
await client.feature('old route', async () => {
  const { embedding } = await api.embeddings({ model: MODEL, prompt: TEXTS.short });
  assert.equal(embedding.length, SETUP.dim);
});
await client.feature('dimensions', async () => same((await embed(TEXTS.short, { dimensions: 128 }))[0], 'short:128'));
await client.feature('empty text', async () => same((await embed(['']))[0], 'empty'));
await client.feature('truncate', async () => same((await embed(SETUP.too_long))[0], 'truncated'));
await client.feature('too long', async () => says(await rejects(Error, () => embed(SETUP.too_long, { truncate: false })), 'context length'));
await client.feature('parallel', async () => {
  for (const vectors of await Promise.all(Array.from({ length: 16 }, () => embed(TEXTS.short)))) same(vectors[0], 'short');
});
await client.feature('models', async () => {
  assert.ok((await api.list()).models.some((m) => m.model.replace(/:latest$/, '') === MODEL));
  assert.ok((await api.show({ model: MODEL })).capabilities.includes('embedding'));
  assert.ok((await api.ps()).models.length > 0);
  assert.match((await api.version()).version, /^\d+\.\d+\.\d+/);
});
await client.feature('unknown model', async () => says(await rejects(Error, () => embed('x', { model: 'no-such' })), 'no-such', 'not found'));
