"""cohere-python: embed and rerank of both versions, encodings, errors, repeats."""
import cohere
from features import BATCH, MODEL, NAMES, SETUP, TEXTS, URL, Client, limited, raises, repeated, same, same_batch, says

client = Client("cohere (Python)", "cohere", "Cohere")
v1 = cohere.Client(api_key="any", base_url=URL)
v2 = cohere.ClientV2(api_key="any", base_url=URL)
WHOLE = [n for n in NAMES if TEXTS[n]]
SOME = [TEXTS[n] for n in WHOLE]


def embed(api=v2, texts=SOME, **more):
    return api.embed(**{"model": MODEL, "texts": texts, "input_type": "search_document", "embedding_types": ["float"], **more})


@client.feature("single")
def _():
    same(v1.embed(texts=[TEXTS["short"]], model=MODEL, input_type="search_query").embeddings[0], "short")
    same(embed(texts=[TEXTS["short"]]).embeddings.float_[0], "short")


@client.feature("batch")
def _():
    same_batch(v1.embed(texts=SOME, model=MODEL, input_type="search_document").embeddings, WHOLE)
    same_batch(embed(v1).embeddings.float_, WHOLE)
    same_batch(embed().embeddings.float_, WHOLE)
    many = v1.embed(texts=[TEXTS["short"]] * 200, model=MODEL, input_type="search_document").embeddings
    assert len(many) == 200
    same(many[199], "short")


@client.feature("dimensions")
def _():
    same(embed(texts=[TEXTS["short"]], output_dimension=128).embeddings.float_[0], "short:128")


@client.feature("encodings")
def _():
    reply = embed(texts=[TEXTS["short"]], embedding_types=["float", "int8", "uint8", "binary", "ubinary"]).embeddings
    floats = reply.float_[0]
    same(floats, "short")
    dim = SETUP["dim"]
    assert len(reply.int8[0]) == len(reply.uint8[0]) == dim and len(reply.binary[0]) == len(reply.ubinary[0]) == dim // 8
    packed = [sum((floats[i + b] > 0) << (7 - b) for b in range(8)) for i in range(0, dim, 8)]
    assert list(reply.ubinary[0]) == packed and list(reply.binary[0]) == [p - 128 for p in packed]
    # Both are cut towards zero, of which the middle of the bytes is not.
    assert all(i - (u - 128) in ((0, 1) if i <= 0 else (0,)) for i, u in zip(reply.int8[0], reply.uint8[0]))


@client.feature("truncate")
def _():
    same(embed(texts=[SETUP["too_long"]], truncate="END").embeddings.float_[0], "truncated")


@client.feature("too long")
def _():
    return says(raises(cohere.BadRequestError, lambda: embed(texts=[SETUP["too_long"]], truncate="NONE")), "512", "602")


@client.feature("unknown model")
def _():
    return says(raises(cohere.NotFoundError, lambda: embed(model="no-such", texts=["x"])), "no-such")


@client.feature("wrong key")
def _():
    api = cohere.ClientV2(api_key="wrong-key", base_url=SETUP["keyed"])
    return says(raises(cohere.UnauthorizedError, lambda: embed(api, ["x"])))


@client.feature("rate limit")
def _():
    api = cohere.ClientV2(api_key=SETUP["slow_key"], base_url=SETUP["keyed"])
    return says(limited(cohere.TooManyRequestsError,
                        lambda: api.embed(model=MODEL, texts=["x"], input_type="search_query", embedding_types=["float"],
                                          request_options={"max_retries": 0})))


@client.feature("repeats")
def _():
    api = cohere.ClientV2(api_key=SETUP["slow_key"], base_url=SETUP["keyed"])
    repeated(lambda: embed(api, ["x"]))


@client.feature("models")
def _():
    assert MODEL in [m.name for m in v1.models.list().models]


if SETUP["rerank"]:

    @client.feature("rerank")
    def _():
        rerank = SETUP["rerank"]
        for kind in cohere.Client, cohere.ClientV2:
            api = kind(api_key="any", base_url=rerank["url"])
            got = api.rerank(model=rerank["model"], query=rerank["query"], documents=rerank["documents"], top_n=2).results
            assert [r.index for r in got] == rerank["order"][:2], got
        full = cohere.Client(api_key="any", base_url=rerank["url"]).rerank(
            model=rerank["model"], query=rerank["query"], documents=[{"text": d} for d in rerank["documents"]], return_documents=True)
        assert [r.document.text for r in full.results] == [rerank["documents"][i] for i in rerank["order"]]
