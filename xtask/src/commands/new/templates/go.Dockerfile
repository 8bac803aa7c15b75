# Go compiles for every architecture, so the compiler is always that of the build machine.
FROM --platform=${BUILDPLATFORM} @golang@ AS build
ARG TARGETARCH
ENV BUILD_PKGS golang-go
RUN eve-debian-deploy.sh
ENV CGO_ENABLED=0
ENV GOCACHE=/tmp/go-build
ENV GOPATH=/tmp/go
WORKDIR /src
COPY go.mod @name@.go /src/
RUN GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags=-s -o /out/usr/bin/@name@ .

FROM scratch
COPY --from=build /out/ /
# Go's library is in the program: its licence and its record for bills of materials.
COPY --from=build /usr/share/doc/golang-*-src/copyright /usr/share/doc/golang-src/
COPY --from=build /var/lib/dpkg/status.d/golang-*-src /var/lib/dpkg/status.d/
