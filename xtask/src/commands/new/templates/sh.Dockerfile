# A script for busybox. More programs: their Debian packages in PKGS.
FROM @debian@ AS build
ENV PKGS busybox-static
RUN eve-debian-deploy.sh

FROM scratch
COPY --from=build /out/ /
COPY @name@ /usr/bin/
