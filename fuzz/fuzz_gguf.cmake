emb_fuzz(gguf emb_format)
