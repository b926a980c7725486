if(TARGET emb_http)
  emb_fuzz(http2 emb_http)
endif()
