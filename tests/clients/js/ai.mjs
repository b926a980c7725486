/* The AI SDK: embed and embedMany through its OpenAI provider and the one for compatible servers. */
import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, embedMany } from 'ai';
import { BATCH, Client, MODEL, rejects, repeated, same, sameBatch, says, SETUP, TEXTS, URL_, version } from './features.mjs';

const providers = {
  '@ai-sdk/openai': (url, apiKey, id) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).embedding(id),
  '@ai-sdk/openai-compatible': (url, apiKey, id) => createOpenAICompatible({ name: 'own', baseURL: `${url}/v1`, apiKey }).textEmbeddingModel(id),
};

for (const [name, provider] of Object.entries(providers)) {
  const client = new Client(name, version(name), 'OpenAI');
  const model = (id = MODEL) => provider(URL_, 'any', id);
  const options = (dimensions) => ({ providerOptions: { openai: { dimensions }, own: { dimensions } } });

  await client.feature('single', async () => {
    const { embedding, usage } = await embed({ model: model(), value: TEXTS.short });
    same(embedding, 'short');
    assert.ok(usage.tokens > 0);
  });
  await client.feature('batch', async () => sameBatch((await embedMany({ model: model(), values: BATCH })).embeddings));
  await client.feature('dimensions', async () => same((await embed({ model: model(), value: TEXTS.short, ...options(128) })).embedding, 'short:128'));
  await client.feature('unknown model', async () =>
    says(await rejects(APICallError, () => embed({ model: model('no-such'), value: 'x', maxRetries: 0 })), 'no-such'));
  await client.feature('too long', async () =>
    says(await rejects(APICallError, () => embed({ model: model(), value: SETUP.too_long, maxRetries: 0 })), '512 tokens', '602'));
  await client.feature('wrong key', async () => {
    const error = await rejects(APICallError, () => embed({ model: provider(SETUP.keyed, 'wrong-key', MODEL), value: 'x', maxRetries: 0 }));
    assert.equal(error.statusCode, 401);
    return error.constructor.name;
  });
  await client.feature('repeats', () => repeated(() => embed({ model: provider(SETUP.keyed, SETUP.slow_key, MODEL), value: 'x', maxRetries: 4 })));
}
