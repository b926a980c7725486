if(TARGET emb_http)
  emb_fuzz(coding emb_http)
endif()
