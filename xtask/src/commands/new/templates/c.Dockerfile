# The program is compiled by the gcc of its own architecture, or by a cross compiler: one stage for each pair of target and build
# machine, see docs/BUILD.md.
FROM @gcc@ AS build-native
ENV BUILD_PKGS gcc libc6-dev
RUN eve-debian-deploy.sh

FROM --platform=${BUILDPLATFORM} @cross-compilers@ AS build-cross
FROM build-cross AS build-cross-target-amd64
ENV EVE_TARGET_ARCH=x86_64
ENV BUILD_PKGS gcc-x86-64-linux-gnu libc6-dev-amd64-cross
FROM build-cross AS build-cross-target-arm64
ENV EVE_TARGET_ARCH=aarch64
ENV BUILD_PKGS gcc-aarch64-linux-gnu libc6-dev-arm64-cross
FROM build-cross AS build-cross-target-riscv64
ENV EVE_TARGET_ARCH=riscv64
ENV BUILD_PKGS gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
FROM build-cross-target-${TARGETARCH} AS build-cross-target
ENV CROSS_COMPILE_ENV=${EVE_TARGET_ARCH}-linux-gnu-
RUN eve-debian-deploy.sh

FROM build-native AS target-amd64-build-amd64
FROM build-native AS target-arm64-build-arm64
FROM build-cross-target AS target-amd64-build-arm64
FROM build-cross-target AS target-arm64-build-amd64
FROM build-cross-target AS target-riscv64-build-amd64
FROM build-cross-target AS target-riscv64-build-arm64

FROM target-${TARGETARCH}-build-${BUILDARCH} AS build
WORKDIR /out/usr/bin
COPY @name@.c /src/
RUN ${CROSS_COMPILE_ENV}gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s -o @name@ /src/@name@.c

FROM scratch
COPY --from=build /out/ /
# The C library is in the program: its licence and its record for bills of materials.
COPY --from=build /usr/share/doc/libc6-dev*/copyright /usr/share/doc/libc6-dev/
COPY --from=build /var/lib/dpkg/status.d/libc6-dev* /var/lib/dpkg/status.d/
