emb_fuzz(tiktoken emb_tokenizer)
