# emb_layer(NAME SOURCES ... DEPENDS ...): one folder of src/ as a static library. DEPENDS names the layers below it.
function(emb_layer name)
  cmake_parse_arguments(L "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(emb_${name} STATIC ${L_SOURCES})
  target_include_directories(emb_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(emb_${name} PUBLIC emb_flags ${L_DEPENDS})
endfunction()
