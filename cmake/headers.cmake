# Headers of libraries that most sources read, compiled once where nothing is kept between builds: they are half of
# what a source costs there. Sources still include all that they use, as builds without this show.
set(laconic_common_headers <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cmath> <condition_variable>
    <cstdint> <cstring> <deque> <filesystem> <functional> <limits> <map> <memory> <mutex> <numeric> <optional> <set>
    <span> <string> <string_view> <thread> <utility> <variant> <vector> <fmt/format.h> <nlohmann/json.hpp>)

# laconic_compile_headers(NAME KIND LIBRARIES ... HEADERS ...): KIND is that of the targets that will use them (OBJECT,
# or EXECUTABLE), since code of programs and of libraries is compiled with other flags.
function(laconic_compile_headers name kind)
  cmake_parse_arguments(COMPILED "" "" "LIBRARIES;HEADERS" ${ARGN})
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
    target_precompile_headers(${name} PRIVATE ${COMPILED_HEADERS})
  endif()
endfunction()

function(laconic_use_headers target name)
  if(LACONIC_GROUPS)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

laconic_compile_headers(laconic_headers OBJECT LIBRARIES fmt::fmt Threads::Threads nlohmann_json::nlohmann_json
                        HEADERS ${laconic_common_headers})
