#!/bin/busybox ash
# shellcheck shell=dash

# A child, so that the shell can end on a signal: the first process of a container gets no default actions.
trap 'exit 0' TERM INT
echo "@name@ runs"
# The work goes here. A service that ends is started again.
while :; do
    sleep 3600 &
    wait $!
done
