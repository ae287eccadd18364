# Kernels (*_kernel.cpp) include themselves once for every instruction set; the one between plain code and SSE4 is left
# out, since processors that stop there are from before 2008. Sanitizers make a compiler take minutes over
# unrolled vector loops: addresses are still checked in them, and their callers are instrumented in full.
function(laconic_kernels)
  set(kernels ${ARGN})
  list(FILTER kernels INCLUDE REGEX "_kernel\\.cpp$")
  if(kernels)
    set_source_files_properties(${kernels} PROPERTIES
      SKIP_UNITY_BUILD_INCLUSION ON
      SKIP_PRECOMPILE_HEADERS ON
      COMPILE_DEFINITIONS HWY_DISABLED_TARGETS=HWY_SSSE3
      COMPILE_OPTIONS "${LACONIC_KERNEL_SANITIZE_OPTIONS}")
  endif()
endfunction()

# Where groups are asked for, compiles the sources of a folder as one, so that headers are read once for all of them:
# names without linkage must then be unique in a folder.
function(laconic_group_sources target)
  if(LACONIC_GROUPS)
    foreach(source ${ARGN})
      cmake_path(GET source PARENT_PATH folder)
      cmake_path(GET folder FILENAME folder)
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder})
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  endif()
endfunction()

# A room is a folder of sources that becomes one target; NEEDS states its arrows to other rooms,
# LIBRARIES the outside libraries that its sources (not its headers) use.
# laconic_room(engine/coding NEEDS engine/base LIBRARIES PkgConfig::ZSTD)
# FOLDERS names folders inside it whose sources belong to the same target. ARRANGES: see headers.cmake.
function(laconic_room path)
  cmake_parse_arguments(ROOM "RECURSE;ARRANGES" "" "NEEDS;LIBRARIES;FOLDERS" ${ARGN})
  string(REPLACE "/" "_" name ${path})
  if(ROOM_RECURSE)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path}/*.cpp)
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path}/*.cpp)
  endif()
  foreach(folder ${ROOM_FOLDERS})
    file(GLOB folder_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path}/${folder}/*.cpp)
    list(APPEND sources ${folder_sources})
  endforeach()
  if(NOT sources)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/${name}_headers.cpp CONTENT "// ${path} has only headers.\n")
    set(sources ${PROJECT_BINARY_DIR}/generated/${name}_headers.cpp)
  endif()
  add_library(laconic_${name} OBJECT ${sources})
  target_include_directories(laconic_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                                    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
  foreach(need ${ROOM_NEEDS})
    string(REPLACE "/" "_" need ${need})
    target_link_libraries(laconic_${name} PUBLIC laconic_${need})
  endforeach()
  laconic_group_sources(laconic_${name} ${sources})
  if(ROOM_ARRANGES)
    target_compile_options(laconic_${name} PRIVATE ${laconic_arranging_options})
    laconic_use_headers(laconic_${name} laconic_arranging_headers)
  else()
    laconic_use_headers(laconic_${name} laconic_headers)
  endif()
  laconic_kernels(${sources})
  target_link_libraries(laconic_${name} PUBLIC fmt::fmt Threads::Threads nlohmann_json::nlohmann_json
                                               ${ROOM_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY LACONIC_ROOMS laconic_${name})
endfunction()

# All rooms of engine, runtime and methods form one shared library.
function(laconic_library)
  get_property(rooms GLOBAL PROPERTY LACONIC_ROOMS)
  add_library(laconic SHARED)
  target_link_libraries(laconic PUBLIC ${rooms})
  # Rooms whose headers stand before their sources: programs that do not call them link all the same.
  target_link_options(laconic INTERFACE LINKER:--allow-shlib-undefined)
  set_target_properties(laconic PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
endfunction()
