if(TARGET emb_http)
  emb_fuzz(http1 emb_http)
endif()
