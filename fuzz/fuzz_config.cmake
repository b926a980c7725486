emb_fuzz(config emb_model)
