# Toolchain file: builds for 64-bit ARM on another machine and runs the tests under qemu. EMBELLAMA_SYSROOT is the
# folder that scripts/arm-sysroot filled. QEMU_CPU in the environment names the CPU to emulate.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

set(EMBELLAMA_SYSROOT "" CACHE PATH "Folder with the arm64 libraries")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EMBELLAMA_SYSROOT)
set(CMAKE_FIND_ROOT_PATH ${EMBELLAMA_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${EMBELLAMA_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${EMBELLAMA_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
