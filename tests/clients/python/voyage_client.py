"""voyageai: embed with its types, rerank, errors."""
import voyageai
from features import BATCH, MODEL, SETUP, TEXTS, URL, Client, limited, raises, same, same_batch, says

client = Client("voyageai", "voyageai", "Voyage")


def api(url=URL, key="any", **more):
    return voyageai.Client(api_key=key, base_url=url + "/v1", **more)


@client.feature("single")
def _():
    got = api().embed([TEXTS["short"]], model=MODEL)
    same(got.embeddings[0], "short")
    assert got.total_tokens > 0


@client.feature("batch")
def _():
    same_batch(api().embed(BATCH, model=MODEL).embeddings)


@client.feature("dimensions")
def _():
    same(api().embed([TEXTS["short"]], model=MODEL, output_dimension=128).embeddings[0], "short:128")


@client.feature("encodings")
def _():
    dim = SETUP["dim"]
    for dtype, size, low, high in (("int8", dim, -128, 127), ("uint8", dim, 0, 255), ("binary", dim // 8, -128, 127),
                                   ("ubinary", dim // 8, 0, 255)):
        got = api().embed([TEXTS["short"]], model=MODEL, output_dtype=dtype).embeddings[0]
        assert len(got) == size and all(low <= v <= high and v == int(v) for v in got), (dtype, len(got))


@client.feature("truncate")
def _():
    same(api().embed([SETUP["too_long"]], model=MODEL, truncation=True).embeddings[0], "truncated")


@client.feature("too long")
def _():
    call = lambda: api().embed([SETUP["too_long"]], model=MODEL, truncation=False)
    return says(raises(voyageai.error.InvalidRequestError, call), "512", "602")


@client.feature("unknown model")
def _():
    return says(raises(voyageai.error.VoyageError, lambda: api().embed(["x"], model="no-such")), "no-such")


@client.feature("wrong key")
def _():
    return says(raises(voyageai.error.AuthenticationError, lambda: api(SETUP["keyed"], "wrong-key").embed(["x"], model=MODEL)))


@client.feature("rate limit")
def _():
    slow = api(SETUP["keyed"], SETUP["slow_key"], max_retries=0)
    return says(limited(voyageai.error.RateLimitError, lambda: slow.embed(["x"], model=MODEL)))


if SETUP["rerank"]:

    @client.feature("rerank")
    def _():
        rerank = SETUP["rerank"]
        got = api(rerank["url"]).rerank(rerank["query"], rerank["documents"], model=rerank["model"], top_k=2).results
        assert [r.index for r in got] == rerank["order"][:2], got
