"""openai-python: its defaults, every form of input, its exceptions, its repeats; AsyncOpenAI and AzureOpenAI."""
import asyncio

import openai
from features import BATCH, MODEL, NAMES, SETUP, TEXTS, URL, Client, limited, raises, repeated, same, same_batch, says

client = Client("openai (Python)", "openai", "OpenAI")
api = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)


def keyed(key, retries=0):
    return openai.OpenAI(base_url=SETUP["keyed"] + "/v1", api_key=key, max_retries=retries)


def create(given, api=api, **more):
    return api.embeddings.create(**{"model": MODEL, "input": given, **more})


@client.feature("single")
def _():
    reply = create(TEXTS["short"])
    same(reply.data[0].embedding, "short")
    assert reply.model == MODEL and reply.usage.prompt_tokens == reply.usage.total_tokens > 0


@client.feature("batch")
def _():
    reply = create(BATCH)
    assert [d.index for d in reply.data] == list(range(len(NAMES)))
    same_batch([d.embedding for d in reply.data])


@client.feature("float")
def _():
    same(create(TEXTS["short"], encoding_format="float").data[0].embedding, "short")


@client.feature("base64")
def _():
    assert create(TEXTS["short"], encoding_format="base64").data[0].embedding == SETUP["vectors"]["short"]


@client.feature("dimensions")
def _():
    same(create(TEXTS["short"], dimensions=128).data[0].embedding, "short:128")
    return says(raises(openai.BadRequestError, lambda: create("x", dimensions=100000)), "dimensions")


@client.feature("empty text")
def _():
    same(create("").data[0].embedding, "empty")


@client.feature("token ids")
def _():
    same(create(SETUP["ids"]).data[0].embedding, "short")
    same(create([SETUP["ids"], SETUP["ids"]]).data[1].embedding, "short")
    return says(raises(openai.BadRequestError, lambda: create([[99999999]])), "check_embedding_ctx_length")


@client.feature("2048 texts")
def _():
    reply = create([TEXTS["short"], TEXTS["other"]] * 1024)
    same(reply.data[0].embedding, "short")
    same(reply.data[2047].embedding, "other")


@client.feature("parallel")
def _():
    async def many():
        async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key="any", max_retries=0) as a:
            return await asyncio.gather(*(a.embeddings.create(model=MODEL, input=TEXTS[NAMES[i % len(NAMES)]]) for i in range(32)))

    for i, reply in enumerate(asyncio.run(many())):
        same(reply.data[0].embedding, NAMES[i % len(NAMES)])


@client.feature("models")
def _():
    assert MODEL in [m.id for m in api.models.list().data]
    assert api.models.retrieve(MODEL).id == MODEL


@client.feature("odd model ids")
def _():
    error = raises(openai.NotFoundError, lambda: api.models.retrieve("org/na me?%#é"))
    assert error.code == "model_not_found"
    return says(error, "org/na me?%#é")


@client.feature("unknown model")
def _():
    error = raises(openai.NotFoundError, lambda: create("x", model="no-such-model"))
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error")
    return says(error, "no-such-model")


@client.feature("bad request")
def _():
    for given, more in ([], {}), (["a", 1], {}), ("x", {"encoding_format": "yaml"}), ({"a": 1}, {}), (["a"] * 2049, {}):
        error = raises(openai.BadRequestError, lambda: create(given, **more))
        assert error.type == "invalid_request_error" and error.param, error.body
    return type(error).__name__


@client.feature("too long")
def _():
    error = raises(openai.BadRequestError, lambda: create(SETUP["too_long"]))
    assert error.type == "invalid_request_error" and error.param == "input"
    return says(error, "maximum context length is 512 tokens", "602")


@client.feature("truncate")
def _():
    raw = api.embeddings.with_raw_response.create(model=MODEL, input=SETUP["too_long"], extra_body={"truncate": True})
    assert raw.headers["x-embellama-truncated"] == "1"
    same(raw.parse().data[0].embedding, "truncated")


@client.feature("wrong key")
def _():
    error = raises(openai.AuthenticationError, lambda: create("x", keyed("wrong-key")))
    assert error.code == "invalid_api_key"
    same(create(TEXTS["short"], keyed(SETUP["key"])).data[0].embedding, "short")
    return type(error).__name__


@client.feature("rate limit")
def _():
    error = limited(openai.RateLimitError, lambda: create("x", keyed(SETUP["slow_key"])))
    assert error.response.headers["retry-after"] and error.code == "rate_limit_exceeded"
    return type(error).__name__


@client.feature("repeats")
def _():
    repeated(lambda: create("x", keyed(SETUP["slow_key"], 3)))


azure = Client("AzureOpenAI (Python)", "openai", "OpenAI")


def azure_api(url, key):
    return openai.AzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21", max_retries=0)


@azure.feature("single")
def _():
    same(create(TEXTS["short"], azure_api(URL, "any")).data[0].embedding, "short")


@azure.feature("batch")
def _():
    same_batch([d.embedding for d in create(BATCH, azure_api(URL, "any")).data])


@azure.feature("unknown model")
def _():
    return says(raises(openai.NotFoundError, lambda: create("x", azure_api(URL, "any"), model="no-such")), "no-such")


@azure.feature("wrong key")
def _():
    error = raises(openai.AuthenticationError, lambda: create("x", azure_api(SETUP["keyed"], "wrong-key")))
    same(create(TEXTS["short"], azure_api(SETUP["keyed"], SETUP["key"])).data[0].embedding, "short")
    return type(error).__name__
