/* cohere-js: embed and rerank of both versions, encodings, errors, repeats. */
import assert from 'node:assert/strict';
import { CohereClient, CohereClientV2, CohereError } from 'cohere-ai';
import { Client, limited, MODEL, NAMES, rejects, repeated, same, sameBatch, says, SETUP, TEXTS, URL_, version } from './features.mjs';

const client = new Client('cohere-ai (JS)', version('cohere-ai'), 'Cohere');
const v1 = new CohereClient({ token: 'any', environment: URL_ });
const v2 = new CohereClientV2({ token: 'any', environment: URL_ });
const whole = NAMES.filter((name) => TEXTS[name]);
const some = whole.map((name) => TEXTS[name]);
const body = (texts, more = {}) => ({ model: MODEL, texts, inputType: 'search_document', embeddingTypes: ['float'], ...more });
const keyed = (token) => new CohereClientV2({ token, environment: SETUP.keyed });
const status = async (wanted, call) => {
  const error = await rejects(CohereError, call);
  assert.equal(error.statusCode, wanted);
  return error;
};

await client.feature('single', async () => {
  same((await v1.embed({ model: MODEL, texts: [TEXTS.short], inputType: 'search_query' })).embeddings[0], 'short');
  same((await v2.embed(body([TEXTS.short]))).embeddings.float[0], 'short');
});
await client.feature('batch', async () => sameBatch((await v2.embed(body(some))).embeddings.float, whole));
await client.feature('dimensions', async () => same((await v2.embed(body([TEXTS.short], { outputDimension: 128 }))).embeddings.float[0], 'short:128'));
await client.feature('encodings', async () => {
  const { embeddings } = await v2.embed(body([TEXTS.short], { embeddingTypes: ['float', 'int8', 'uint8', 'binary', 'ubinary'] }));
  same(embeddings.float[0], 'short');
  const packed = Array.from({ length: SETUP.dim / 8 }, (_, i) =>
    embeddings.float[0].slice(8 * i, 8 * i + 8).reduce((sum, v, b) => sum + (v > 0) * 2 ** (7 - b), 0));
  assert.deepEqual(embeddings.ubinary[0], packed);
  assert.deepEqual(embeddings.binary[0], packed.map((p) => p - 128));
  /* Both are cut towards zero, of which the middle of the bytes is not. */
  assert.ok(embeddings.int8[0].every((v, i) => [0, v <= 0 ? 1 : 0].includes(v - (embeddings.uint8[0][i] - 128))));
});
await client.feature('truncate', async () => same((await v2.embed(body([SETUP.too_long], { truncate: 'END' }))).embeddings.float[0], 'truncated'));
await client.feature('too long', async () => says(await status(400, () => v2.embed(body([SETUP.too_long], { truncate: 'NONE' }))), '602'));
await client.feature('unknown model', async () => says(await status(404, () => v2.embed(body(['x'], { model: 'no-such' }))), 'no-such'));
await client.feature('wrong key', async () => says(await status(401, () => keyed('wrong-key').embed(body(['x'])))));
await client.feature('rate limit', async () => {
  const error = await limited(CohereError, () => keyed(SETUP.slow_key).embed(body(['x']), { maxRetries: 0 }));
  assert.equal(error.statusCode, 429);
  return error.constructor.name;
});
await client.feature('repeats', () => repeated(() => keyed(SETUP.slow_key).embed(body(['x']))));
if (SETUP.rerank) {
  const { url, model, query, documents, order } = SETUP.rerank;
  await client.feature('rerank', async () => {
    for (const Kind of [CohereClient, CohereClientV2]) {
      const { results } = await new Kind({ token: 'any', environment: url }).rerank({ model, query, documents, topN: 2 });
      assert.deepEqual(results.map((r) => r.index), order.slice(0, 2));
    }
  });
}
