# libembellama, shared and static, out of the layers' objects, and what `cmake --install` puts where.
if(NOT TARGET emb_engine)
  return()
endif()

set(library_objects)
foreach(layer base format kernel tokenizer model engine)
  if(TARGET emb_${layer})
    list(APPEND library_objects $<TARGET_OBJECTS:emb_${layer}>)
  endif()
endforeach()

add_library(embellama_shared SHARED ${library_objects})
add_library(embellama_static STATIC ${library_objects})
add_library(embellama::embellama ALIAS embellama_shared)
foreach(library embellama_shared embellama_static)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME embellama EXPORT_NAME embellama LINKER_LANGUAGE CXX
    ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_link_libraries(${library} PRIVATE emb_flags PkgConfig::SIMDJSON Threads::Threads m)
  target_include_directories(${library} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
# While the major version is 0 the ABI is the minor version's.
set_target_properties(embellama_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/embellama.map)
target_link_options(embellama_shared PRIVATE
  -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/embellama.map -Wl,--gc-sections -Wl,-z,relro,-z,now)
if(NOT EMBELLAMA_SANITIZE AND NOT EMBELLAMA_FUZZ)
  target_link_options(embellama_shared PRIVATE -Wl,--no-undefined)
endif()

install(TARGETS embellama_shared EXPORT embellama)
install(TARGETS embellama_static)
install(FILES ${CMAKE_SOURCE_DIR}/include/embellama/embellama.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/embellama)

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/embellama)
install(EXPORT embellama FILE embellama-config.cmake NAMESPACE embellama:: DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/embellama-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/embellama-config-version.cmake DESTINATION ${package_dir})

# The prefix is only known when installing (cmake --install --prefix), so the file is made then.
install(CODE "
  set(PROJECT_VERSION \"${PROJECT_VERSION}\")
  set(PROJECT_DESCRIPTION \"${PROJECT_DESCRIPTION}\")
  set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
  set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
  configure_file(\"${CMAKE_SOURCE_DIR}/cmake/embellama.pc.in\" \"${CMAKE_BINARY_DIR}/embellama.pc\" @ONLY)")
install(FILES ${CMAKE_BINARY_DIR}/embellama.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(PROGRAMS ${CMAKE_SOURCE_DIR}/scripts/get-model DESTINATION ${CMAKE_INSTALL_BINDIR} RENAME embellama-get-model)
if(TARGET embellama)
  install(TARGETS embellama)
  file(CREATE_LINK embellama ${CMAKE_BINARY_DIR}/embellama-server SYMBOLIC)
  install(FILES ${CMAKE_BINARY_DIR}/embellama-server DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/docs/embellama.1)
  install(FILES ${CMAKE_SOURCE_DIR}/docs/embellama.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
