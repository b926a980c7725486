"""huggingface_hub's InferenceClient, which posts to the root of a TEI server."""
import asyncio
import os

os.environ.pop("HF_HUB_OFFLINE", None)  # it would keep the client from any server

from features import SETUP, TEXTS, URL, Client, raises, same, says
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

client = Client("huggingface_hub InferenceClient", "huggingface_hub", "TEI")
api = InferenceClient(base_url=URL)


def row(reply):
    return reply[0] if reply.ndim == 2 else reply


@client.feature("single")
def _():
    same(row(api.feature_extraction(TEXTS["short"])), "short")


@client.feature("batch")
def _():
    texts = [TEXTS["short"], TEXTS["other"]]
    got = api.feature_extraction(texts)
    same(got[0], "short")
    same(got[1], "other")


@client.feature("truncate")
def _():
    same(row(api.feature_extraction(SETUP["too_long"], truncate=True, truncation_direction="right", normalize=True)), "truncated")


@client.feature("too long")
def _():
    error = raises(HfHubHTTPError, lambda: api.feature_extraction(SETUP["too_long"], truncate=False))
    assert error.response.status_code in (413, 422), error.response.status_code
    return type(error).__name__


@client.feature("similarity")
def _():
    got = api.sentence_similarity(TEXTS["short"], other_sentences=[TEXTS["short"], TEXTS["other"]])
    assert len(got) == 2 and abs(got[0] - 1) < 1e-4 and got[1] < got[0], got


@client.feature("parallel")
def _():
    async def many():
        async with AsyncInferenceClient(base_url=URL) as a:
            return await asyncio.gather(*(a.feature_extraction(TEXTS["short"]) for _ in range(8)))

    for reply in asyncio.run(many()):
        same(row(reply), "short")


@client.feature("wrong key")
def _():
    error = raises(HfHubHTTPError, lambda: InferenceClient(base_url=SETUP["keyed"], api_key="wrong-key").feature_extraction("x"))
    assert error.response.status_code == 401
    same(row(InferenceClient(base_url=SETUP["keyed"], api_key=SETUP["key"]).feature_extraction(TEXTS["short"])), "short")
    return type(error).__name__
