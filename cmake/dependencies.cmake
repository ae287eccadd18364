# Libraries from the distribution, each behind one imported target.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
# 5.4 is the first that codes raw LZMA1 without an end marker.
pkg_check_modules(LZMA REQUIRED IMPORTED_TARGET liblzma>=5.4)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc)
# A compiled library here: its flags decide about its interface.
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl libcrypto)
# Asio without Boost: headers only.
find_path(ASIO_INCLUDE asio.hpp REQUIRED)
add_library(laconic_asio INTERFACE)
target_include_directories(laconic_asio SYSTEM INTERFACE ${ASIO_INCLUDE})
target_compile_definitions(laconic_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
find_library(LAPACKE_LIBRARY lapacke REQUIRED)
# OpenBLAS 0.3.21 of Debian carries LAPACK but not LAPACKE: lapacke goes first on the link line.
add_library(laconic_lapack INTERFACE)
target_link_libraries(laconic_lapack INTERFACE ${LAPACKE_LIBRARY} PkgConfig::OPENBLAS)
