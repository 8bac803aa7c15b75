# rustc runs on the build machine. For another architecture it needs that one's standard library, and a C compiler to link with: one
# stage for each pair of target and build machine, see docs/BUILD.md.
FROM --platform=${BUILDPLATFORM} @rustc@ AS rust
ENV BUILD_PKGS rustc
RUN eve-debian-deploy.sh

FROM --platform=${BUILDPLATFORM} @cross-compilers@ AS linker-amd64
ENV PKGS gcc-x86-64-linux-gnu libc6-dev-amd64-cross
FROM --platform=${BUILDPLATFORM} @cross-compilers@ AS linker-arm64
ENV PKGS gcc-aarch64-linux-gnu libc6-dev-arm64-cross
FROM linker-${TARGETARCH} AS linker
RUN eve-debian-deploy.sh

FROM @rustc@ AS library
ENV PKGS libstd-rust-dev
RUN eve-debian-deploy.sh

FROM rust AS build-cross
COPY --from=linker /out/ /
COPY --from=library /out/usr/lib/rustlib/ /usr/lib/rustlib/

FROM rust AS target-amd64-build-amd64
FROM rust AS target-arm64-build-arm64
FROM build-cross AS target-amd64-build-arm64
ENV EVE_TARGET_ARCH=x86_64
ENV CROSS_COMPILE_ENV=x86_64-linux-gnu-
FROM build-cross AS target-arm64-build-amd64
ENV EVE_TARGET_ARCH=aarch64
ENV CROSS_COMPILE_ENV=aarch64-linux-gnu-

FROM target-${TARGETARCH}-build-${BUILDARCH} AS build
WORKDIR /out/usr/bin
COPY @name@.rs /src/
RUN rustc --edition 2021 -O -C target-feature=+crt-static -C strip=symbols -C linker=${CROSS_COMPILE_ENV}gcc \
    --target ${EVE_TARGET_ARCH}-unknown-linux-gnu -o @name@ /src/@name@.rs

FROM scratch
COPY --from=build /out/ /
# Both libraries are in the program: their licences and their records for bills of materials.
COPY --from=build /usr/share/doc/libc6-dev*/copyright /usr/share/doc/libc6-dev/
COPY --from=build /usr/share/doc/libstd-rust-dev/copyright /usr/share/doc/libstd-rust-dev/
COPY --from=build /var/lib/dpkg/status.d/libc6-dev* /var/lib/dpkg/status.d/libstd-rust-dev /var/lib/dpkg/status.d/
