"""LiteLLM: each of its providers that can be pointed at a server of one's own."""
import litellm
from features import BATCH, MODEL, SETUP, TEXTS, URL, Client, raises, same, same_batch, says

litellm.suppress_debug_info = True
litellm.telemetry = False


def embed(given, provider="openai", base=URL + "/v1", **more):
    return litellm.embedding(**{"model": f"{provider}/{MODEL}", "input": given, "api_base": base, "api_key": "any", "max_retries": 0,
                                **more})


def vectors(reply):
    return [d["embedding"] for d in reply.data]


client = Client("litellm openai/", "litellm", "OpenAI")


@client.feature("single")
def _():
    reply = embed([TEXTS["short"]])
    same(vectors(reply)[0], "short")
    assert reply.usage.prompt_tokens > 0


@client.feature("batch")
def _():
    same_batch(vectors(embed(BATCH)))


@client.feature("float")
def _():
    same(vectors(embed([TEXTS["short"]], encoding_format="float"))[0], "short")


@client.feature("unknown model")
def _():
    return says(raises(litellm.NotFoundError, lambda: embed(["x"], model="openai/no-such")), "no-such")


@client.feature("too long")
def _():
    return says(raises(litellm.BadRequestError, lambda: embed([SETUP["too_long"]])), "512 tokens", "602")


@client.feature("wrong key")
def _():
    return says(raises(litellm.AuthenticationError, lambda: embed(["x"], base=SETUP["keyed"] + "/v1")))


for provider, base, dialect in (("hosted_vllm", URL + "/v1", "OpenAI"), ("jina_ai", URL + "/v1", "Jina"),
                                ("voyage", URL + "/v1/embeddings", "Voyage"), ("infinity", URL, "OpenAI"),
                                ("ollama", URL, "Ollama"), ("cohere", URL + "/v2/embed", "Cohere")):
    other = Client(f"litellm {provider}/", "litellm", dialect)

    @other.feature("single")
    def _():
        same(vectors(embed([TEXTS["short"]], provider, base))[0], "short")

    @other.feature("batch")
    def _():
        names = [n for n in sorted(TEXTS) if TEXTS[n] or provider != "cohere"]
        same_batch(vectors(embed([TEXTS[n] for n in names], provider, base)), names)


hub = Client("litellm huggingface/", "litellm", "TEI")


@hub.feature("single")
def _():
    reply = embed([TEXTS["short"]], "huggingface", URL + "/embed", input_type="feature-extraction")
    same(vectors(reply)[0], "short")


if SETUP["rerank"]:
    RERANK = SETUP["rerank"]
    for provider, base, dialect in (("cohere", "", "Cohere"), ("jina_ai", "/v1/rerank", "Jina"), ("infinity", "", "OpenAI"),
                                    ("hosted_vllm", "", "OpenAI"), ("voyage", "/v1/rerank", "Voyage"), ("huggingface", "", "TEI")):
        other = Client(f"litellm {provider}/", "litellm", dialect)

        @other.feature("rerank")
        def _():
            # By itself it asks for the documents, and this one provider cannot read them as all others have them.
            reply = litellm.rerank(model=f"{provider}/{RERANK['model']}", query=RERANK["query"], documents=RERANK["documents"],
                                   top_n=2, return_documents=provider != "infinity", api_base=RERANK["url"] + base, api_key="any")
            assert [r["index"] for r in reply.results] == RERANK["order"][:2], reply.results
