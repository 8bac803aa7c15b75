# A script for the busybox of pkg/init.
FROM scratch
COPY @name@ /usr/bin/
