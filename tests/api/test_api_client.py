"""The real `openai` client against the server: its defaults, every form of input, its exceptions."""
import asyncio

import numpy as np
import openai
import pytest

from conftest import DIM, NAME, PATIENCE, floats

HELLO = [101, 7592, 102]


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def vector(reply, i=0):
    """The client decodes base64 only where it asked for it by itself."""
    given = reply.data[i].embedding
    return floats(given) if isinstance(given, str) else np.float32(given)


def test_defaults(client):
    reply = client.embeddings.create(model=NAME, input="Hello, world!")
    assert reply.object == "list"
    assert reply.model == NAME
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == 6
    assert [d.index for d in reply.data] == [0]
    assert reply.data[0].object == "embedding"
    assert len(reply.data[0].embedding) == DIM
    assert abs(np.linalg.norm(vector(reply)) - 1) < 1e-5


def test_float_and_base64_are_the_same_numbers(client):
    for text in ("hello", "", "日本語のテキスト", "a\u2028b 😀 ''\"\\"):
        a = client.embeddings.create(model=NAME, input=text, encoding_format="float")
        b = client.embeddings.create(model=NAME, input=text)
        assert vector(a).tobytes() == vector(b).tobytes()


def test_forms_of_input(client):
    def create(given):
        return client.embeddings.create(model=NAME, input=given)

    one = vector(create("hello"))
    assert vector(create(["hello"])).tobytes() == one.tobytes()
    assert vector(create(HELLO)).tobytes() == one.tobytes()
    assert vector(create(HELLO[1:-1])).tobytes() == one.tobytes(), "special tokens are added to ids"
    assert vector(create([HELLO])).tobytes() == one.tobytes()
    several = create([HELLO[1:-1], [2088], HELLO])
    assert [d.index for d in several.data] == [0, 1, 2]
    assert vector(several, 0).tobytes() == vector(several, 2).tobytes() == one.tobytes()
    assert vector(several, 1).tobytes() == vector(create("world")).tobytes()
    assert several.usage.prompt_tokens == 9


def test_empty_text(client):
    reply = client.embeddings.create(model=NAME, input="")
    assert reply.usage.prompt_tokens == 2
    both = client.embeddings.create(model=NAME, input=["", "x"])
    assert vector(both).tobytes() == vector(reply).tobytes()
    assert vector(client.embeddings.create(model=NAME, input=[101, 102])).tobytes() == vector(reply).tobytes()


def test_dimensions(client):
    full = vector(client.embeddings.create(model=NAME, input="hello"))
    for dimensions in (1, 7, 128, 383, 384):
        for encoding in ("float", "base64"):
            got = vector(client.embeddings.create(model=NAME, input="hello", dimensions=dimensions, encoding_format=encoding))
            want = full[:dimensions] / np.linalg.norm(full[:dimensions])
            assert got.shape == (dimensions,)
            assert np.abs(got - want).max() < 1e-6
    assert vector(client.embeddings.create(model=NAME, input="hello", dimensions=DIM)).tobytes() == full.tobytes()


def test_2048_texts(client):
    texts = [f"text number {i % 97}, {'word ' * (i % 13)}" for i in range(2048)]
    for encoding in ("float", "base64"):
        reply = client.embeddings.create(model=NAME, input=texts, encoding_format=encoding)
        assert [d.index for d in reply.data] == list(range(2048))
        for i in (0, 1, 500, 1024, 2047):
            alone = client.embeddings.create(model=NAME, input=texts[i])
            assert vector(alone).tobytes() == vector(reply, i).tobytes()


def test_user_and_unknown_members(client):
    reply = client.embeddings.create(model=NAME, input="hello", user="me",
                                     extra_body={"task": "retrieval.query", "normalized": True, "x": {"y": [1]}})
    assert len(reply.data) == 1


def test_models(client):
    models = client.models.list().data
    assert [m.id for m in models] == [NAME]
    m = client.models.retrieve(NAME)
    assert m == models[0]
    assert m.object == "model" and m.owned_by == "embellama" and m.created > 0
    assert (m.dimensions, m.context_length, m.pooling, m.normalize) == (DIM, 512, "mean", "l2")
    assert client.models.retrieve("sentence-transformers/" + NAME).id == NAME
    with pytest.raises(openai.NotFoundError) as e:
        client.models.retrieve("org/na me")
    assert "'org/na me'" in e.value.message and e.value.code == "model_not_found"


def test_names(client):
    assert client.embeddings.create(model="sentence-transformers/" + NAME, input="x").model == NAME
    for name in (NAME.lower(), "other/" + NAME, NAME + "x", NAME[:-1], "text-embedding-3-small"):
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model=name, input="x")


@pytest.mark.parametrize("wanted, more", [
    (openai.NotFoundError, {"model": "no-such-model"}),
    (openai.BadRequestError, {"encoding_format": "yaml"}),
    (openai.BadRequestError, {"dimensions": 100000}),
    (openai.BadRequestError, {"dimensions": 0}),
    (openai.BadRequestError, {"input": []}),
    (openai.BadRequestError, {"input": "word " * 3000}),
    (openai.BadRequestError, {"input": ["a"] * 2049}),
    (openai.BadRequestError, {"input": [[101, 99999999]]}),
    (openai.BadRequestError, {"input": ["a", 1]}),
])
def test_exceptions(client, wanted, more):
    with pytest.raises(wanted) as e:
        client.embeddings.create(**{"model": NAME, "input": "x", **more})
    assert type(e.value) is wanted
    assert e.value.type == "invalid_request_error"
    assert e.value.code is None or isinstance(e.value.code, str)
    assert e.value.request_id


def test_asynchronous(server):
    async def many():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k", max_retries=0, timeout=PATIENCE) as c:
            return await asyncio.gather(*(c.embeddings.create(model=NAME, input=f"text {i % 8}") for i in range(64)))

    replies = asyncio.run(many())
    for i, reply in enumerate(replies):
        assert vector(reply).tobytes() == vector(replies[i % 8]).tobytes()


def test_base_url_without_v1(server):
    client = server.client(base_url=server.url)
    assert len(client.embeddings.create(model=NAME, input="x").data) == 1
    assert client.models.list().data[0].id == NAME
    assert client.models.retrieve(NAME).id == NAME


def test_embeddings_as_langchain_sends_them(client):
    """Ids of another vocabulary: those that do not fit are refused with what to do about it."""
    with pytest.raises(openai.BadRequestError) as e:
        client.embeddings.create(model=NAME, input=[[15339, 1917], [65], [100257]])
    assert "input[2]" in e.value.message and "check_embedding_ctx_length=False" in e.value.message
    assert e.value.param == "input[2]"
