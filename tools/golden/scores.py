#!/usr/bin/env python3
"""Golden scores of cross-encoders from the reference: BertForSequenceClassification of transformers on torch, in float32.

    python3 -m venv v && v/bin/pip install sentence-transformers gguf
    v/bin/python tools/golden/scores.py MODEL_DIRECTORY

Writes under tests/golden/: tiny-rank and tiny-labels, seeded cross-encoders of one and of three labels, each with its golden file;
tiny-rank.gguf, the first as llama.cpp names and lays out such a model; and minilm-rank.json, the default model (MODEL_DIRECTORY,
all-MiniLM-L6-v2 as `make model` keeps it) with its own pooler and a seeded classifier. Pairs are cut by tokenizers' longest_first.
"""
import json
import pathlib
import shutil
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from vectors import HERE, TEXTS, WORDS, floats, tokenizer_json, weights_of

QUERY = "What is the capital of France?"
PAIRS = [(QUERY, t) for t in TEXTS] + [(t, QUERY) for t in TEXTS[-4:]] + [
    ("how do I sort a list in Python", "Call sorted(items), or items.sort() to sort a list in place."),
    ("how do I sort a list in Python", "The python is a large snake that kills by constriction."),
    ("symptoms of vitamin D deficiency", "Fatigue, bone pain and muscle weakness may point to a lack of vitamin D."),
    ("symptoms of vitamin D deficiency", "Tickets for the concert are sold out since yesterday."),
    (TEXTS[-2], TEXTS[-1]), (TEXTS[-1], TEXTS[-2]), ("", ""), ("", QUERY)]
# Every case of longest_first: one longer, the other longer, both too long, odd and even room, no room.
LIMITS = [3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 20, 21, 31, 32]


def encode(tokenizer, pair, limit):
    tokenizer.enable_truncation(limit, strategy="longest_first")
    encoding = tokenizer.encode(*pair)
    return encoding.ids, encoding.type_ids


def rows_of(model, tokenizer, context, limits):
    rows = []
    for i, pair in enumerate(PAIRS):
        for limit in [context] + (limits if i % 5 == 4 else []):
            ids, types = encode(tokenizer, pair, limit)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0]
            rows.append({"text": pair[0], "document": pair[1], "limit": limit, "ids": ids, "second": (types + [1]).index(1),
                         "logits": floats(logits)})
    return rows


def write_rows(name, rows):
    (HERE / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n")


def tiny_model(config, seed, dtype):
    """Logits spread like a trained cross-encoder's: some units around zero."""
    model = BertForSequenceClassification(config).eval()
    model.bert.load_state_dict(weights_of(config, seed).state_dict(), strict=False)
    with torch.no_grad():
        for layer, scale in ((model.bert.pooler.dense, 1.5), (model.classifier, 4.0)):
            layer.weight.copy_(torch.randn_like(layer.weight) * scale / layer.weight.shape[-1] ** 0.5)
            layer.bias.copy_(0.1 * torch.randn_like(layer.bias))
    return model.to(dtype).to(torch.float32)


def tiny(name, config, seed, dtype, extra):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model = tiny_model(config, seed, dtype)
    save_file({k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if "position_ids" not in k},
              folder / "model.safetensors")
    settings = {k: v for k, v in config.to_dict().items() if k in (
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "max_position_embeddings", "type_vocab_size", "vocab_size", "layer_norm_eps")}
    settings |= {"architectures": ["BertForSequenceClassification"], **extra}
    (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()) + "\n")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    write_rows(name, rows_of(model, tokenizer, config.max_position_embeddings, LIMITS[:: 1 if config.num_labels == 1 else 5]))
    return model


GGUF_LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
              "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
              "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
GGUF_OTHERS = {"bert.embeddings.word_embeddings": "token_embd", "bert.embeddings.position_embeddings": "position_embd",
               "bert.embeddings.token_type_embeddings": "token_types", "bert.embeddings.LayerNorm": "token_embd_norm",
               "bert.pooler.dense": "cls", "classifier": "cls.output"}


def gguf_name(name):
    part, kind = name.rsplit(".", 1)
    if part in GGUF_OTHERS:
        return f"{GGUF_OTHERS[part]}.{kind}"
    layer, rest = part.removeprefix("bert.encoder.layer.").split(".", 1)
    return f"blk.{layer}.{GGUF_LAYER[rest]}.{kind}"


def write_gguf(model, config, path):
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(["LABEL_0"])
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    words = WORDS + [f"[PAD{i}]" for i in range(len(WORDS), config.vocab_size)]
    writer.add_token_list([w if w.startswith("[") and w.endswith("]") and len(w) > 2 else
                           w[2:] if w.startswith("##") and len(w) > 2 else "\u2581" + w for w in words])
    writer.add_token_types([gguf.TokenType.CONTROL if i < 5 else gguf.TokenType.NORMAL for i in range(len(words))])
    for key, word in (("unk", "[UNK]"), ("bos", "[CLS]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("mask", "[MASK]")):
        getattr(writer, f"add_{key}_token_id")(WORDS.index(word))
    for name, value in sorted(model.state_dict().items()):
        if "position_ids" in name:
            continue
        array = value.numpy()
        if array.ndim == 2:
            packed = gguf.quants.quantize(array, gguf.GGMLQuantizationType.BF16)
            # ggml drops outer dimensions of 1 when it writes a file anew.
            writer.add_tensor(gguf_name(name), packed[0] if array.shape[0] == 1 else packed,
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(gguf_name(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def minilm(directory):
    config = BertConfig.from_pretrained(directory, num_labels=1)
    model = BertForSequenceClassification(config).eval()
    state = load_file(directory / "model.safetensors")
    model.bert.load_state_dict({k: v for k, v in state.items() if "position_ids" not in k}, strict=True)
    torch.manual_seed(5)
    # Trained cross-encoders spread their logits over some ten units.
    weight = (torch.randn(384) * 160 / 384 ** 0.5).to(torch.bfloat16).to(torch.float32)
    with torch.no_grad():
        model.classifier.weight.copy_(weight[None])
        model.classifier.bias.fill_(4.25)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    rows = rows_of(model, tokenizer, 512, [32])
    rows[0] |= {"classifier": floats(weight), "bias": 4.25, "tensors": sorted(state)}
    write_rows("minilm-rank", rows)
    logits = np.array([r["logits"][0] for r in rows])
    print(f"minilm: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def main():
    common = {"vocab_size": len(WORDS) + 3, "type_vocab_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
              "classifier_dropout": 0.0, "max_position_embeddings": 96, "attn_implementation": "eager"}
    rank = BertConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, num_labels=1, **common)
    model = tiny("tiny-rank", rank, 3, torch.bfloat16, {"id2label": {"0": "LABEL_0"}})
    write_gguf(model, rank, HERE / "tiny-rank.gguf")
    names = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    labels = BertConfig(hidden_size=40, num_hidden_layers=1, num_attention_heads=5, intermediate_size=72, num_labels=3,
                        layer_norm_eps=1e-5, **common)
    tiny("tiny-labels", labels, 4, torch.float32, {"id2label": names})
    minilm(pathlib.Path(sys.argv[1]).expanduser())


if __name__ == "__main__":
    main()
