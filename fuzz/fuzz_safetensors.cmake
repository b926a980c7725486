emb_fuzz(safetensors emb_format)
