emb_fuzz(tokenizer emb_tokenizer)
