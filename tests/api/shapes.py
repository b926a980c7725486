"""Comparison of JSON with a published shape, key by key and type by type.

A shape is a type (float takes integers too, as JSON does), a tuple of allowed shapes, [shape] for a list of such, a dictionary for an object of
exactly these members, or a value that must be equal. A member whose name ends with "?" may be absent."""
import json


def strict(text):
    """The JSON of a reply; a member twice, NaN and infinities are errors."""
    def members(pairs):
        assert len({k for k, _ in pairs}) == len(pairs), f"a member twice: {[k for k, _ in pairs]}"
        return dict(pairs)

    def constant(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, object_pairs_hook=members, parse_constant=constant)


def mismatch(value, shape, at="$"):
    """What does not fit, in words; None where all does."""
    if isinstance(shape, tuple):
        found = [mismatch(value, s, at) for s in shape]
        return None if None in found else found[0]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{at} is no object"
        needed = {k for k in shape if not k.endswith("?")}
        known = {k.rstrip("?") for k in shape}
        if needed - value.keys() or value.keys() - known:
            return f"{at}: lacks {sorted(needed - value.keys())}, has unknown {sorted(value.keys() - known)}"
        found = [mismatch(value[k.rstrip('?')], s, f"{at}.{k}") for k, s in shape.items() if k.rstrip("?") in value]
        return next((f for f in found if f), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{at} is no list"
        return next((f for f in (mismatch(v, shape[0], f"{at}[{i}]") for i, v in enumerate(value)) if f), None)
    if isinstance(shape, type):
        fits = type(value) is shape or (shape is float and type(value) is int)
        return None if fits else f"{at} is {value!r}, no {shape.__name__}"
    return None if type(value) is type(shape) and value == shape else f"{at} is {value!r}, not {shape!r}"


def fits(reply, shape, status=200):
    """The reply's body, which has that shape."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].split(";")[0] == "application/json"
    body = strict(reply.text)
    assert mismatch(body, shape) is None, mismatch(body, shape)
    return body


NULL = type(None)

# OpenAI's, as published in its API reference and OpenAPI document.
EMBEDDINGS = {"object": "list", "model": str, "usage": {"prompt_tokens": int, "total_tokens": int},
              "data": [{"object": "embedding", "index": int, "embedding": [float]}]}
EMBEDDINGS_BASE64 = EMBEDDINGS | {"data": [{"object": "embedding", "index": int, "embedding": str}]}
MODEL = {"id": str, "object": "model", "created": int, "owned_by": str}
ERROR = {"message": str, "type": str, "param": (str, NULL), "code": (str, NULL)}
# The error with what other services' clients read beside it, and what we add.
ERROR_BODY = {"error": ERROR, "message?": str, "detail?": str, "request_id": str}
