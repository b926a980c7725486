if(TARGET emb_pool)
  emb_fuzz(wire emb_pool)
endif()
