# Headers of libraries that most sources read, compiled once where nothing is kept between builds: they are half of
# what a source costs there. Sources still include all that they use, as builds without this show.
set(laconic_common_headers <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cmath> <condition_variable>
    <cstdint> <cstring> <deque> <filesystem> <functional> <limits> <map> <memory> <mutex> <numeric> <optional> <set>
    <span> <string> <string_view> <thread> <utility> <variant> <vector> <fmt/format.h> <nlohmann/json.hpp>)

# laconic_compile_headers(NAME KIND LIBRARIES ... HEADERS ... OPTIONS ...): for targets of one KIND (OBJECT, or
# EXECUTABLE) and with the same options, since what is compiled fits no others.
function(laconic_compile_headers name kind)
  cmake_parse_arguments(COMPILED "" "" "LIBRARIES;HEADERS;OPTIONS" ${ARGN})
  if(LACONIC_GROUPS)
    set(source ${PROJECT_BINARY_DIR}/generated/${name}.cpp)
    if(kind STREQUAL EXECUTABLE)
      file(CONFIGURE OUTPUT ${source} CONTENT "int main() {}\n")
      add_executable(${name} ${source})
    else()
      file(CONFIGURE OUTPUT ${source} CONTENT "// Only its headers are wanted.\n")
      add_library(${name} OBJECT ${source})
    endif()
    target_link_libraries(${name} PRIVATE ${COMPILED_LIBRARIES})
    target_compile_options(${name} PRIVATE ${COMPILED_OPTIONS})
    target_precompile_headers(${name} PRIVATE ${COMPILED_HEADERS})
  endif()
endfunction()

function(laconic_use_headers target name)
  if(LACONIC_GROUPS)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

set(laconic_common_libraries fmt::fmt Threads::Threads nlohmann_json::nlohmann_json)
laconic_compile_headers(laconic_headers OBJECT LIBRARIES ${laconic_common_libraries}
                        HEADERS ${laconic_common_headers})

# What arranges mechanisms and tells about them is compiled for little code: loops that take time stand in the engine
# and the runtime.
set(laconic_arranging_options $<$<CONFIG:Release>:-O1>)
laconic_compile_headers(laconic_arranging_headers OBJECT LIBRARIES ${laconic_common_libraries}
                        HEADERS ${laconic_common_headers} OPTIONS ${laconic_arranging_options})
