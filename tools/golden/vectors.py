#!/usr/bin/env python3
"""Golden vectors from the reference: sentence-transformers and transformers on torch, in float32.

    python3 -m venv v && v/bin/pip install sentence-transformers
    v/bin/python tools/golden/vectors.py MODEL_DIRECTORY

Writes under tests/golden/: minilm.json (the default model on texts.json) and two tiny seeded models of odd shapes,
each with its own golden file. MODEL_DIRECTORY is all-MiniLM-L6-v2 as `make model` keeps it.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
TEXTS = json.loads((HERE / "texts.json").read_text())

# Pieces enough to spell the Latin texts; everything else becomes [UNK].
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += [chr(c) for c in range(33, 127) if not chr(c).isupper()]
WORDS += ["##" + chr(c) for c in range(33, 127) if not chr(c).isupper()]
WORDS += ["the", "of", "and", "to", "in", "is", "a", "##ing", "##ed", "##er", "vector", "text", "machine", "hello", "world"]
WORDS = list(dict.fromkeys(WORDS))


def floats(array):
    return [float(np.format_float_positional(x, unique=True)) for x in np.asarray(array, np.float32).ravel()]


def minilm(directory):
    model = SentenceTransformer(str(directory), device="cpu")
    model.max_seq_length = 512
    vectors = model.encode(TEXTS, batch_size=1, convert_to_numpy=True)
    ids = [model.tokenizer(t, truncation=True, max_length=512)["input_ids"] for t in TEXTS]
    rows = [{"text": t, "ids": i, "vector": floats(v)} for t, i, v in zip(TEXTS, ids, vectors)]
    (HERE / "minilm.json").write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n")


def tokenizer_json():
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": w, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False} for i, w in enumerate(WORDS[:5])],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {w: {"id": w, "ids": [WORDS.index(w)], "tokens": [w]} for w in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {w: i for i, w in enumerate(WORDS)}},
    }


def weights_of(config, seed):
    """A BertModel whose activations have the spread of a trained one."""
    torch.manual_seed(seed)
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "LayerNorm.weight" in name:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif name.endswith("bias"):
                p.copy_(0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / p.shape[-1] ** 0.5))
    return model


def poolings(states):
    """sentence-transformers' definitions (models/Pooling.py) on one text's [tokens, hidden]."""
    return {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values,
            "mean-sqrt": states.sum(0) / states.shape[0] ** 0.5, "last": states[-1]}


def tiny(name, config, seed, dtype, prefix, shards, pooling_mode, normalize):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "1_Pooling").mkdir(parents=True)
    model = weights_of(config, seed).to(dtype).to(torch.float32)
    state = {prefix + k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    names = sorted(state)
    if shards == 1:
        save_file(state, folder / "model.safetensors")
    else:
        index = {"metadata": {}, "weight_map": {}}
        for s in range(shards):
            file = f"model-{s + 1:05}-of-{shards:05}.safetensors"
            part = {n: state[n] for n in names[s::shards]}
            save_file(part, folder / file)
            index["weight_map"].update({n: file for n in part})
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    settings = {k: v for k, v in config.to_dict().items() if k in (
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "max_position_embeddings", "type_vocab_size", "vocab_size", "layer_norm_eps")}
    (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()) + "\n")
    modules = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    (folder / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": "1_Pooling" if m == "Pooling" else "", "type": "sentence_transformers.models." + m}
         for i, m in enumerate(modules)]) + "\n")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(
        {"word_embedding_dimension": config.hidden_size, pooling_mode: True}) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, "do_lower_case": False}) + "\n")

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    rows = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        if len(ids) > config.max_position_embeddings:
            continue
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0]
        row = {"text": text, "ids": ids, "pooled": {k: floats(v) for k, v in poolings(states).items()}}
        if len(ids) < 12:
            row["states"] = floats(states)
        rows.append(row)
    (HERE / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    common = {"vocab_size": len(WORDS) + 3, "type_vocab_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
              "attn_implementation": "eager"}
    tiny("tiny-a", BertConfig(hidden_size=40, num_hidden_layers=2, num_attention_heads=5, intermediate_size=72, hidden_act="gelu",
                              max_position_embeddings=96, layer_norm_eps=1e-12, **common),
         1, torch.float32, "", 1, "pooling_mode_mean_tokens", True)
    tiny("tiny-b", BertConfig(hidden_size=64, num_hidden_layers=3, num_attention_heads=2, intermediate_size=100, hidden_act="gelu_new",
                              max_position_embeddings=96, layer_norm_eps=1e-5, **common),
         2, torch.bfloat16, "bert.", 2, "pooling_mode_cls_token", False)
    minilm(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
