# One interface target with the flags every file of ours is compiled with.
add_library(emb_flags INTERFACE)
target_compile_options(emb_flags INTERFACE
  -Wall -Wextra -Wshadow -Wvla -Wundef -ffp-contract=off -fno-math-errno -fstack-protector-strong
  $<$<COMPILE_LANGUAGE:C>:-Wconversion -Wmissing-prototypes -Wstrict-prototypes>
  $<$<BOOL:${EMBELLAMA_WERROR}>:-Werror>)
target_compile_definitions(emb_flags INTERFACE _GNU_SOURCE EMBELLAMA_VERSION="${PROJECT_VERSION}")
if(NOT EMBELLAMA_SANITIZE AND NOT EMBELLAMA_FUZZ)
  target_compile_definitions(emb_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
if(EMBELLAMA_SANITIZE)
  target_compile_options(emb_flags INTERFACE -fsanitize=${EMBELLAMA_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(emb_flags INTERFACE -fsanitize=${EMBELLAMA_SANITIZE})
endif()
if(EMBELLAMA_FUZZ)
  target_compile_options(emb_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(emb_flags INTERFACE -fsanitize=address,undefined)
endif()
